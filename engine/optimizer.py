"""The update of every parameter on each rank's own part: SGD with momentum, or AdamW.

MXNet's exceptions hold for both: weights and gammas decay, biases and betas do not; the fc7 bias learns twice as fast.
Of parameters that a head keeps in row banks, the rows that took part in the step are updated, by the same rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from backbones.execution.backbone import Backbone
from backbones.graph.depths import array_depths
from common.errors import lookup
from engine.options import OptimizerOptions
from ops import flow
from ops.heads.base import Head
from ops.moments import MOMENTS
from ops.native.network import ParameterUpdate, read_addresses
from ops.rows.selection import RowSelection, set_rows
from ops.runtime.tensors import local_view
from ops.update_rules import AdamWRule, MomentumRule, UpdateRule

Moments = dict[str, dict[str, np.ndarray]]


def _sgd(options: OptimizerOptions, lr: float, weight_decay: float, update: int) -> MomentumRule:
    return MomentumRule(lr, options.momentum, weight_decay)


def _adamw(options: OptimizerOptions, lr: float, weight_decay: float, update: int) -> AdamWRule:
    return AdamWRule(lr, options.adam_betas, options.adam_eps, weight_decay, update)


RULES = {"sgd": _sgd, "adamw": _adamw}


class Optimizer:
    """The update of backbone and head. Training in one process, without graphs::

        backbone, head = build_backbone(config).train(), build_head(HeadOptions.from_config(config))
        optimizer = Optimizer(backbone, head, OptimizerOptions.from_config(config))
        for step, (images, labels) in enumerate(batches):  # uint8 [B, 3, S, S] and int32 [B], numpy
            result = head(backbone(flow.tensor(images)), *head.prepare(labels, step))
            gradients = flow.autograd.grad([result.loss], [*backbone.parameters(), *result.trained])
            head.loss.set_state(list(head.loss.new_state.values()))  # of losses with moving values
            optimizer.step(gradients, 1.0)

    Parameters are known as ``{MXNet name}``, the head's as ``fc7_weight`` and ``fc7_bias``. Order: the backbone's
    parameters, then the head's, as their graphs return the gradients.

    Attributes:
        updates: number of steps so far; AdamW corrects its moments by it.
        frozen_updates: how many of them left the backbone as it was; the correction of its moments does not count them.
    """

    def __init__(
        self, backbone: Backbone, head: Head | None, options: OptimizerOptions, frozen: Collection[str] = ()
    ) -> None:
        """Update the parameters of ``backbone`` and, if there is one, ``head``: local tensors or global ones.

        Parameters of the backbone named in ``frozen`` are never updated, and have no gradients in ``step``. Their
        moments are kept, so that a run may freeze or train them when it resumes.

        Raises:
            UserError: ``options.optimizer`` is unknown; the message lists the known ones.
        """
        named = dict(backbone.named_parameters())
        self._backbone_names = [name for name in named if name not in frozen]
        self._banks, own = {}, {}
        if head is not None:
            self._banks = {f"fc7_{name}": bank for name, bank in head.banks.items()}
            own = {f"fc7_{name}": p for name, p in head.named_parameters() if name not in head.banks}
        self._head_names, self._of_head = list(own), {*own, *self._banks}
        named |= own
        self._tensors = {name: local_view(parameter) for name, parameter in named.items()}
        self._options = options
        self._lr_mults = {name: _lr_mult(name, options) for name in (*self._tensors, *self._banks)}
        if options.layer_lr_decay != 1:
            depths = array_depths(backbone.network)
            for name in depths.keys() & self._tensors.keys():
                self._lr_mults[name] *= options.layer_lr_decay ** (max(depths.values()) - depths[name])
        self._decays = {name: options.weight_decay * _wd_mult(name, options) for name in self._lr_mults}
        self._make_rule = lookup(RULES, options.optimizer, "optimizer")
        self._kinds = MOMENTS[options.optimizer]
        self._moments = {kind: {n: flow.zeros_like(t) for n, t in self._tensors.items()} for kind in self._kinds}
        self._addresses: dict[str, int] = {}  # of momentum
        self.updates = 0
        self.frozen_updates = 0

    @property
    def backbone_names(self) -> list[str]:
        """The parameters of the backbone that are updated."""
        return self._backbone_names

    def early_updates(self, names: Collection[str], scale: float) -> dict[str, ParameterUpdate]:
        """Return how a backward pass updates the parameters ``names`` in the coming step; SGD alone can.

        Their moments are updated as well; ``step`` is then called without their gradients.
        """
        options = self._options
        new = [name for name in names if name not in self._addresses]
        if new:
            moments = [self._moments["momentum"][name] for name in new]
            self._addresses |= dict(zip(new, map(int, read_addresses(moments)), strict=True))
        return {
            name: ParameterUpdate(
                self._addresses[name], options.lr * scale * self._lr_mults[name], options.momentum, self._decays[name]
            )
            for name in names
        }

    def step(
        self,
        gradients: list[flow.Tensor],
        scale: float,
        backbone_is_frozen: bool = False,
        updated: Collection[str] = (),
    ) -> None:
        """Update every parameter by its gradient at ``scale`` times the learning rate.

        A gradient has the shape of its parameter, and its SBP or none; that of a parameter in a bank is the gradient of
        the rows that the bank selected last. With a frozen backbone the gradients are those of the head, which alone is
        updated. Parameters ``updated`` are up to date already, and have no gradients here.
        """
        self.updates += 1
        self.frozen_updates += backbone_is_frozen
        names = self._head_names if backbone_is_frozen else [*self._backbone_names, *self._head_names]
        names = [name for name in names if name not in updated]
        with flow.no_grad():
            for name, gradient in zip(names, gradients[: len(names)], strict=True):
                moments = (self._moments[kind][name] for kind in self._kinds)
                self._rule(name, scale).apply(self._tensors[name], local_view(gradient), *moments)
            for (name, bank), gradient in zip(self._banks.items(), gradients[len(names) :], strict=True):
                bank.update(local_view(gradient), self._rule(name, scale), self.updates)

    def _rule(self, name: str, scale: float) -> UpdateRule:
        """Return the rule by which the current step updates a parameter."""
        updates = self.updates - (0 if name in self._of_head else self.frozen_updates)
        lr = self._options.lr * scale * self._lr_mults[name]
        return self._make_rule(self._options, lr, self._decays[name], updates)

    def read_moments(self, copy: bool = True) -> Moments:
        """Return this rank's moments: kind ("momentum", with AdamW also "variance") to name to array.

        They are zeros before the first step, and of the type of their parameter (``common.bfloat16.BFLOAT16`` for
        bfloat16 rows). Without ``copy``, those of rows in banks, which may fill the memory, are the live arrays where
        that is possible.
        """
        read = {kind: {n: t.numpy().copy() for n, t in own.items()} for kind, own in self._moments.items()}
        for name, bank in self._banks.items():
            for kind in self._kinds:
                array = bank.view_momentum() if kind == "momentum" else bank.view_variance()
                read[kind][name] = array.copy() if copy else array
        return read

    def load_moments(self, moments: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Set this rank's moments; ``moments`` is what ``read_moments`` returns, or a part of it."""
        for kind, own in moments.items():
            for name, array in own.items():
                self.load_rows(kind, name, slice(None), array)

    def load_rows(self, kind: str, name: str, where: RowSelection, rows: np.ndarray) -> None:
        """Set the moments of one kind of some rows of a parameter."""
        if name in self._banks:
            bank = self._banks[name]
            (bank.load_momentum if kind == "momentum" else bank.load_variance)(rows, where)
        else:
            set_rows(self._moments[kind][name], where, rows)


def _lr_mult(name: str, options: OptimizerOptions) -> float:
    other = 1.0 if name.startswith("fc7_loss.") else options.backbone_lr_mult  # a number that the loss trains
    return {"fc7_weight": options.fc7_lr_mult, "fc7_bias": 2.0}.get(name, other)


def _wd_mult(name: str, options: OptimizerOptions) -> float:
    if name == "fc7_weight":
        return options.fc7_wd_mult
    return 1.0 if name.endswith(("_weight", "_gamma")) or name.startswith("fc7_loss.") else 0.0

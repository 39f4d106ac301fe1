"""The OneFlow module that executes a network description."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from backbones.execution.compiled import CompiledNetwork
from backbones.execution.context import OperatorContext
from backbones.execution.operators import OPERATORS
from backbones.graph.arrays import batch_norm_arrays, check_arrays
from backbones.graph.masks import mask_width, masks_by_node
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from ops import flow
from ops.native.network import ArrayTable, ParameterUpdate, TrainingMemory
from ops.runtime.kept_tensors import KeptTensors
from ops.runtime.tensors import local_view


class Backbone(flow.nn.Module):
    """Images to embeddings, node by node, or on the CPU by one op where that is available.

    Parameters and moving statistics are registered flat under their MXNet names, so ``state_dict``, optimiser state
    and files share one set of names. Gammas pinned by fix_gamma are buffers: no optimiser moves or decays them.

    Attributes:
        network: the description.
        executor: a few words on how CPU tensors are computed.
        masks: the columns of a training step's keep mask, by node.
        freeze_bn: whether BatchNorm stays as it is in training: it normalises by the moving statistics.
        frozen: names of the parameters that training must not change: gammas and betas of BatchNorm with ``freeze_bn``.
        statistics_of_all: whether BatchNorm in training is over the batch of all ranks.
        new_statistics: with BatchNorm over all ranks, the moving statistics that the last forward pass in training
            computed, by name; a graph returns them, and its caller hands them to ``set_statistics``.
            Otherwise empty: each rank's statistics change in place.
    """

    def __init__(
        self,
        network: NetworkGraph,
        arrays: Mapping[str, np.ndarray],
        native: bool = True,
        bfloat16: bool = False,
        sync_bn: bool = False,
        freeze_bn: bool = False,
        recompute: bool = False,
        takes_over: bool = False,
    ) -> None:
        """Take the description and its first values (see ``load_arrays`` for what is checked).

        Args:
            network: what to execute.
            arrays: parameters and moving statistics by MXNet name.
            native: execute CPU tensors by the network op of ``backbones.execution.compiled`` where it is available.
            bfloat16: feature maps and matrix products in bfloat16; by the network op only.
            sync_bn: BatchNorm over the global batch in training, of global tensors, where there is more than one rank.
            freeze_bn: BatchNorm by its moving statistics in training, whatever ``sync_bn`` says.
            recompute: in training, compute most feature maps again in the backward pass instead of keeping them; by the
                network op only.
            takes_over: ``arrays``, of ``allocate_arrays``, become the module's own instead of being copied.

        Raises:
            UserError: an array does not fit, or bfloat16 or recomputing is not available here.
        """
        super().__init__()
        self.network = network
        self._channels = next(network.shapes[node.name][0] for node in network.nodes if node.op == "input")
        self._releases = _last_uses(network)
        self.masks = masks_by_node(network)
        self.freeze_bn = freeze_bn
        self.frozen = frozenset(batch_norm_arrays(network)) if freeze_bn else frozenset()
        for name, spec in network.parameters().items():
            # ``load_arrays`` fills an empty one.
            tensor = flow.from_numpy(arrays[name]) if takes_over else flow.empty(*spec.shape, dtype=flow.float32)
            if spec.trainable:
                self.register_parameter(name, flow.nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)
        self.new_statistics: dict[str, flow.Tensor] = {}
        self._kept_statistics: KeptTensors | None = None
        self.statistics_of_all = (
            sync_bn
            and not freeze_bn
            and flow.env.get_world_size() > 1
            and any(node.op == "batch_norm" for node in network.nodes)
        )
        self._compiled, reason = self._compile(bfloat16, recompute) if native else (None, "it is switched off")
        if bfloat16 and reason:
            raise UserError(f"bfloat16 feature maps need the CPU's network op: {reason}")
        if recompute and reason:
            raise UserError(f"computing feature maps again needs the CPU's network op: {reason}; omit --recompute 1")
        self.executor = (
            f"one op per node ({reason})"
            if reason
            else f"one op on the CPU{', bfloat16' * bfloat16}{', recomputing' * recompute}"
        )
        if not takes_over:
            self.load_arrays(arrays)

    def _compile(self, bfloat16: bool, recompute: bool) -> tuple[CompiledNetwork | None, str | None]:
        if self.statistics_of_all:
            return None, "BatchNorm is over all ranks"
        compiled = CompiledNetwork(self.network, self.masks, bfloat16, self.freeze_bn, recompute)
        refusal = compiled.ops.refusal()
        return (compiled, None) if refusal is None else (None, refusal)

    @property
    def dropout_width(self) -> int:
        """Values per image that dropout decides about in training; 0 for a network without dropout."""
        return mask_width(list(self.masks.values()))

    def forward(
        self, images: flow.Tensor, keep: flow.Tensor | None = None, memory: flow.Tensor | None = None
    ) -> flow.Tensor:
        """Return embeddings [N, E] float32 of RGB ``images``, float32 or uint8, values 0..255.

        Images are [N, 3, S, S], or [N, S, S, 3] as the loader hands them over.

        Local and global tensors, eager and inside nn.Graph. In training, ``keep`` [N, dropout_width] says with 1 and 0
        which values dropout keeps: the caller draws it, so that a resumed run or another number of ranks repeats it.
        ``memory`` is the reference of ``allocate_memory``, or in inference of ``refer``, by which the network op finds
        the arrays, and in training leaves the gradients, see ``read_gradients``. Changes of the arrays must have ended.

        Raises:
            ValueError: a network with dropout trains without ``keep``.
        """
        if self.training and keep is None and self.dropout_width:
            raise ValueError("a network with dropout trains only with a keep mask")
        if self._compiled is not None and _is_on_cpu(images):
            return self._run_compiled(images, keep, memory)
        if images.shape[1] != self._channels:
            images = images.permute(0, 3, 1, 2)
        images = images.to(self._dtype())
        values: dict[str, flow.Tensor] = {}
        if self.training:
            self.new_statistics.clear()
        new_statistics = self.new_statistics if self.statistics_of_all else None
        context = OperatorContext(self, self.training, new_statistics, self.freeze_bn)
        for node in self.network.nodes:
            inputs = [values[name] for name in node.inputs]
            if node.op == "input":
                values[node.name] = images
            else:
                if node.name in self.masks:
                    inputs.append(self._kept(node.name, keep))
                values[node.name] = OPERATORS[node.op](context, node, *inputs)
            for name in self._releases[node.name]:
                del values[name]
        return values[self.network.output]

    def _dtype(self) -> flow.dtype:
        """Return the type of the arrays: float32 unless the module was converted."""
        return next((getattr(self, name).dtype for name in self.network.parameters()), flow.float32)

    def refer(self) -> ArrayTable | None:
        """Return a table of the arrays, by which the network op finds them: see ``forward``.

        It is valid as long as the arrays stay where they are: ``to_global`` and ``to`` move them. Where the network is
        not computed by the op, there is none.
        """
        return self._compiled.refer(self) if self._is_compiled() else None

    def direct_inference(self, are_constant: bool) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return a function from this rank's images, uint8 or float32, to their embeddings [N, E] in inference mode.

        It calls the network op's code past OneFlow, whose start and end of an op take milliseconds. It is valid as long
        as the arrays stay where they are, see ``refer``, and if they ``are_constant``, which saves looking at them in
        each call, as they are. Where the network is not computed by the op, there is none.
        """
        return self._compiled.direct_inference(self, are_constant) if self._is_compiled() else None

    def updatable(self, names: Collection[str]) -> list[str]:
        """Return those of the parameters ``names`` that a backward pass can update itself: see ``set_updates``."""
        return self._compiled.updatable(names) if self._is_compiled() else []

    def allocate_memory(self, batch: int, updated: Collection[str] = ()) -> TrainingMemory | None:
        """Return a table with memory in which training steps of ``batch`` images on one rank leave their gradients.

        Gradients of parameters ``updated`` (see ``updatable``) exist only until the backward pass has updated these.
        Where the network is not computed by the op, there is none.
        """
        return self._compiled.allocate_memory(self, batch, updated, self.frozen) if self._is_compiled() else None

    def set_updates(self, memory: TrainingMemory, updates: Mapping[str, ParameterUpdate], measures: bool) -> None:
        """Set how the next step updates the parameters that ``memory`` was allocated for; see ``TrainingMemory``."""
        self._compiled.set_updates(memory, updates, measures)

    def _is_compiled(self) -> bool:
        return self._compiled is not None and all(map(_is_on_cpu, self.parameters()))

    def read_gradients(self, memory: TrainingMemory) -> dict[str, np.ndarray]:
        """Return this rank's gradients in ``memory`` by parameter, in their order, without those that are used up.

        The next step overwrites them.
        """
        return self._compiled.read_gradients(memory)

    def _run_compiled(self, images: flow.Tensor, keep: flow.Tensor | None, memory: flow.Tensor | None) -> flow.Tensor:
        compiled = self._compiled
        keep = keep if self.training and self.dropout_width else None
        if memory is not None:
            if self.training:
                return compiled.train_in_place(images, keep, memory)
            return compiled.infer_in_place(images, memory)
        parameters = compiled.op_parameters(self)
        moving = [getattr(self, name) for name in compiled.moving]
        if self.training:
            return compiled.train(images, keep, parameters, moving)
        return compiled.infer(images, parameters, moving)

    def _kept(self, name: str, keep: flow.Tensor | None) -> flow.Tensor | None:
        """Return the columns of ``keep`` that belong to the node ``name``; None outside of training."""
        mask = self.masks[name]
        return keep[:, mask.start : mask.stop].to(self._dtype()) if self.training else None

    def run_graph(self, graph: Callable[..., Any], *inputs: flow.Tensor | None) -> Any:
        """Call a graph of this backbone; a graph that trains it includes the backward pass.

        Changes of the arrays are ended first, as the network op finds them by their addresses. Where it runs, the
        calling thread sleeps: OneFlow's own waiting keeps a core busy.
        """
        if self._compiled is None or not _is_on_cpu(inputs[0]):
            return graph(*inputs)
        self._compiled.refresh(self)
        return self._compiled.ops.sleep_through(lambda: graph(*inputs), "backward" if self.training else "inference")

    def set_statistics(self, values: Sequence[flow.Tensor]) -> None:
        """Make ``values``, in the order of ``new_statistics`` and broadcast, the moving statistics."""
        for name, value in zip(self.new_statistics, values, strict=True):
            local_view(getattr(self, name)).copy_(local_view(value))

    def keep_statistics(self) -> None:
        """Remember this rank's moving statistics, for ``restore_statistics``."""
        if self._kept_statistics is None:
            names = [name for name, spec in self.network.parameters().items() if spec.auxiliary]
            self._kept_statistics = KeptTensors([local_view(getattr(self, name)) for name in names])
        self._kept_statistics.keep()

    def restore_statistics(self) -> None:
        """Make the moving statistics what they were at the last ``keep_statistics``."""
        self._kept_statistics.restore()

    def average_statistics(self, average: Callable[[flow.Tensor], flow.Tensor]) -> None:
        """Replace each moving statistic, which every rank keeps for its part of the batch, by its mean over the ranks.

        The statistics are running averages, hence linear: when they are averaged matters for rounding only.

        Args:
            average: returns the mean over the ranks of a local tensor; a collective call.
        """
        for name, spec in self.network.parameters().items():
            if spec.auxiliary and not self.freeze_bn:
                local = local_view(getattr(self, name))
                mean = average(local)
                if mean is not local:
                    local.copy_(mean)

    def named_tensors(self) -> dict[str, flow.Tensor]:
        """Return the live parameter or buffer behind each MXNet name; the description says which are trainable."""
        return {name: getattr(self, name) for name in self.network.parameters()}

    def named_arrays(self) -> dict[str, np.ndarray]:
        """Return a float32 copy of every array by MXNet name.

        A global tensor must be broadcast; each rank then copies its own part, without a collective.
        """
        return {name: local_view(tensor).numpy().copy() for name, tensor in self.named_tensors().items()}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copy ``arrays`` into the module in place, so that graphs compiled from it see them in their next call.

        Gammas pinned by fix_gamma become 1, even if ``arrays`` has others. If an array does not fit, nothing changes.

        Raises:
            UserError: an array is missing, unknown or of another shape; the message names the first one.
        """
        check_arrays(self.network, arrays)
        for name, spec in self.network.parameters().items():
            values = np.ones(spec.shape) if spec.fixed else arrays[name]
            source = flow.from_numpy(np.asarray(values, dtype=np.float32, order="C"))  # shares the array's memory
            target = local_view(getattr(self, name))
            target.copy_(source.to(target.device))
        flow._oneflow_internal.eager.Sync()  # the caller may change its arrays from now on


def _is_on_cpu(tensor: flow.Tensor) -> bool:
    return (tensor.placement if tensor.is_global else tensor.device).type == "cpu"


def _last_uses(network: NetworkGraph) -> dict[str, list[str]]:
    """Return for each node the values that no later node reads, so that inference keeps few feature maps alive."""
    last_use = {name: node.name for node in network.nodes for name in node.inputs}
    releases: dict[str, list[str]] = {node.name: [] for node in network.nodes}
    for name, user in last_use.items():
        releases[user].append(name)
    return releases

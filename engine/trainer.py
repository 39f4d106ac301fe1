"""The training loop: next batch, forward and backward, update; then log, verify, save."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from common.errors import UserError
from data.batches import Batch
from data.source import ImageSource
from engine.batches import open_batches
from engine.log import RunLog, StepMeter, format_seconds
from engine.memory import resident_bytes
from engine.saving import DIVERGED, Saver
from engine.schedule import Plan, lr_scale
from engine.step import StepResult, TrainStep
from engine.verify import Verifier
from evaluation.class_centres import describe_centres
from evaluation.verification import highest_line, log_lines
from launch.rank import RankReporter
from ops.heads.centre_sample import sample_centres
from settings.choices import NO_SNAPSHOTS


class Trainer:
    """One run. Data parallel, model parallel and Partial FC are the same loop with another head.

    Attributes:
        train_step: forward, backward and update of backbone and head.
        progress: how far the run has come.
        verifier: verifies when the plan says so, if there is one.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        plan: Plan,
        train_step: TrainStep,
        saver: Saver,
        log: RunLog,
        reporter: RankReporter,
    ) -> None:
        """Train from the saver's progress on, to the end of the plan."""
        self.config = config
        self.plan = plan
        self.train_step = train_step
        self.progress = saver.progress
        self.verifier: Verifier | None = None
        self._saver = saver
        self._log = log
        self._reporter = reporter
        self._norm: float | None = None

    def run(self, source: ImageSource) -> None:
        """Train on ``source`` until the plan is fulfilled or a stop is requested, then write the last snapshot.

        Raises:
            UserError: the loss is not finite any more, or a record of the data is bad.
        """
        config, plan, progress, log = self.config, self.plan, self.progress, self._log
        if progress.step >= plan.total_steps:
            log.say(
                f"nothing left to do: the run is at step {progress.step} and ends at step {plan.total_steps}; to train "
                "longer, raise --train_iter (or --max_steps, --end_epoch)"
            )
        meter, stopping = StepMeter(config["train_batch_size"]), False
        with open_batches(config, source, self.train_step, progress, log, self._reporter) as batches:
            while progress.step < plan.total_steps and not stopping:
                # ---- next batch
                batch = next(batches, None)
                progress.data = batches.read_state()
                if batch is None:
                    log.say(f"stopping at step {progress.step}: no triplet violates the margin any more")
                    break

                # ---- forward, backward, update
                result = self._step(batch)
                stopping = result.stop

                # ---- log
                meter.add(result.loss, result.logged_loss, result.correct)
                self._saver.poll()
                if self._is_logged(progress.step):
                    self._log_step(meter.read(batches.wait_seconds))

                # ---- look at the head, verify, save: not counted in the speed
                start = time.perf_counter()
                if config["head_stats"] and progress.step % config["head_stats"] == 0:
                    centres = sample_centres(self.train_step.head, self.train_step.world)
                    log.record(progress.step, "head", describe_centres(centres))
                if self.verifier is not None and plan.is_validation(progress.step):
                    self._verify()
                if plan.is_snapshot(progress.step):
                    self._saver.save()
                meter.exclude(time.perf_counter() - start)
        self._finish(stopping)

    def _step(self, batch: Batch) -> StepResult:
        """Train on one batch; return the results."""
        step, progress = self.train_step, self.progress
        result = step.compute(batch, progress.step, self._reporter.stop_requested)
        scale = lr_scale(progress.step, self.plan, self.config)
        result = step.update(result, scale, measure_norm=self._is_logged(progress.step + 1))
        if result.diverged:
            what = "loss" if not math.isfinite(result.loss) else "norm of the gradient"
            value = result.loss if what == "loss" else result.norm
            self._saver.finish()  # keeps what was good before; all ranks are here
            step.world.barrier()
            raise UserError(f"the {what} is {value} at step {progress.step + 1}; {DIVERGED}")
        progress.step += 1
        progress.position += self.config["train_batch_size"]
        if result.skipped:
            self._log.say(
                f"step {progress.step} changed nothing, its gradients overflowed: fp16_scale is now "
                f"{step.loss_scale.value:g}"
            )
        self._norm = None if result.skipped else result.norm
        self._reporter.heartbeat()
        return result

    def _is_logged(self, step: int) -> bool:
        return step % self.config["loss_print_frequency"] == 0 or step == self.plan.total_steps

    def _log_step(self, values: dict[str, float]) -> None:
        config, step = self.config, self.progress.step
        lr = config["lr"] * lr_scale(step - 1, self.plan, config)
        epoch, in_epoch = divmod(step - 1, self.plan.steps_per_epoch)
        speed = values["images_per_second"]
        lossvalue = f"lossvalue={values['lossvalue']:.6f}\t" if config["ce_loss"] else ""
        left = (self.plan.total_steps - step) * config["train_batch_size"] / speed
        self._log.say(
            f"Epoch[{epoch}] Batch [{in_epoch + 1}/{self.plan.steps_per_epoch}]\tSpeed: {speed:.2f} samples/sec\t"
            f"acc={values['acc']:.6f}\t{lossvalue}lr={lr:g}\tstep={step}\t"
            f"data_wait={values['data_wait']:.1%}\tETA {format_seconds(left)}"
        )
        values = {**values, "lr": lr, "epoch": epoch, "memory_gb": resident_bytes() / 1e9}
        if not config["ce_loss"]:
            del values["lossvalue"]
        if self._norm is not None:
            values["gradient_norm"] = self._norm
        if config["fp16_scale_window"]:
            values["loss_scale"] = self.train_step.loss_scale.value
        self._log.record(step, "train", values)

    def _verify(self) -> None:
        """Verify on every set, log InsightFace's lines, and save if ``ckpt`` says so. A collective call."""
        self.train_step.backbone.average_statistics(self.train_step.world.average)
        results = self.verifier.run()
        for result in results:
            self._log.say(*log_lines(result, self.progress.step))
            names = ("accuracy", "accuracy_std", "xnorm", "auc", "val")
            self._log.record(self.progress.step, result.name, {name: getattr(result, name) for name in names})
        is_best = self._saver.best.update([result.accuracy for result in results])
        self._log.say(highest_line(self._saver.best.accuracy, self.progress.step))
        if is_best:
            self._saver.save_best()

    def _finish(self, stopping: bool) -> None:
        keeps = self.config["ckpt"] != NO_SNAPSHOTS
        if self.config["save_last_snapshot"] or (stopping and keeps):
            self._saver.save()
        self._saver.finish()
        if stopping:
            then = "resume with --resume 1" if keeps else "--ckpt 0 keeps no snapshot"
            self._log.say(f"stopped after step {self.progress.step}; {then}")
        self._log.close()
        self.train_step.world.barrier()  # rank 0 is still writing; a rank that finds another one gone aborts

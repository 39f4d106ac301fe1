"""The training loop: next batch, forward and backward, update; then log, verify, save."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from common.errors import UserError
from data.loading.batches import Batch, Batches
from data.sources.bad_images import STOP, bad_images_error
from data.sources.base import ImageSource
from engine.bad_image_list import BadImageList
from engine.batches import open_batches
from engine.log import RunLog, StepMeter, format_seconds
from engine.memory import resident_bytes
from engine.news import exchange_news, signal_of
from engine.saving import DIVERGED, Saver
from engine.schedule import Plan, lr_scale
from engine.step import ComingUpdate, StepResult, TrainStep
from engine.verify import Verifier
from evaluation.class_centres import describe_centres
from evaluation.verification import VerificationResult, highest_line, log_lines, logged_numbers, threshold_lines
from launch.rank import RankReporter
from ops.heads.centre_sample import sample_centres
from settings.choices import NO_SNAPSHOTS
from settings.places import run_directory

if TYPE_CHECKING:
    from engine.protocols.base import Outcome
    from engine.protocols.runner import ProtocolRunner


class Trainer:
    """One run. Data parallel, model parallel and Partial FC are the same loop with another head.

    Attributes:
        train_step: forward, backward and update of backbone and head.
        progress: how far the run has come.
        verifier: verifies when the plan says so, if there is one.
        protocols: evaluates ``val_protocols`` after each verification, if there are any.
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
        self._first_step = saver.progress.step
        directory, is_resumed = run_directory(config, config["log_dir"]), self._first_step > 0
        self._bad_images = BadImageList(directory, log, is_resumed)
        self.verifier: Verifier | None = None
        self.protocols: ProtocolRunner | None = None
        self._saver = saver
        self._log = log
        self._reporter = reporter
        self._norm: float | None = None
        self._has_said_time = False

    def run(self, source: ImageSource) -> None:
        """Train on ``source`` until the plan is fulfilled or a stop is requested, then write the last snapshot.

        Whatever ends the training before writes a snapshot first if it can.

        Raises:
            UserError: the loss is not finite any more, an image is bad and not to be skipped, or a verification fails.
        """
        config, plan, progress, log, step = self.config, self.plan, self.progress, self._log, self.train_step
        if progress.step >= plan.total_steps:
            log.say(
                f"nothing left to do: the run is at step {progress.step} and ends at step {plan.total_steps}; to train "
                "longer, raise --train_iter (or --max_steps, --end_epoch)"
            )
        meter, stopping = StepMeter(config["train_batch_size"]), False
        with open_batches(config, source, step, progress, log, self._reporter) as batches:
            while progress.step < plan.total_steps and not stopping:
                # ---- next batch
                batch, failure = self._next_batch(batches)
                if batch is None:
                    progress.data = batches.read_state()
                    log.say(f"stopping at step {progress.step}: no triplet violates the margin any more")
                    break

                # ---- forward, backward, news of other ranks, update
                if 0 < config["freeze_backbone_steps"] == progress.step:
                    log.say(f"from step {progress.step + 1} on the backbone is trained too")
                stop, rejected, bad = self._reporter.stop_requested, batches.take_rejected(), []
                coming = ComingUpdate(lr_scale(progress.step, plan, config), self._is_logged(progress.step + 1))
                result = step.compute(batch, progress.step, signal_of(stop, failure, rejected), coming)
                if result.has_news:
                    news = exchange_news(step.world, stop, failure, rejected)
                    if news.failure is not None:
                        self._give_up(news.failure)
                    stopping, bad = news.stop, news.rejected
                    self._bad_images.add(bad)
                result = self._update(result, coming)
                progress.data = batches.read_state()

                # ---- log
                meter.add(result.loss, result.logged_loss, result.correct)
                self._saver.poll()
                if self._is_logged(progress.step):
                    self._log_step(meter.read(batches.wait_seconds))
                if bad and config["bad_images"] == STOP:
                    log.say(f"step {progress.step} took other images in the places of {len(bad)} bad ones")
                    self._give_up(bad_images_error(bad))

                # ---- look at the head, verify, save: not counted in the speed
                start = time.perf_counter()
                if config["head_stats"] and progress.step % config["head_stats"] == 0:
                    centres = sample_centres(step.head, step.world)
                    log.record(progress.step, "head", describe_centres(centres))
                if self.verifier is not None and plan.is_validation(progress.step):
                    self._verify()
                if plan.is_snapshot(progress.step):
                    self._saver.save()
                meter.exclude(time.perf_counter() - start)
        self._finish(stopping)

    def _next_batch(self, batches: Batches) -> tuple[Batch | None, Exception | None]:
        """Return the next batch, None at the end; if it cannot be had, another batch and the error.

        The other ranks know nothing of the error yet and begin a step; so must this one.
        """
        try:
            return next(batches, None), None
        except (UserError, RuntimeError) as error:
            if self.train_step.world.size == 1:
                self._give_up(error)
            return batches.spare_batch(), error

    def _update(self, result: StepResult, coming: ComingUpdate) -> StepResult:
        """Update with what a step has computed; return the completed results."""
        step, progress = self.train_step, self.progress
        result = step.update(result, coming.lr_scale, coming.measure_norm)
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
        epoch, in_epoch = self.plan.epoch_of(step - 1)
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
        if self._bad_images.count:
            values["bad_images"] = self._bad_images.count
        self._log.record(step, "train", values)
        self._bad_images.say_count()

    def _verify(self) -> None:
        """Verify on every set, log InsightFace's lines, and save if ``ckpt`` says so. A collective call."""
        self.train_step.average_statistics()
        try:
            results, decisive, outcomes = self._evaluate()
        except UserError as error:  # on all ranks, which have the same embeddings
            self._give_up(error)
        for result in results:
            self._log.say(*log_lines(result, self.progress.step), *threshold_lines(result, self.progress.step))
            self._log.record(self.progress.step, result.name, logged_numbers(result))
        for outcome in outcomes:
            self._log.say(*outcome.log_lines(self.progress.step))
            self._log.record(self.progress.step, outcome.name, outcome.numbers)
        if outcomes:
            self._say_time_of_protocols(sum(outcome.numbers.get("seconds", 0) for outcome in outcomes))
        if not results:
            return
        is_best = self._saver.best.update([result.accuracy for result in decisive])
        self._log.say(highest_line(self._saver.best.accuracy, self.progress.step))
        if is_best:
            self._saver.save_best()

    def _evaluate(self) -> tuple[list[VerificationResult], list[VerificationResult], list[Outcome]]:
        """Return the results of every set, those that decide what is the best so far, and those of the protocols.

        With an average of the weights all sets are verified with the weights and with it. It decides, and the protocols
        are about it.
        """
        average, results = self.train_step.average, self.verifier.run()
        with contextlib.nullcontext() if average is None else average.applied():
            decisive = results if average is None else self.verifier.run()
            outcomes = self.protocols.run(decisive) if self.protocols is not None else []
        if average is not None:
            decisive = [replace(result, name=f"{result.name}_ema") for result in decisive]
            results = [*results, *decisive]
        return results, decisive, outcomes

    def _say_time_of_protocols(self, seconds: float) -> None:
        """Say once how long the protocols take."""
        if self._has_said_time or not self.protocols.images:
            return
        self._has_said_time = True
        left = seconds * self.plan.validations_after(self.progress.step)
        self._log.say(
            f"val_protocols took {seconds:.1f} s for {self.protocols.images:,} images: about {format_seconds(left)} in "
            "the rest of this run"
        )

    def _give_up(self, error: Exception) -> NoReturn:
        """Write a snapshot of the finished steps if it can be written, then raise ``error``. A collective call."""
        step, keeps = self.progress.step, self.config["ckpt"] != NO_SNAPSHOTS
        if keeps and step > self._first_step:
            try:
                self._saver.save()
                self._saver.finish()
            except UserError as second:
                self._log.say(f"step {step} has no snapshot: {second}")
            else:
                self._log.say(f"stopped after step {step}; resume with --resume 1")
                self.train_step.world.barrier()  # rank 0 may still be writing when another rank is done
        raise error

    def _finish(self, stopping: bool) -> None:
        keeps = self.config["ckpt"] != NO_SNAPSHOTS
        if self.config["save_last_snapshot"] or (stopping and keeps):
            self._saver.save()
        self._saver.finish()
        if stopping:
            self._reporter.stop_requested = True  # another rank may have been asked; the exit code says it everywhere
            then = "resume with --resume 1" if keeps else "--ckpt 0 keeps no snapshot"
            self._log.say(f"stopped after step {self.progress.step}; {then}")
        self._log.close()
        self.train_step.world.barrier()  # rank 0 is still writing; a rank that finds another one gone aborts

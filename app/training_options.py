"""How a training is asked for on the command line, and what it tells while it goes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.schema.errors import UsageError

if TYPE_CHECKING:
    from training.loop import Placement
    from training.recipes import Recipe
    from training.resume import Keep


@dataclass(frozen=True)
class RecipeOptions:
    """How the network is trained.

    Parameters
    ----------
    recipe
        A named recipe: default, people, few, mixed-time, stream, or a published one (spikformer-dvs, qkformer-gesture, ...; see
        docs/training.md). The options below change single things of it.
    epochs
        Passes over the training clips.
    batch
        Clips of one step.
    rate
        Largest learning rate.
    loss
        Cross-entropy of every bin (tet) or of the mean (mean).
    augmentation
        Small shifts, scalings, rotations and losses of events (mild), those and mirror, tempo, noise, hot pixels (people), or
        none.
    seed
        Seed of weights, order and augmentation.
    log
        JSON lines of every step; beside them a picture of the curves (svg).
    tensorboard
        Folder for event files that TensorBoard reads.
    """

    recipe: str = "default"
    epochs: int | None = None
    batch: int | None = None
    rate: float | None = None
    loss: Literal["tet", "mean"] | None = None
    augmentation: Literal["mild", "people", "none"] | None = None
    seed: int = 0
    log: Path | None = None
    tensorboard: Path | None = None

    def read(self) -> "Recipe":
        """The recipe that is meant; UsageError for an unknown name or a value out of range."""
        from training.augmentation import AUGMENTATIONS
        from training.recipes import named_recipe

        return named_recipe(
            self.recipe,
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.rate,
            loss=self.loss,
            seed=self.seed,
            augmentation=None if self.augmentation is None else AUGMENTATIONS[self.augmentation],
        )


@dataclass(frozen=True)
class RunOptions:
    """Where the network is trained, and how often the training is kept.

    Parameters
    ----------
    device
        Processor (cpu), GPU (cuda), or a GPU where there is one (auto).
    devices
        Processes with a device each; several are started here, or by torchrun with the same number.
    precision
        Bits of the numbers in a step: 32, or 16 where that is enough (bf16-mixed, 16-mixed).
    resume
        Go on with a training that was ended early, as if it had not been.
    keep_every
        Steps after which the training is kept in OUT.resume.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    resume: bool = False
    keep_every: int = 50

    def placement(self, out: Path) -> tuple["Placement", "Keep"]:
        """Where to train, and what keeps it until `out` is written; UsageError where there is nothing to go on with."""
        from training.loop import Placement
        from training.resume import Keep

        for flag, number in (("--devices", self.devices), ("--keep-every", self.keep_every)):
            if number < 1:
                raise UsageError(f"{flag} {number}: at least 1")
        kept = Keep(out.with_name(out.name + ".resume"), self.keep_every, self.resume)
        if self.resume and out.is_file() and not kept.path.is_file():
            raise UsageError(f"--resume: {out} is finished, and there is no {kept.path.name} to go on with; leave --resume out")
        return Placement(self.device, self.devices, self.precision, kept), kept


@contextmanager
def telling(options: RecipeOptions, n_steps_kept: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give what is to be called after each step: it moves the bar and writes what was asked for; the curves come at the end."""
    from app.terminal import progress_bar
    from training.curves import write_curves
    from training.logs import event_file, log_lines
    from training.loop import is_first_process

    writers = list[Callable[[dict[str, Any]], None]]()
    with progress_bar("training") as progress:

        def report(line: dict[str, Any]) -> None:
            if not writers and line["step"] == n_steps_kept + 1:
                # only now: no other process of this training comes here
                writers.extend([log_lines(options.log, n_steps_kept)] if options.log is not None else [])
                writers.extend([event_file(options.tensorboard, n_steps_kept)] if options.tensorboard is not None else [])
            progress(line["step"], line["n_steps"], f"loss {line['loss']:.3f}, accuracy {line['accuracy']:.2f}")
            for write in writers:
                write(line)

        yield report
    if options.log is not None and is_first_process():
        write_curves(options.log, options.log.with_suffix(".svg"))

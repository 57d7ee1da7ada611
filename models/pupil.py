"""A recogniser that can be taught while it runs: a frozen network, and classes learnt from a few examples of its features.

Its classes are the network's own, then the taught ones, or the taught ones alone. The taught ones take as much of the scores as
the scene is near them; the network's own share the rest, or nobody does: that is the answer "none of these".
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
import torch
from msgspec.structs import replace as replace_fields
from torch import Tensor, nn

from models.checkpoint import CheckpointInfo, find_checkpoint, load_checkpoint
from models.features import WINDOWS_KEPT, tap
from models.prototypes import ClassExamples, Prototypes, Vectors, learn
from models.recogniser import Readout, StreamRecogniser
from models.taught import ENDING, Taught, check_name, check_owner, find_owner, is_taught, load_own, load_taught, save_taught
from pipeline.schema.errors import ConfigurationError, GpuMissingError, UsageError
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import NOTHING, Lesson, LessonReport, TaughtClass
from pipeline.schema.recognition import QUIET_BINS, Prediction

# Background windows kept of what runs by between lessons.
_N_PASSED = 64
_MAX_LESSON_BINS = 100_000


class Pupil(StreamRecogniser):
    """A `Recogniser` and a `Teachable`; changes `network` (see `models.features.tap`). `home` is where lessons are kept.

    `own` are windows of the network's own classes, which stand beside the taught ones as rivals. A class `nothing` among them
    is no rival but background: it is wide, and a taught gesture should not be hidden by it.
    """

    def __init__(
        self,
        network: nn.Module,
        info: CheckpointInfo,
        taught: Taught,
        readout: Readout = "running",
        *,
        home: Path | None = None,
        own: Sequence[ClassExamples] = (),
    ) -> None:
        self._tap = tap(network)
        self._n_features = self._tap.n_features
        self._rivals = tuple(shown for shown in own if shown.name != NOTHING)
        self._nothing = [shown.vectors for shown in own if shown.name == NOTHING]
        super().__init__(network, info, taught.network, readout)
        self._own_classes, self._own_info, self._home = tuple(info.classes), self._info, home
        self._lesson: Lesson | None = None
        self._collected: list[Vectors] = []
        self._passed: deque[Vectors] = deque(maxlen=_N_PASSED)
        self._since_window = 0
        self._note = ""
        self._believe(taught)

    @property
    def taught(self) -> Taught:
        """Everything that was shown so far."""
        return self._taught

    @property
    def lessons(self) -> LessonReport:
        """What was taught, and what is being shown now."""
        taught = [TaughtClass(shown.name, shown.n_examples) for shown in self._taught.classes]
        return LessonReport(taught, self._lesson, self._note, "" if self._home is None else str(self._home))

    def begin_lesson(self, name: str, n_bins: int) -> None:
        """The next `n_bins` bins are an example of `name`; UsageError while another lesson runs or for a name taken."""
        check_name(name, self._own_classes)
        if self._lesson is not None:
            raise UsageError(f"an example of {self._lesson.name!r} is being shown; wait until it is over")
        if not self._n_trusted <= n_bins <= _MAX_LESSON_BINS:
            shortest_us = self._n_trusted * self._info.delta_t_us
            raise UsageError(f"an example of {n_bins} bins; this network needs {shortest_us / 1e6:g} s of it at least")
        self.reset()
        self._lesson, self._collected, self._note = Lesson(name, 0, n_bins), [], ""

    def forget(self, name: str) -> None:
        """Drop a taught class; UsageError when there is none of that name."""
        self._keep(self._taught.without(name))

    def rename(self, old: str, new: str) -> None:
        """Give a taught class another name; UsageError when that cannot be."""
        self._keep(self._taught.renamed(old, check_name(new, self._own_classes)))

    def show_example(self, name: str, vectors: Sequence[Vectors], what: str) -> None:
        """One example of `name`: features (D,) of its windows, as `look` gives them; UsageError where there are none."""
        check_name(name, self._own_classes)
        if not vectors:
            raise UsageError(f"{what} is too short or too quiet to be an example of {name!r}")
        self._keep(self._taught.with_example(name, np.stack(vectors)))

    def show_background(self, vectors: Sequence[Vectors]) -> None:
        """Take windows, as `look` gives them, as none of the classes from here on."""
        self._keep(self._taught.with_background(np.stack(vectors)))

    def leave_own_out(self) -> None:
        """Answer with taught classes alone from here on."""
        self._keep(dataclasses.replace(self._taught, only_taught=True))

    def look(self, frame: SpikeFrame) -> Vectors | None:
        """Features (D,) of the window that ends with this bin, where one is worth keeping: four a window, none while quiet."""
        return self._features_after(super().step(frame))

    def step(self, frame: SpikeFrame) -> Prediction:
        """Take the next time bin, and in a lesson learn from it; ConfigurationError when its shape does not fit."""
        prediction = super().step(frame)
        vector = self._features_after(prediction)
        if vector is not None:
            self._look_at(vector)
        if self._lesson is not None:
            self._lesson = replace_fields(self._lesson, n_bins_seen=self._lesson.n_bins_seen + 1)
            if self._lesson.n_bins_seen >= self._lesson.n_bins:
                self._end_lesson(self._lesson.name)
        return prediction

    def judge(self, mean: Tensor) -> npt.NDArray[np.float32]:
        """Scores of all classes, at most 1 in all, of the mean (K + D,) of logits and features over a window."""
        logits = mean[: -self._n_features]
        own = logits.softmax(dim=0).numpy().astype(np.float32)
        if self._prototypes is None:
            return own
        near = self._prototypes.scores(self._tap.features(mean[None, -self._n_features :]))[0].astype(np.float32)
        scores: npt.NDArray[np.float32] = near if self._taught.only_taught else np.concatenate([(1 - near.sum()) * own, near])
        return scores

    def _features_after(self, prediction: Prediction) -> Vectors | None:
        self._since_window += 1
        is_due = self._since_window >= max(1, self._info.n_time_bins // WINDOWS_KEPT)
        # a still scene shows nothing
        if not (is_due and prediction.is_window_end) or self._n_quiet >= QUIET_BINS:
            return None
        self._since_window = 0
        return self._tap.features(self._mean()[-self._n_features :])

    def _look_at(self, vector: Vectors) -> None:
        if self._lesson is not None:
            self._collected.append(vector)
        elif not self._taught.classes:
            self._passed.append(vector)

    def _end_lesson(self, name: str) -> None:
        self._lesson = None
        if not self._collected:
            self._note = f"nothing of {name!r} was learnt: the scene was quiet all the time; show it again"
            return
        taught = self._taught
        if not taught.classes and self._passed and not taught.background.size:
            taught = taught.with_background(np.stack(self._passed))
        self._keep(taught.with_example(name, np.stack(self._collected)))
        self._collected = []

    def _keep(self, taught: Taught) -> None:
        self._believe(taught)
        if self._home is not None:
            save_taught(self._home, taught)

    def _believe(self, taught: Taught) -> None:
        D = self._n_features
        shapes = [shown.vectors.shape[1] for shown in (*taught.classes, *self._rivals)]
        shapes += [vectors.shape[1] for vectors in (taught.background, *self._nothing) if vectors.size]
        if other := next((n for n in shapes if n != D), None):
            raise ConfigurationError(
                f"examples of {other} features, while {taught.network} has {D} in this version; teach it anew with --from"
            )
        self._taught = taught
        scenes = [vectors for vectors in (taught.background, *self._nothing) if vectors.size]
        background = np.concatenate(scenes) if scenes else None
        self._prototypes: Prototypes | None = learn(taught.classes, background, self._rivals) if taught.classes else None
        own = () if taught.only_taught and taught.classes else self._own_classes
        self._info = dataclasses.replace(self._own_info, classes=(*own, *taught.names))


def load_pupil(name: str, readout: str = "running", *, keeps: bool = False, device: str = "cpu") -> Pupil:
    """The pupil of a checkpoint, or of a file of taught classes with the checkpoint they belong to (path or name).

    If it `keeps` lessons: in the file of taught classes, else in a new one. ConfigurationError when the checkpoint is another,
    GpuMissingError when `device` is cuda and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise GpuMissingError("--device cuda: torch finds no GPU here; leave --device out to run on the processor")
    path = Path(name)
    home: Path | None = path
    if path.is_file() and is_taught(path):
        taught = load_taught(path)
        found = Path(find_owner(path, taught))
        network, info, network_name = load_checkpoint(str(found))
        check_owner(path, taught, network_name)
    else:
        network, info, network_name = load_checkpoint(name)
        found = find_checkpoint(name)
        # a shipped checkpoint is found by its name wherever it is installed
        taught = Taught(network_name, str(found.resolve()) if path.is_file() else name)
        home = _free_home(network_name)
    own = load_own(found, network_name)
    return Pupil(network.float().to(device), info, taught, readout, home=home if keeps else None, own=own)  # type: ignore[arg-type]  # checked in the constructor


def load_judged(name: str) -> tuple[nn.Module, CheckpointInfo, str]:
    """As `models.checkpoint.load_checkpoint`, also for taught classes: their network then answers log scores of all classes."""
    path = Path(name)
    if not (path.is_file() and is_taught(path)):
        return load_checkpoint(name)
    taught = load_taught(path)
    found = Path(find_owner(path, taught))
    network, info, network_name = load_checkpoint(str(found))
    check_owner(path, taught, network_name)
    pupil = Pupil(network.float(), info, taught, own=load_own(found, network_name))

    def answer(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        scores = np.stack([pupil.judge(mean) for mean in output.detach()])
        return torch.from_numpy(scores).clamp_min(1e-12).log()

    network.register_forward_hook(answer)
    return network, replace_fields(info, classes=list(pupil.info.classes)), network_name


def _free_home(network: str) -> Path:
    """Where lessons are kept that were given to a plain checkpoint: a new file in the user's data directory."""
    folder = Path(platformdirs.user_data_dir("saccade")) / "taught"
    candidates = (folder / f"{network}-{number}{ENDING}" for number in itertools.count(1))
    return next(path for path in candidates if not path.exists())

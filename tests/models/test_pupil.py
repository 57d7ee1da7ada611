"""Teaching the frozen network: features, lessons, files. A small network of random weights; scenes are stripes of events."""

import numpy as np
import pytest
import torch
from small_networks import counts, small_network

from models.checkpoint import CheckpointInfo, configuration_values, load_checkpoint, save_checkpoint
from models.engine.runners import CompiledRunner, PlainRunner
from models.features import Tap, answers_of, tap, windows_of
from models.own import keep_own
from models.prototypes import ClassExamples
from models.pupil import Pupil, load_judged, load_pupil
from models.recogniser import StreamRecogniser
from models.registry import create_network
from models.taught import Taught, is_taught, load_own, load_taught, save_taught, thin
from pipeline.schema.errors import ConfigurationError, GpuMissingError, InputError, UsageError
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.recognition import Teachable

T = 4
SETTINGS = {"dim": 32, "depth": 1, "n_heads": 4, "n_classes": 2, "size": (16, 16), "pools": "0111"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a network whose neurons fire; classes `up` and `down`."""
    torch.manual_seed(3)
    network = create_network("spikformer", **SETTINGS)
    scenes = [list(frames(kind, 12, seed)) for kind in ("standing", "lying", "snow") for seed in range(100, 104)]
    x = torch.from_numpy(np.stack([[frame.counts for frame in scene] for scene in scenes], axis=1)).float()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                module.bias.fill_(1.0)
                module.weight.fill_(2.0)
        for _ in range(8):
            network.train().run(x)  # gives every normalisation the scale of such scenes, so that neurons fire
    info = CheckpointInfo("spikformer", configuration_values(network.configuration), ["up", "down"], 10_000, T, (16, 16))
    path = tmp_path_factory.mktemp("taught") / "small.safetensors"
    save_checkpoint(path, network.eval(), info)
    return path


@pytest.fixture(scope="module")
def untaught(checkpoint):
    """A pupil for tests in which everything it is asked is refused."""
    return load_pupil(str(checkpoint))


def frames(kind, n, seed=0):
    """a thick bar of events, standing or lying, its noise drawn from the seed."""
    rng = np.random.default_rng(seed)
    at = 6
    for seq in range(n):
        events = (rng.random((2, 16, 16)) < 0.02).astype(np.uint8)
        bar = (slice(None), slice(None), slice(at, at + 4)) if kind == "standing" else (slice(None), slice(at, at + 4))
        events[bar] += rng.integers(0, 4, events[bar].shape).astype(np.uint8)
        if kind == "snow":
            events = rng.integers(0, 2, events.shape).astype(np.uint8)
        yield SpikeFrame(events, seq * 10_000, (seq + 1) * 10_000, seq, int(events.sum()))


def show(pupil, name, kind, n_examples=3):
    for seed in range(n_examples):
        pupil.begin_lesson(name, 12)
        for frame in frames(kind, 12, seed):
            pupil.step(frame)


def last_scores(pupil, kind, seed=50):
    pupil.reset()
    return [pupil.step(frame).scores for frame in frames(kind, 12, seed)][-1]


@pytest.mark.parametrize("case", ["qkformer", "spikingresformer", "sdt", "bestformer"])
def test_a_tapped_network_answers_as_before_and_gives_what_its_head_saw(case, lively):
    plain, tapped = small_network(case, lively), small_network(case, lively)
    x = counts(plain, 3, 2)
    tapped_by = tap(tapped)
    n = tapped_by.n_features
    wanted, state = plain.run(x)
    found, after = tapped.run(x)
    n_classes = wanted.shape[-1]
    assert found.shape == (3, 2, n_classes + n)
    assert torch.allclose(found[..., :n_classes], wanted, atol=1e-12)
    assert set(after) == set(state)
    heads = [module for name, module in tapped.named_children() if name.startswith("head")]
    pieces = found[..., n_classes:].split(list(tapped_by.widths), dim=-1)[: len(heads)]
    again = sum(head(piece) for head, piece in zip(heads, pieces, strict=True)) / len(heads)
    assert torch.allclose(again, wanted)
    assert found[..., n_classes:].abs().sum() > 0


def test_a_network_without_a_head_cannot_be_taught():
    with pytest.raises(ConfigurationError, match="head"):
        tap(torch.nn.Sequential())


def test_untaught_it_answers_as_the_plain_recogniser(checkpoint):
    pupil = load_pupil(str(checkpoint))
    assert isinstance(pupil, Teachable)
    from models.recogniser import load_recogniser

    plain = load_recogniser(str(checkpoint))
    assert not isinstance(plain, Teachable)
    for frame in frames("standing", 8):
        np.testing.assert_allclose(pupil.step(frame).scores, plain.step(frame).scores, atol=1e-6)


def test_what_was_shown_is_known_and_what_was_not_is_left_to_the_network(checkpoint):
    pupil = load_pupil(str(checkpoint))
    for frame in frames("snow", 40):
        pupil.step(frame)
    show(pupil, "standing", "standing")
    show(pupil, "lying", "lying")
    assert pupil.info.classes == ("up", "down", "standing", "lying")
    assert [(known.name, known.n_examples) for known in pupil.lessons.taught] == [("standing", 3), ("lying", 3)]
    assert int(last_scores(pupil, "standing").argmax()) == 2
    assert int(last_scores(pupil, "lying").argmax()) == 3
    snow = last_scores(pupil, "snow")
    assert snow[2:].sum() < 0.5
    assert snow.sum() == pytest.approx(1, abs=1e-5)


def test_with_taught_classes_alone_the_foreign_is_none_of_them(checkpoint):
    pupil = load_pupil(str(checkpoint))
    for frame in frames("snow", 40):
        pupil.step(frame)
    show(pupil, "standing", "standing")
    pupil.leave_own_out()
    assert pupil.info.classes == ("standing",)
    assert last_scores(pupil, "standing").sum() > 0.5
    assert last_scores(pupil, "snow").sum() < 0.5


def test_lessons_can_be_forgotten_and_renamed(checkpoint):
    pupil = load_pupil(str(checkpoint))
    show(pupil, "standing", "standing", 1)
    pupil.rename("standing", "pole")
    assert pupil.info.classes == ("up", "down", "pole")
    with pytest.raises(UsageError, match="never taught"):
        pupil.forget("standing")
    pupil.forget("pole")
    assert pupil.info.classes == ("up", "down")


@pytest.mark.parametrize("name", ["up", "nothing", "", "x" * 65, "line\nbreak"])
def test_names_that_mean_something_else_are_refused(untaught, name):
    with pytest.raises(UsageError):
        untaught.begin_lesson(name, 12)
    assert untaught.lessons.lesson is None


def test_one_lesson_at_a_time_and_none_too_short(checkpoint):
    pupil = load_pupil(str(checkpoint))
    with pytest.raises(UsageError, match="at least"):
        pupil.begin_lesson("pole", 1)
    pupil.begin_lesson("pole", 12)
    assert pupil.lessons.lesson.n_bins == 12
    with pytest.raises(UsageError, match="being shown"):
        pupil.begin_lesson("pole", 12)


def test_lessons_are_kept_in_a_small_file_that_knows_its_network(checkpoint, tmp_path):
    path = tmp_path / "my.taught"
    pupil = load_pupil(str(checkpoint))
    show(pupil, "standing", "standing")
    save_taught(path, pupil.taught)
    assert is_taught(path)
    assert not is_taught(checkpoint)
    assert path.stat().st_size < 40_000
    again = load_pupil(str(path), keeps=True)
    assert again.info == pupil.info
    np.testing.assert_allclose(last_scores(again, "standing"), last_scores(pupil, "standing"), atol=1e-6)
    again.rename("standing", "pole")
    assert load_taught(path).names == ("pole",)


def test_taught_classes_are_refused_on_another_network(checkpoint, tmp_path):
    pupil = load_pupil(str(checkpoint))
    show(pupil, "standing", "standing", 1)
    other = tmp_path / "small.safetensors"
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    from dataclasses import replace

    save_taught(tmp_path / "my.taught", replace(pupil.taught, checkpoint=str(other)))
    with pytest.raises(ConfigurationError, match="not to spikformer@"):
        load_pupil(str(tmp_path / "my.taught"))
    save_taught(tmp_path / "gone.taught", replace(pupil.taught, checkpoint=str(tmp_path / "gone.safetensors")))
    with pytest.raises(InputError, match="is gone"):
        load_pupil(str(tmp_path / "gone.taught"))


def test_damaged_files_of_taught_classes_are_refused_in_one_sentence(checkpoint, tmp_path):
    pupil = load_pupil(str(checkpoint))
    show(pupil, "standing", "standing", 1)
    path = tmp_path / "my.taught"
    save_taught(path, pupil.taught)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for n in rng.integers(0, len(data), 30).tolist():
        path.write_bytes(data[:n])
        with pytest.raises(InputError):
            load_taught(path)
    with pytest.raises(InputError, match="no taught classes"):
        load_taught(checkpoint)


def test_a_judged_network_answers_for_all_classes(checkpoint, tmp_path):
    pupil = load_pupil(str(checkpoint))
    show(pupil, "standing", "standing")
    save_taught(tmp_path / "my.taught", pupil.taught)
    network, info, _ = load_judged(str(tmp_path / "my.taught"))
    assert info.classes == ["up", "down", "standing"]
    window = np.stack([frame.counts for frame in frames("standing", T, 50)])
    with torch.inference_mode():
        logits = network(torch.from_numpy(window).float().unsqueeze(1))
    assert logits.shape == (1, 3)
    np.testing.assert_allclose(logits.exp().sum(), 1, atol=1e-4)
    assert int(logits.argmax()) == 2
    assert load_judged(str(checkpoint))[1].classes == ["up", "down"]


def test_features_of_another_width_are_refused(untaught):
    with pytest.raises(ConfigurationError, match="features"):
        untaught.show_example("pole", [np.zeros(7, np.float32)], "made up")
    assert untaught.info.classes == ("up", "down")


def test_few_windows_of_a_long_example_are_kept():
    kept = thin(np.arange(100, dtype=np.float32)[:, None], 8)
    assert kept[:, 0].tolist() == [0, 14, 28, 42, 57, 71, 85, 99]
    assert len(thin(np.zeros((3, 1), np.float32), 8)) == 3


def test_taught_is_a_value():
    taught = Taught("net@0", "default").with_example("a", np.ones((2, 3), np.float32))
    more = taught.with_example("a", np.zeros((2, 3), np.float32))
    assert (taught.classes[0].n_examples, more.classes[0].n_examples) == (1, 2)
    with pytest.raises(UsageError, match="already"):
        more.with_example("b", np.ones((1, 3), np.float32)).renamed("b", "a")


def test_own_classes_beside_a_checkpoint_keep_what_is_theirs(checkpoint, tmp_path):
    """`up` stands, and a lesson on lying bars shall not claim it; a class that the network does not know is passed over."""
    home = tmp_path / "small.safetensors"
    home.write_bytes(checkpoint.read_bytes())
    clips = [(np.stack([frame.counts for frame in frames("standing", 12, seed)]), "up") for seed in range(200, 204)]
    path = keep_own(str(home), [*clips, (clips[0][0], "sideways")])
    assert path == tmp_path / "small.own"
    network = load_checkpoint(str(home))[2]
    assert [shown.name for shown in load_own(home, network)] == ["up"]
    assert load_own(home, "spikformer@0") == ()
    assert load_own(checkpoint, network) == ()
    alone, beside = load_pupil(str(checkpoint)), load_pupil(str(home))
    for pupil in (alone, beside):
        show(pupil, "lying", "lying")
    assert last_scores(beside, "lying")[2] > 0.5
    assert last_scores(beside, "standing")[2] < 0.5 < last_scores(alone, "standing")[2]
    with pytest.raises(InputError, match="it knows up, down"):
        keep_own(str(home), [(clips[0][0], "sideways")])


def test_windows_of_nothing_are_background_and_no_rival(checkpoint):
    network, info, name = load_checkpoint(str(checkpoint))
    shown = ClassExamples("nothing", np.ones((2, 32 + 16 * 32), np.float32), np.zeros(2, np.int64))
    pupil = Pupil(network.float(), info, Taught(name, str(checkpoint)), own=[shown])
    show(pupil, "standing", "standing")
    assert pupil.info.classes == ("up", "down", "standing")
    assert int(last_scores(pupil, "standing").argmax()) == 2


def test_a_compiled_network_gives_the_features_of_a_plain_one(checkpoint):
    found = []
    for choose in (CompiledRunner, PlainRunner):
        network = load_checkpoint(str(checkpoint))[0].float()
        tap(network)
        runner = choose(network)
        found.append(torch.stack([runner.step(frame.counts) for frame in frames("standing", 6, 7)]))
    assert found[0].shape == (6, 2 + 32 + 512)
    assert found[1][:, 34:].abs().sum() > 0
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_windows_of_a_clip_are_those_of_the_stream(checkpoint):
    scene = list(frames("standing", 12, 7))
    network = load_checkpoint(str(checkpoint))[0].float()
    whole = windows_of(tap(network), answers_of(network, np.stack([frame.counts for frame in scene])), T)
    pupil = load_pupil(str(checkpoint))
    streamed = [vector for frame in scene if (vector := pupil.look(frame)) is not None]
    assert len(whole) == 11  # from the second bin on, one a bin
    np.testing.assert_allclose(whole, np.stack(streamed), atol=1e-5)


def test_features_are_roots_over_the_root_of_the_width():
    tapped = Tap((2, 4))
    found = tapped.features(torch.tensor([[1.0, -0.25, 0.0, 1.0, 4.0, 0.25]]))
    assert tapped.n_features == 6
    np.testing.assert_allclose(found[0], [1 / 2**0.5, -0.5 / 2**0.5, 0.0, 0.5, 1.0, 0.25], rtol=1e-6)


def test_a_pupil_is_a_stream_recogniser():
    assert issubclass(Pupil, StreamRecogniser)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_before_anything_is_loaded() -> None:
    with pytest.raises(GpuMissingError, match="leave --device out") as raised:
        load_pupil("no such checkpoint", device="cuda")
    assert raised.value.exit_code == 6

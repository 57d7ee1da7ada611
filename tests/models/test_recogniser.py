"""The stream: its window equals the network on the same bins, its state can be forgotten, its numbers are counted."""

import numpy as np
import pytest
import torch

from models.checkpoint import CheckpointInfo, configuration_values
from models.recogniser import StreamRecogniser
from models.registry import create_network
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.recognition import QUIET_BINS

T = 4


def _recogniser(readout: str, quiet_rate_hz: float = 0.0) -> tuple[StreamRecogniser, torch.nn.Module]:
    torch.manual_seed(0)
    network = create_network("tim", dim=16, depth=1, n_heads=2, n_classes=3, size=(16, 16)).eval()
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_var.fill_(0.1)
    info = CheckpointInfo(
        "tim", configuration_values(network.configuration), ["a", "b", "c"], 10_000, T, (16, 16), quiet_rate_hz
    )
    return StreamRecogniser(network, info, "tim@00000000", readout), network


def _frames(n: int) -> list[SpikeFrame]:
    counts = np.random.default_rng(0).poisson(0.5, (n, 2, 16, 16)).astype(np.uint8)
    return [SpikeFrame(c, 10_000 * i, 10_000 * (i + 1), i, int(c.sum())) for i, c in enumerate(counts)]


def test_window_readout_equals_the_network_on_those_bins_exactly() -> None:
    recogniser, network = _recogniser("window")
    frames = _frames(2 * T)
    predictions = [recogniser.step(frame) for frame in frames]
    assert [p.is_window_end for p in predictions] == [False, False, False, True] * 2
    for end in (T, 2 * T):
        x = torch.from_numpy(np.stack([f.counts for f in frames[end - T : end]])).float().unsqueeze(1)
        with torch.inference_mode():
            whole = network(x).softmax(dim=1)[0]
        np.testing.assert_allclose(predictions[end - 1].scores, whole.numpy(), atol=1e-6)


def test_running_readout_averages_the_last_bins_and_keeps_its_state() -> None:
    recogniser, network = _recogniser("running")
    frames = _frames(2 * T)
    predictions = [recogniser.step(frame) for frame in frames]
    x = torch.from_numpy(np.stack([f.counts for f in frames])).float().unsqueeze(1)
    with torch.inference_mode():
        logits, _ = network.run(x)
    np.testing.assert_allclose(predictions[-1].scores, logits[-T:, 0].mean(0).softmax(0).numpy(), atol=1e-6)


def test_running_readout_starts_from_rest_after_a_quiet_scene_and_trusts_itself_after_half_a_window() -> None:
    # every frame of `_frames` holds some 256 events in 10 ms; below 10,000 a second is quiet here
    recogniser, _ = _recogniser("running", quiet_rate_hz=10_000.0)
    frames = _frames(T)
    first = [recogniser.step(frame) for frame in frames]
    still = SpikeFrame(np.zeros((2, 16, 16), dtype=np.uint8), 0, 10_000, 0, 0)
    for _ in range(QUIET_BINS):
        recogniser.step(still)
    again = [recogniser.step(frame) for frame in frames]
    assert [p.is_window_end for p in first] == [p.is_window_end for p in again] == [False, True, True, True]
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(first, again, strict=True))


def test_reset_forgets_everything() -> None:
    recogniser, _ = _recogniser("running")
    frames = _frames(T)
    first = [recogniser.step(f).scores for f in frames]
    recogniser.reset()
    again = [recogniser.step(f).scores for f in frames]
    assert np.array_equal(first, again)


def test_prediction_carries_counted_operations_and_a_raster_of_its_layers() -> None:
    recogniser, _ = _recogniser("running")
    prediction = recogniser.step(_frames(1)[0])
    assert prediction.sops > 0
    assert prediction.macs == 2 * 2 * 9 * 16 * 16 + 16 * 3  # first layer, and the head on means
    assert prediction.energy_uj == pytest.approx((0.9 * prediction.sops + 4.6 * prediction.macs) / 1e6)
    assert prediction.raster.shape == (sum(layer.n_rows for layer in prediction.layers),)
    assert set(np.unique(prediction.raster)) <= {0, 1}


def test_raster_has_the_same_layers_at_every_bin_although_tim_begins_at_the_second() -> None:
    recogniser, _ = _recogniser("running")
    predictions = [recogniser.step(frame) for frame in _frames(3)]
    names = [[layer.name for layer in p.layers] for p in predictions]
    assert names[0] == names[1] == names[2]
    assert any("tim" in name for name in names[0])
    first = {layer.name: layer.firing_rate for layer in predictions[0].layers}
    assert all(rate == 0.0 for name, rate in first.items() if "tim" in name)


def test_frame_of_another_size_is_refused_with_both_shapes() -> None:
    recogniser, _ = _recogniser("running")
    frame = SpikeFrame(np.zeros((2, 8, 8), dtype=np.uint8), 0, 10_000, 0, 0)
    with pytest.raises(ConfigurationError, match=r"\(2, 8, 8\).*\(2, 16, 16\)"):
        recogniser.step(frame)


def test_raster_of_a_neuron_that_fires_counts_is_lit_or_not() -> None:
    torch.manual_seed(0)
    network = create_network(
        "sdt", dim=16, depth=1, n_heads=2, n_classes=3, size=(16, 16), attention="linear", neuron="sfa"
    ).eval()
    info = CheckpointInfo("sdt", configuration_values(network.configuration), ["a", "b", "c"], 10_000, T, (16, 16), 0.0)
    recogniser = StreamRecogniser(network, info, "sdt@00000000", "running")
    rasters = [recogniser.step(SpikeFrame(frame.counts * 20, 0, 10_000, 0, 1)).raster for frame in _frames(T)]
    assert set(np.unique(rasters)) == {0, 1}

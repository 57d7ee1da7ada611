"""Masked pre-training: what is hidden stays hidden, what is rebuilt is what was there, and the network learns from it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.pretraining import (
    MaskedAutoencoder,
    MaskingConfiguration,
    cut_cells,
    draw_hidden,
    layer_groups,
    place_codes,
    standardise,
)
from models.zoo.spikformer_v2 import SpikformerV2, SpikformerV2Configuration
from pipeline.schema.errors import ConfigurationError

SMALL = SpikformerV2Configuration(dim=32, n_heads=4, depth=1, n_classes=5, size=(64, 48))
DECODER = MaskingConfiguration(dim=32, depth=1, n_heads=2)


def _autoencoder(configuration: MaskingConfiguration = DECODER) -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(SpikformerV2(SMALL), configuration)


def _counts(n_bins: int = 3, n_streams: int = 2) -> Tensor:
    return torch.poisson(torch.full((n_bins, n_streams, 2, 48, 64), 0.8), generator=torch.Generator().manual_seed(1))


def test_every_stream_hides_as_many_cells_and_other_ones() -> None:
    hidden = draw_hidden(200, 12, 9, torch.Generator().manual_seed(0))
    assert hidden.sum(dim=1).eq(9).all()
    assert (hidden.float().mean(dim=0) - 0.75).abs().max() < 0.15


def test_cells_are_cut_row_by_row_and_hold_their_own_pixels() -> None:
    x = torch.zeros(2, 1, 2, 32, 48)
    x[1, 0, 1, 17, 34] = 5.0  # second row of cells, third column: cell 5; bin 1, ON, row 1, column 2 of the cell
    cells = cut_cells(x)
    assert cells.shape == (1, 6, 2 * 2 * 16 * 16)
    assert cells[0, 5].view(2, 2, 16, 16)[1, 1, 1, 2] == 5.0
    assert cells.sum() == 5.0


def test_cells_are_standardised_but_for_those_that_do_not_vary() -> None:
    cells = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 4.0, 4.0], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    # mean 2, variance 1 over n - 1
    wanted = torch.tensor([[[-1.0, 0.0, 1.0], [4.0, 4.0, 4.0], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(standardise(cells), wanted, rtol=0, atol=1e-5)


def test_no_two_cells_have_the_same_code() -> None:
    codes = place_codes(4, 3, 16)
    assert codes.shape == (12, 16)
    assert codes[0].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4 + [1.0] * 4
    distances = torch.cdist(codes, codes) + torch.eye(12)
    assert distances.min() > 0.1


def test_what_is_hidden_does_not_reach_the_answer() -> None:
    autoencoder = _autoencoder().eval()
    hidden = draw_hidden(2, 12, 9, torch.Generator().manual_seed(2))
    x = _counts()
    pixels = hidden.view(2, 1, 3, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    other = torch.where(pixels, 7.0, x)
    with torch.no_grad():
        assert torch.equal(autoencoder(x, hidden), autoencoder(other, hidden))
        assert autoencoder.encode(x, hidden).shape == (3, 2, 32, 3)


def test_visible_tokens_are_those_of_the_visible_cells_in_order() -> None:
    autoencoder = _autoencoder().eval()
    autoencoder.network.blocks = torch.nn.ModuleList()
    autoencoder.network.stem.forward = lambda x, memory, visible: torch.arange(12.0).view(1, 1, 1, 3, 4).expand(3, 2, 32, 3, 4)
    hidden = torch.ones(2, 12, dtype=torch.bool)
    hidden[0, [1, 8]] = False
    hidden[1, [3, 11]] = False
    tokens = autoencoder.encode(_counts(), hidden)
    assert tokens[0, :, 0].tolist() == [[1.0, 8.0], [3.0, 11.0]]


def test_loss_counts_hidden_cells_alone_and_empty_ones_less() -> None:
    autoencoder = _autoencoder(MaskingConfiguration(dim=32, depth=1, n_heads=2, empty_weight=0.5))
    autoencoder.forward = lambda x, hidden: torch.zeros(1, 12, 512)
    x = torch.zeros(1, 1, 2, 48, 64)
    x[0, 0, 0, :16, :16] = _counts(1, 1)[0, 0, 0, :16, :16]  # cell 0 alone holds events
    hidden = torch.zeros(1, 12, dtype=torch.bool)
    hidden[0, :2] = True
    # zeros against a standardised cell err by its variance, 511 / 512; against an empty one by nothing, at half the weight
    assert autoencoder.loss(x, hidden).item() == pytest.approx((511 / 512 * 1.0 + 0.0 * 0.5) / 1.5, rel=1e-4)


@pytest.mark.parametrize("n_time_bins", [0, 3])
def test_a_few_steps_of_training_rebuild_better_and_move_the_network(n_time_bins: int) -> None:
    torch.manual_seed(0)
    network = SpikformerV2(replace(SMALL, size=(32, 32)))
    autoencoder = MaskedAutoencoder(network, MaskingConfiguration(dim=32, depth=1, n_heads=2, n_time_bins=n_time_bins)).train()
    before = autoencoder.network.blocks[0].mlp.fc1.lin.weight.detach().clone()
    # the left half of every cell is busy: what can be rebuilt without seeing the cell
    x = _counts()[..., :32, :32] * (torch.arange(32) % 16 < 8)
    optimiser = torch.optim.AdamW(autoencoder.parameters(), lr=3e-3)
    generator, losses = torch.Generator().manual_seed(3), []
    for _ in range(12):
        loss = autoencoder.loss(x, draw_hidden(2, 4, 3, generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert not torch.equal(before, autoencoder.network.blocks[0].mlp.fc1.lin.weight)


def test_clips_of_another_length_than_the_decoder_rebuilds_are_refused() -> None:
    autoencoder = _autoencoder(MaskingConfiguration(dim=32, depth=1, n_heads=2, n_time_bins=4))
    with pytest.raises(ConfigurationError, match="4 time bins was given 3"):
        autoencoder.loss(_counts(), draw_hidden(2, 12, 9, torch.Generator().manual_seed(0)))


def test_layers_below_the_head_learn_the_slower_the_deeper_they_lie() -> None:
    groups = list(layer_groups(SpikformerV2(SMALL), decay=0.5))
    assert [group["lr_scale"] for group in groups] == [0.25, 0.5, 1.0]
    n_grouped = sum(parameter.numel() for group in groups for parameter in group["params"])
    assert n_grouped == sum(parameter.numel() for parameter in SpikformerV2(SMALL).parameters())


@pytest.mark.parametrize("settings", [{"ratio": 0.0}, {"ratio": 1.0}, {"dim": 30}, {"n_heads": 5}, {"n_heads": 0}])
def test_masks_and_decoders_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        MaskedAutoencoder(SpikformerV2(SMALL), MaskingConfiguration(**settings))

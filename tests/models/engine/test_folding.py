"""Batch norms go into the convolution before them, and only there where nobody else looks between."""

import pytest
import torch
from torch import Tensor, nn

from models.engine.folding import Convolution, fold
from models.engine.graph import capture


class Small(nn.Module):
    """One convolution of one weight, 3, and bias 1; a batch norm of mean 2, variance 4, weight 10, bias 0.5."""

    def __init__(self, *, is_shared: bool) -> None:
        super().__init__()
        self.conv, self.bn, self.is_shared = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0), is_shared
        nn.init.constant_(self.conv.weight, 3.0)
        nn.init.constant_(self.conv.bias, 1.0)
        self.bn.running_mean.fill_(2.0)
        self.bn.running_var.fill_(4.0)
        nn.init.constant_(self.bn.weight, 10.0)
        nn.init.constant_(self.bn.bias, 0.5)
        self.eval()

    def step(self, x: Tensor, _: object) -> tuple[Tensor, dict[str, Tensor]]:
        y = self.conv(x)
        z = self.bn(y)
        return (y + z if self.is_shared else z), {}


def test_folded_convolution_has_the_weights_worked_out_by_hand() -> None:
    graph, _ = capture(Small(is_shared=False), torch.ones(1, 1, 2, 2), None)
    (step,) = fold(graph)
    assert isinstance(step, Convolution)
    # (3 x + 1 - 2) / 2 * 10 + 0.5 = 15 x - 4.5
    assert step.weight.item() == 15.0
    assert step.bias.item() == -4.5
    assert step.output == graph.logits


def test_a_convolution_that_is_read_before_its_batch_norm_stays_as_it_is() -> None:
    graph, _ = capture(Small(is_shared=True), torch.ones(1, 1, 2, 2), None)
    first, *others = fold(graph)
    assert isinstance(first, Convolution)
    assert first.weight.item() == pytest.approx(3.0)
    assert [call.name for call in others if not isinstance(call, Convolution)] == ["batch_norm", "add"]

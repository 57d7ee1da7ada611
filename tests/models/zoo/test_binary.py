"""Binary weights against the released convolution, and by hand."""

from pathlib import Path

import torch
from golden import Golden
from torch import nn

from models.zoo.binary import BinaryConvolution, binary_weight, n_binary_weights, stored_bytes


def test_convolution_equals_the_released_one_forward_and_backward(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "best_binconv")
    layer = BinaryConvolution(6, 8, kernel_size=3, padding=1, bias=False).double()
    layer.load_state_dict({"weight": golden["weight"]})
    y = layer(golden["x"])
    (y * golden["grad_out"]).sum().backward()
    assert torch.equal(binary_weight(layer.weight), golden["binary_weight"])
    torch.testing.assert_close(y, golden["y"], rtol=0, atol=1e-9)
    torch.testing.assert_close(layer.weight.grad, golden["grad_weight"], rtol=0, atol=1e-9)


def test_weights_are_signs_of_what_lies_above_the_mean_of_their_output_channel() -> None:
    weight = torch.tensor([[1.0, 2.0, 6.0], [-5.0, -1.0, -3.0]])  # means 3 and -3; the mean itself counts as above
    assert binary_weight(weight).tolist() == [[-1, -1, 1], [-1, 1, 1]]


def test_with_and_without_gradients_the_weights_are_the_same() -> None:
    weight = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.no_grad():
        still = binary_weight(weight)
    assert torch.equal(binary_weight(weight), still)
    assert set(still.unique().tolist()) == {-1.0, 1.0}


def test_a_binary_weight_is_stored_in_one_bit_and_any_other_in_thirty_two() -> None:
    network = nn.Sequential(BinaryConvolution(4, 8, kernel_size=1, bias=False), nn.BatchNorm2d(8))
    assert n_binary_weights(network) == 32
    assert stored_bytes(network) == 32 / 8 + 4 * 16


def test_bits_that_are_kept_follow_every_change_of_the_weights() -> None:
    layer = BinaryConvolution(2, 3, kernel_size=1, bias=False)
    x = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)

    def bits() -> list[float]:
        with torch.no_grad():
            return [float(y) for y in layer(x).flatten()]

    layer.weight.data = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 2.0]]).view(3, 2, 1, 1)
    assert bits() == bits() == [1, -1, -1]
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer.weight.grad = torch.tensor([[0.0, 0.0], [-5.0, 0.0], [0.0, 0.0]]).view(3, 2, 1, 1)
    optimiser.step()
    assert bits() == [1, 1, -1]
    layer.load_state_dict({"weight": torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]).view(3, 2, 1, 1)})
    assert bits() == [-1, -1, 1]
    layer.double()
    x = x.double()
    assert bits() == [-1, -1, 1]
    assert layer(x).flatten().tolist() == [-1, -1, 1]  # with gradients


def test_bits_kept_from_inference_do_not_hinder_a_gradient_through_a_frozen_teacher() -> None:
    layer = BinaryConvolution(2, 3, kernel_size=1, bias=False).requires_grad_(requires_grad=False)
    x = torch.ones(1, 2, 1, 1, requires_grad=True)
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.flatten(), binary_weight(layer.weight).sum(dim=(0, 2, 3)))

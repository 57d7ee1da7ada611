"""Fixtures for networks."""

import pytest
import torch
from golden import Lively, N
from torch import nn


@pytest.fixture
def lively() -> Lively:
    """Makes a fresh network float64, eval, with BN statistics that let every layer fire."""

    def prepare(network: N) -> N:
        generator = torch.Generator().manual_seed(7)
        network.double().eval()
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_var.fill_(0.2)
                module.running_mean.copy_(0.2 * torch.randn(module.running_mean.shape, generator=generator))
        return network

    return prepare

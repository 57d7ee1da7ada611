"""Synaptic operations counted from the spikes that really flowed, and the energy estimated from them.

    E = E_AC * SOPs + E_MAC * MACs of the first layer         (Spikformer; QKFormer appendix 6.6; 45 nm, Horowitz 2014)

One synaptic operation is one addition: an input spike times the outputs it reaches. A residual count of 2 costs two additions.
The first layer sees event counts, not spikes, and is charged as dense multiply-accumulates.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.neuron import LIF
from models.zoo.spikformer import SpikingProduct

# Energy of one accumulate and one multiply-accumulate, picojoule, 45 nm CMOS.
E_AC_PJ = 0.9
E_MAC_PJ = 4.6
_PJ_PER_UJ = 1e6

_Convolution = nn.Conv1d | nn.Conv2d


def energy_uj(sops: int, macs: int) -> float:
    """Estimated energy in microjoules of `sops` additions and `macs` multiply-accumulates."""
    return (E_AC_PJ * sops + E_MAC_PJ * macs) / _PJ_PER_UJ


@dataclass(slots=True)
class LayerCount:
    """Operations of one layer since the meter was read: additions, and dense multiply-accumulates."""

    sops: float = 0.0
    macs: int = 0


@dataclass(slots=True)
class Reading:
    """What one run cost: operations by layer, and the spikes of every LIF layer, (T, B, ...), by name."""

    layers: dict[str, LayerCount] = field(default_factory=dict)
    spikes: dict[str, Tensor] = field(default_factory=dict)
    first: str = ""

    @property
    def sops(self) -> int:
        """Additions of all layers but the first."""
        return round(sum(count.sops for name, count in self.layers.items() if name != self.first))

    @property
    def first_macs(self) -> int:
        """Multiply-accumulates of the first layer."""
        return self.layers[self.first].macs if self.first else 0

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates of all layers, as if nothing were a spike."""
        return sum(count.macs for count in self.layers.values())


class SpikeMeter:
    """Watches a network's layers through forward hooks; `read` gives what flowed since the last read."""

    def __init__(self, network: nn.Module) -> None:
        self._reading = Reading()
        self._reach: dict[tuple[str, torch.Size], Tensor] = {}
        self._hooks = []
        for name, module in network.named_modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d)):
                self._hooks.append(module.register_forward_hook(self._hook(name, self._convolution)))
            elif isinstance(module, nn.Linear):
                self._hooks.append(module.register_forward_hook(self._hook(name, self._linear)))
            elif isinstance(module, SpikingProduct):
                self._hooks.append(module.register_forward_hook(self._hook(name, self._product)))
            elif isinstance(module, LIF):
                self._hooks.append(module.register_forward_hook(self._hook(name, self._spikes)))

    def close(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def read(self) -> Reading:
        """Everything counted since the last read."""
        reading, self._reading = self._reading, Reading()
        return reading

    def _hook(self, name: str, count: Any) -> Any:
        return lambda module, inputs, output: count(name, module, inputs, output)

    def _add(self, name: str, sops: float, macs: int) -> None:
        if not self._reading.first:
            self._reading.first = name
        layer = self._reading.layers.setdefault(name, LayerCount())
        layer.sops += sops
        layer.macs += macs

    def _convolution(self, name: str, module: _Convolution, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0].detach()
        fan_out = module.out_channels // module.groups
        kernel = module.weight[0, 0].numel()
        macs = output.numel() * kernel * module.in_channels // module.groups
        if kernel == 1 and set(module.stride) == {1}:
            return self._add(name, x.sum().item() * fan_out, macs)
        reach = self._reach_of(name, module, x)
        return self._add(name, (x.sum(dim=(0, 1)) * reach).sum().item() * fan_out, macs)

    def _reach_of(self, name: str, module: _Convolution, x: Tensor) -> Tensor:
        """How many output places each input place feeds, shape of one map: borders feed fewer."""
        key = (name, x.shape[2:])
        if key not in self._reach:
            convolve = nn.functional.conv2d if isinstance(module, nn.Conv2d) else nn.functional.conv1d
            with torch.inference_mode(mode=False), torch.enable_grad():
                place = torch.zeros(1, 1, *x.shape[2:], dtype=x.dtype, requires_grad=True)
                kernel = torch.ones(1, 1, *module.kernel_size, dtype=x.dtype)
                convolve(place, kernel, stride=module.stride, padding=module.padding).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            assert place.grad is not None
            self._reach[key] = place.grad[0, 0]
        return self._reach[key]

    def _linear(self, name: str, module: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0]
        self._add(name, x.sum().item() * module.out_features, output.numel() * module.in_features)

    def _product(self, name: str, _: SpikingProduct, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        q, k, v = (x.detach() for x in inputs)  # (T, B, n_heads, N, D)
        N, D = q.shape[-2:]
        if N <= D:  # (q k^T) v: matches of a query and a key spike, then each value spike adds a column of N
            first = (q.sum(dim=-2) * k.sum(dim=-2)).sum()
            sops = first + v.sum() * N
        else:  # q (k^T v): pairs of a key and a value spike, then each query spike adds a row of D
            first = (k.sum(dim=-1) * v.sum(dim=-1)).sum()
            sops = first + q.sum() * D
        self._add(name, sops.item(), 2 * output.numel() * N)

    def _spikes(self, name: str, _: LIF, __: tuple[Tensor, Any], output: Tensor) -> None:
        self._reading.spikes[name] = output.detach()

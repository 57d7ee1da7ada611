"""Synaptic operations counted from the spikes that really flowed, and the energy estimated from them.

    E = E_AC * SOPs + E_MAC * MACs of the first layer         (Spikformer; QKFormer appendix 6.6; 45 nm, Horowitz 2014)

One synaptic operation is one addition: an input spike times the outputs it reaches. A residual count of 2 costs two additions.
The first layer sees event counts, not spikes, and is charged as dense multiply-accumulates; so is a head on mean currents.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.neuron import LIF
from models.zoo.autost import CurrentConvolution
from models.zoo.bestformer import SpikeProduct
from models.zoo.qkformer import KeyValueProduct
from models.zoo.spikformer import SpikeSum, SpikingProduct
from models.zoo.spikingresformer import CurrentLinear, CurrentProduct

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
    """Operations of one layer since the meter was read: additions, and dense multiply-accumulates.

    `is_dense`: the layer sees numbers instead of spikes, and its multiply-accumulates are what it costs.
    """

    sops: float = 0.0
    macs: int = 0
    is_dense: bool = False


@dataclass(slots=True)
class Reading:
    """What one run cost: operations by layer, and the spikes of every LIF layer, (T, B, ...), by name."""

    layers: dict[str, LayerCount] = field(default_factory=dict)
    spikes: dict[str, Tensor] = field(default_factory=dict)

    @property
    def sops(self) -> int:
        """Additions of all layers that see spikes."""
        return round(sum(count.sops for count in self.layers.values() if not count.is_dense))

    @property
    def first_macs(self) -> int:
        """Multiply-accumulates of the first layer, and of any other that sees numbers instead of spikes."""
        return sum(count.macs for count in self.layers.values() if count.is_dense)

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates of all layers, as if nothing were a spike."""
        return sum(count.macs for count in self.layers.values())


class SpikeMeter:
    """Watches a network's layers through forward hooks; `read` gives what flowed since the last read."""

    def __init__(self, network: nn.Module) -> None:
        self._reading = Reading()
        self._reach: dict[tuple[str, torch.Size], Tensor] = {}
        counters: list[tuple[Any, Any]] = [
            ((CurrentConvolution, CurrentLinear), self._current_layer),
            ((nn.Conv1d, nn.Conv2d), self._convolution),
            (nn.Linear, self._linear),
            (CurrentProduct, self._current_product),
            (KeyValueProduct, self._key_value_product),
            (SpikingProduct, self._product),
            (SpikeProduct, self._spike_product),
            (SpikeSum, self._sum),
            (LIF, self._spikes),
        ]
        self._hooks = []
        for name, module in network.named_modules():
            count = next((count for kind, count in counters if isinstance(module, kind)), None)
            if count is not None:
                self._hooks.append(module.register_forward_hook(self._hook(name, count)))

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

    def _add(self, name: str, sops: Tensor, macs: int, *, is_dense: bool = False) -> None:
        is_first = not self._reading.layers
        layer = self._reading.layers.setdefault(name, LayerCount(is_dense=is_dense or is_first))
        layer.sops += 0.0 if sops.is_meta else sops.item()  # a network without data still tells its dense counts
        layer.macs += macs

    def _convolution(self, name: str, module: _Convolution, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0].detach()
        fan_out = module.out_channels // module.groups
        kernel = module.weight[0, 0].numel()
        macs = output.numel() * kernel * module.in_channels // module.groups
        if x.is_meta or (kernel == 1 and set(module.stride) == {1}):
            return self._add(name, x.sum() * fan_out, macs)
        reach = self._reach_of(name, module, x)
        return self._add(name, (x.sum(dim=(0, 1)) * reach).sum() * fan_out, macs)

    def _reach_of(self, name: str, module: _Convolution, x: Tensor) -> Tensor:
        """How many output places each input place feeds, shape of one map: borders feed fewer."""
        key = (name, x.shape[2:])
        if key not in self._reach:
            convolve = nn.functional.conv2d if isinstance(module, nn.Conv2d) else nn.functional.conv1d
            with torch.inference_mode(mode=False), torch.enable_grad():
                place = torch.zeros(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device, requires_grad=True)
                kernel = torch.ones(1, 1, *module.kernel_size, dtype=x.dtype, device=x.device)
                convolve(place, kernel, stride=module.stride, padding=module.padding).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            assert place.grad is not None
            self._reach[key] = place.grad[0, 0]
        return self._reach[key]

    def _linear(self, name: str, module: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0]
        self._add(name, x.sum() * module.out_features, output.numel() * module.in_features)

    def _product(self, name: str, _: SpikingProduct, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        q, k, v = (x.detach() for x in inputs)  # (T, B, n_heads, N, D)
        N, D = q.shape[-2:]
        sops = _query_key_first(q, k, v) if N <= D else _key_value_first(q, k, v)
        self._add(name, sops, 2 * output.numel() * N)

    def _current_layer(self, name: str, module: CurrentConvolution | CurrentLinear, _: tuple[Tensor], output: Tensor) -> None:
        self._add(name, torch.zeros(()), output.numel() * module.weight[0].numel(), is_dense=True)

    def _current_product(self, name: str, _: CurrentProduct, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        current, s = inputs  # (..., I, K), (..., K, J): each spike adds a column of I
        self._add(name, s.sum() * current.shape[-2], output.numel() * s.shape[-2])

    def _key_value_product(self, name: str, _: KeyValueProduct, inputs: tuple[Tensor, Tensor, Tensor], __: Tensor) -> None:
        q, k, v = (x.detach() for x in inputs)  # (T, B, n_heads, N, D); k and v may have one head for all
        self._add(name, _key_value_first(q, k, v), (k.numel() + q.numel()) * v.shape[-1])

    def _spike_product(self, name: str, _: SpikeProduct, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        a, b = (x.detach() for x in inputs)  # (..., I, K), (..., K, J): an addition wherever both fire
        self._add(name, (a.sum(dim=-2) * b.sum(dim=-1)).sum(), output.numel() * a.shape[-1])

    def _sum(self, name: str, _: SpikeSum, inputs: tuple[Tensor], __: Tensor) -> None:
        self._add(name, inputs[0].sum(), 0)  # one addition a spike; the mask that follows is a gate and adds nothing

    def _spikes(self, name: str, _: LIF, __: tuple[Tensor, Any], output: Tensor) -> None:
        self._reading.spikes[name] = output.detach()


def _query_key_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Additions of (q k^T) v, (T, B, n_heads, N, D): matches of query and key, then a column of N for each value spike."""
    return (q.sum(dim=-2) * k.sum(dim=-2)).sum() + v.sum() * q.shape[-2]


def _key_value_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Additions of q (k^T v), (T, B, n_heads, N, D): pairs of key and value, then a row of values for each query spike."""
    return (k.sum(dim=-1) * v.sum(dim=-1)).sum() + q.sum() * v.shape[-1]

"""A network's operations, layer by layer, and the energy estimated from them by one of two published rules.

    spikformer:         E = E_AC * SOPs + E_MAC * MACs of layers that see numbers    (Spikformer; QKFormer appendix 6.6)
    spikingresformer:   E = E_AC * SOPs, first layer and classifier left out         (released code of SpikingResformer)

One synaptic operation is one addition. They are counted, not estimated: the papers of the first rule take firing rate times
dense multiply-accumulates, which also charges what spikes at the border of a map would feed beyond it. The first layer sees
event counts, not spikes; so do heads on means and currents see numbers. Constants of 45 nm CMOS (Horowitz 2014).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from models.neuron import LIF
from models.operations import Counter, Operations, counter_of
from pipeline.schema.errors import ConfigurationError

Rule = Literal["spikformer", "spikingresformer"]
RULES: tuple[Rule, ...] = ("spikformer", "spikingresformer")

# Energy of one accumulate and one multiply-accumulate, picojoule, 45 nm CMOS.
E_AC_PJ = 0.9
E_MAC_PJ = 4.6
_PJ_PER_UJ = 1e6

# What a network calls its classifiers: the first part of their names begins so.
_HEAD = "head"


def energy_uj(sops: int, macs: int) -> float:
    """Estimated energy in microjoules of `sops` additions and `macs` multiply-accumulates."""
    return (E_AC_PJ * sops + E_MAC_PJ * macs) / _PJ_PER_UJ


def layer_energy_uj(name: str, layer: Operations, rule: Rule = "spikformer") -> float:
    """Estimated energy in microjoules of the layer called `name`; 0 where the rule leaves it out."""
    if rule not in RULES:
        raise ConfigurationError(f"no energy rule called {rule!r}; there are: {', '.join(RULES)}")
    if rule == "spikformer":
        return energy_uj(0, layer.macs) if layer.is_dense else energy_uj(layer.sops, 0)
    return 0.0 if layer.is_dense or name.startswith(_HEAD) else energy_uj(layer.sops, 0)


@dataclass(slots=True)
class Reading:
    """What one run cost: operations by layer, and the spikes of every LIF layer, (T, B, ...), by name."""

    layers: dict[str, Operations] = field(default_factory=dict)
    spikes: dict[str, Tensor] = field(default_factory=dict)

    @property
    def sops(self) -> int:
        """Additions of all layers that see spikes."""
        return sum(layer.sops for layer in self.layers.values() if not layer.is_dense)

    @property
    def first_macs(self) -> int:
        """Multiply-accumulates of the first layer, and of any other that sees numbers instead of spikes."""
        return sum(layer.macs for layer in self.layers.values() if layer.is_dense)

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates of all layers, as if nothing were a spike."""
        return sum(layer.macs for layer in self.layers.values())

    def energy_uj(self, rule: Rule = "spikformer") -> float:
        """Estimated energy of all layers in microjoules."""
        return sum(layer_energy_uj(name, layer, rule) for name, layer in self.layers.items())

    def add(self, layers: Mapping[str, Operations]) -> None:
        """Take in the operations of another run of the same network; spikes are left as they are."""
        for name, layer in layers.items():
            self.layers.setdefault(name, Operations()).add(layer)


class SpikeMeter:
    """Watches a network's layers through forward hooks; `read` gives what flowed since the last read.

    Knows no network: a layer with a method `operations` says itself what it cost (`models.operations`).
    """

    def __init__(self, network: nn.Module) -> None:
        self._reading = Reading()
        self._hooks = []
        for name, module in network.named_modules():
            if isinstance(module, LIF):
                self._hooks.append(module.register_forward_hook(self._spikes_of(name)))
            elif (counter := counter_of(module)) is not None:
                self._hooks.append(module.register_forward_hook(self._operations_of(name, counter)))

    def close(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def read(self) -> Reading:
        """Everything counted since the last read."""
        reading, self._reading = self._reading, Reading()
        return reading

    def _operations_of(self, name: str, counter: Counter) -> Any:
        def count(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            operations = counter(inputs, output)
            if not self._reading.layers:
                operations.is_dense = True  # the first layer sees event counts
            self._reading.add({name: operations})

        return count

    def _spikes_of(self, name: str) -> Any:
        def keep(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
            self._reading.spikes[name] = output.detach()

        return keep

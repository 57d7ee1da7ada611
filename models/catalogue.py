"""What `saccade zoo` lists: each network at its event-camera size, and every published one; counted, not quoted."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoint import SHIPPED, read_info
from models.energy import SpikeMeter
from models.neuron import LIF, Memory
from models.operations import Operations
from models.published import PUBLISHED
from models.registry import NETWORKS, create_network

# The configuration whose counts the papers print, for 11 gestures; what is not named here is its default.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "spikformer": {"size": (128, 128)},
    "tim": {"size": (64, 64)},
    "qkformer": {"size": (128, 128), "mlp_ratio": 1},
    "spikingresformer": {"size": (64, 64)},
    "sdt": {"size": (128, 128), "pools": "0111"},
    "bestformer": {"size": (128, 128), "n_time_bins": 4},
}

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True, slots=True)
class NetworkCount:
    """Size and dense cost of one time bin of one network: the first layer, all others, and the products of attention."""

    title: str
    params: int
    first_macs: int
    layer_macs: int
    product_macs: int

    @property
    def macs_per_bin(self) -> int:
        """All multiply-accumulates of a bin."""
        return self.first_macs + self.layer_macs + self.product_macs

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One line of the zoo. `sops` per bin is measured with the shipped checkpoint of this network, None where there is none."""

    name: str
    params: int
    macs_per_bin: int
    sops: float | None
    paper: str
    verified_by: str

    def as_json(self) -> dict[str, Any]:
        """The fields of design 4, and the counts of every published configuration."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"published": [count.as_json() for count in published_counts(self.name)]}


def catalogue() -> list[CatalogueEntry]:
    """Every network of the registry."""
    return [_entry(name) for name in NETWORKS]


def published_counts(name: str) -> list[NetworkCount]:
    """Counts of every published configuration of network `name`."""
    return [count_network(p.title, name, **p.settings) for p in PUBLISHED if p.network == name]


def count_network(title: str, name: str, **settings: Any) -> NetworkCount:
    """Counts of network `name` with `settings`, from its shapes alone: neither weights nor activations are computed."""
    network, by_name = _without_data(name, settings)
    layers = list(by_name.values())
    first, products = layers[0].macs, sum(layer.macs for layer in layers if layer.is_product)
    return NetworkCount(
        title=title,
        params=sum(p.numel() for p in network.parameters()),
        first_macs=first,
        layer_macs=sum(layer.macs for layer in layers) - first - products,
        product_macs=products,
    )


def spiking_macs(name: str, **settings: Any) -> int:
    """Multiply-accumulates of one bin of the layers that see spikes: as many additions, were every input one spike."""
    _, layers = _without_data(name, settings)
    return sum(layer.macs for layer in layers.values() if not layer.is_dense)


def _without_data(name: str, settings: dict[str, Any]) -> tuple[nn.Module, dict[str, Operations]]:
    """The network on the meta device, and the operations of one of its bins."""
    with torch.device("meta"):
        network = create_network(name, **settings).eval()
    for module in network.modules():
        if isinstance(module, (LIF, nn.BatchNorm1d, nn.BatchNorm2d)):
            module.forward = _pass  # type: ignore[method-assign, assignment]  # they keep shapes, and their arithmetic counts nothing
    return network, _layers_of_a_bin(network)


def _pass(x: Tensor, _: Memory | None = None) -> Tensor:
    return x


def _layers_of_a_bin(network: nn.Module) -> dict[str, Operations]:
    """Operations of one bin by layer: of the second where the first passes a layer by, as it does TIM."""
    configuration: Any = network.configuration
    width, height = configuration.size
    x = torch.zeros(1, configuration.in_channels, height, width, device="meta")
    meter = SpikeMeter(network)
    with torch.inference_mode():
        _, state = network.step(x)  # type: ignore[operator]  # every network of the zoo has step
        reading = meter.read()
        if any(isinstance(layer, _WEIGHTED) and name not in reading.layers for name, layer in network.named_modules()):
            network.step(x, state)  # type: ignore[operator]
            reading = meter.read()
    meter.close()
    return reading.layers


def _entry(name: str) -> CatalogueEntry:
    count = count_network(name, name, **_PUBLISHED.get(name, {}))
    return CatalogueEntry(
        name=name,
        params=count.params,
        macs_per_bin=count.macs_per_bin,
        sops=_shipped_sops(name),
        paper=NETWORKS[name].paper,
        verified_by=NETWORKS[name].verified_by,
    )


def _shipped_sops(name: str) -> float | None:
    for path in sorted(SHIPPED.glob("*.safetensors")):
        info = read_info(path)
        if info.network == name:
            sops = info.scores.get("test", {}).get("sops")
            return None if sops is None else float(sops)
    return None

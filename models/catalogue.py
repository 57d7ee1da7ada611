"""What `saccade zoo` lists: each network at its published event-camera size, counted, not quoted."""

from dataclasses import dataclass
from typing import Any

import torch

from models.checkpoint import SHIPPED, read_info
from models.energy import SpikeMeter
from models.registry import NETWORKS, create_network

# The configuration whose counts the papers print, for 11 gestures; what is not named here is its default.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "spikformer": {"size": (128, 128)},
    "tim": {"size": (64, 64)},
    "qkformer": {"size": (128, 128), "mlp_ratio": 1},
    "spikingresformer": {"size": (64, 64)},
    "sdt": {"size": (128, 128), "pools": "0111"},
}


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
        """The fields of design 4."""
        return {name: getattr(self, name) for name in self.__slots__}


def catalogue() -> list[CatalogueEntry]:
    """Every network of the registry, counted on one bin of zeros (dense counts do not depend on the input)."""
    return [_entry(name) for name in NETWORKS]


def _entry(name: str) -> CatalogueEntry:
    network = create_network(name, **_PUBLISHED.get(name, {})).eval()
    width, height = network.configuration.size  # type: ignore[misc]  # every network of the zoo has one
    meter = SpikeMeter(network)
    with torch.inference_mode():
        # two bins: the first passes TIM by; the second is what every later bin costs
        _, state = network.step(torch.zeros(1, 2, height, width))  # type: ignore[operator]
        meter.read()
        network.step(torch.zeros(1, 2, height, width), state)  # type: ignore[operator]
    reading = meter.read()
    meter.close()
    return CatalogueEntry(
        name=name,
        params=sum(p.numel() for p in network.parameters()),
        macs_per_bin=reading.macs,
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

"""How the released code of each network names what it stores. Nothing here reads a file or builds a network."""

from types import MappingProxyType

from models.released.autost import AUTOST
from models.released.bestformer import BESTFORMER
from models.released.family import Family
from models.released.qkformer import QKFORMER
from models.released.sdt import SDT
from models.released.semm import SEMM
from models.released.spikformer import AUTOSPIKFORMER, SPIKFORMER, TIM
from models.released.spikingresformer import SPIKINGRESFORMER
from models.released.unreleased import SAFORMER, SPIKFORMER_V2

__all__ = ["RELEASED", "Family"]

RELEASED = MappingProxyType(
    {
        "spikformer": SPIKFORMER,
        "tim": TIM,
        "qkformer": QKFORMER,
        "spikingresformer": SPIKINGRESFORMER,
        "sdt": SDT,
        "autost": AUTOST,
        "autospikformer": AUTOSPIKFORMER,
        "bestformer": BESTFORMER,
        "spikformer_v2": SPIKFORMER_V2,
        "saformer": SAFORMER,
        "semm": SEMM,
    }
)

"""Networks of which nothing was released, Spikformer V2 and SAFormer: their arrays are known by our own names alone."""

from typing import Any

from models.released.family import N_HEADS, POOLS, Family, Shapes, ratio_of, sizes_of

_V2_FIRST = "stem.stages.0.down.conv.weight"
_SA_FIRST = "stem.stages.0.conv.weight"


def _infer_v2(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _V2_FIRST)
    is_post = "blocks.0.mlp.fc1.lin.weight" in shapes  # style pre has convolutions over maps
    hidden = shapes.of(f"blocks.0.mlp.fc1.{'lin' if is_post else 'conv'}.weight")[0]
    wide, narrow, *_ = shapes.of("stem.stages.0.up.conv.weight", 2)
    return settings | {
        "depth": shapes.count("blocks"),
        "style": "post" if is_post else "pre",
        "mlp_ratio": ratio_of(hidden, settings["dim"]),
        "stem_ratio": ratio_of(wide, narrow),
    }


def _infer_saformer(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _SA_FIRST)
    hidden = shapes.of("blocks.0.mlp.fc1.lin.weight")[0]
    return settings | {
        "depth": shapes.count("blocks"),
        "n_heads": shapes.of("blocks.0.attn.beta")[0],
        "mlp_ratio": ratio_of(hidden, settings["dim"]),
    }


SPIKFORMER_V2 = Family(rules=(), infer=_infer_v2, asked={"n_heads": N_HEADS}, first=_V2_FIRST, n_time_bins=16)
SAFORMER = Family(rules=(), infer=_infer_saformer, asked={"pools": POOLS}, first=_SA_FIRST, n_time_bins=16)

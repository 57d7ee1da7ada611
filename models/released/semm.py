"""Files of SEMM, named as the fact sheet names STEP's: no code of its authors was found."""

from typing import Any

from models.released.family import Asked, Family, Rule, Shapes, sizes_of
from models.released.spikformer import STEM_RULES

_FIRST = "stem.stages.0.conv.weight"

_RULES: tuple[Rule, ...] = (
    *STEM_RULES,
    (r"block\.(\d+)\.(attn|mlp)\.([\w.]+)\.fc\.(\w+)", r"blocks.\1.\2.\3.lin.\4"),
    (r"block\.(\d+)\.(attn|mlp)\.([\w.]+)\.(conv|bn)\.(\w+)", r"blocks.\1.\2.\3.\4.\5"),
)


def _infer(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _FIRST)
    dim, value_dim = settings["dim"], shapes.of("blocks.0.attn.v.lin.weight")[0]
    hidden = shapes.of("blocks.0.mlp.fc1.lin.weight")[0]
    return settings | {
        "depth": shapes.count("blocks"),
        "n_heads": shapes.count("blocks.0.attn.q"),
        "expert_dim": shapes.of("blocks.0.attn.k.lin.weight")[0],
        "value_dim": 0 if value_dim == dim else value_dim,
        "qkv_bias": "blocks.0.attn.k.lin.bias" in shapes,
        "depthwise_bias": "blocks.0.mlp.dw.conv.bias" in shapes,
        **({"hidden": hidden} if hidden % dim else {"mlp_ratio": hidden // dim}),
    }


SEMM = Family(
    rules=_RULES,
    infer=_infer,
    asked={"pools": Asked("stem stages that halve the map: 0011 for CIFAR, 1111 for ImageNet and events", "pools=0011")},
    first=_FIRST,
    n_time_bins=4,
)

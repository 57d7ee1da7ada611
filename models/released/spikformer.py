"""Released files of Spikformer and of what stands on its layers: TIM (BrainCog) and Auto-Spikformer's supernet."""

import math
from typing import Any

from models.released.family import N_HEADS, Asked, Family, Rule, Settings, Shapes, ratio_of, sizes_of

_FIRST = "stem.stages.0.conv.weight"

STEM_RULES: tuple[Rule, ...] = (
    (r"patch_embed\.proj_(conv|bn)\.(?:bn\.)?(\w+)", r"stem.stages.0.\1.\2"),
    (r"patch_embed\.proj_(conv|bn)(\d)\.(?:bn\.)?(\w+)", r"stem.stages.\2.\1.\3"),
    (r"patch_embed\.rpe_(conv|bn)\.(?:bn\.)?(\w+)", r"stem.rpe.\1.\2"),
    (r"stem\.(\d)\.(conv|bn)\.(\w+)", r"stem.stages.\1.\2.\3"),
)

# `_linear` in the files for CIFAR, `_conv` in the others, `.fc` and `.bn` as the fact sheets call them; a `.bn` inside a `_bn`
# where the norm is one of a supernet's.
_RULES: tuple[Rule, ...] = (
    *STEM_RULES,
    (r"block\.(\d+)\.(attn|mlp)\.(q|k|v|proj|fc1|fc2)(?:_conv|_linear|\.fc)\.(\w+)", r"blocks.\1.\2.\3.lin.\4"),
    (r"block\.(\d+)\.(attn|mlp)\.(q|k|v|proj|fc1|fc2)(?:_bn|_bn\.bn|\.bn)\.(\w+)", r"blocks.\1.\2.\3.bn.\4"),
    (r"block\.(\d+)\.attn\.TIM\.interactor\.(\w+)", r"blocks.\1.attn.tim.conv.\2"),
)

_UNUSED = (r"pos_embed\w*", r"norm\.\w+", r"block\.\d+\.norm[12]\.\w+")


def _infer(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _FIRST)
    hidden = shapes.of("blocks.0.mlp.fc1.lin.weight")[0]
    has_biases = "blocks.0.attn.q.lin.bias" in shapes
    settings |= {
        "depth": shapes.count("blocks"),
        "mlp_ratio": ratio_of(hidden, settings["dim"]),
        "qkv_bias": has_biases,
        "projection_bias": "blocks.0.attn.proj.lin.bias" in shapes,
    }
    if settings["in_channels"] == 2:  # the file for events
        settings |= {"pools": "1111", "scale": 0.25}
    elif settings["in_channels"] == 3:  # those for images: CIFAR has biases of q, k and v, ImageNet none
        settings |= {"pools": "0011" if has_biases else "1111", "scale": 0.125}
    if "pos_embed" in shapes:  # never added, but as large as the map: (1, N, C)
        settings |= _square(math.prod(shapes.of("pos_embed")) // settings["dim"], settings, shapes.given)
    return settings


def _infer_tim(shapes: Shapes) -> dict[str, Any]:
    """As Spikformer's; the interaction has a channel for each token."""
    settings = _infer(shapes)
    return settings | _square(shapes.of("blocks.0.attn.tim.conv.weight")[0], settings, shapes.given)


def _square(n_tokens: int, settings: Settings, given: Settings) -> dict[str, Any]:
    """Size of the frames, if so many tokens fill a square and the pools are known."""
    side, pools = math.isqrt(n_tokens), str(given.get("pools", settings.get("pools", "")))
    pixels = side * 2 ** pools.count("1")
    return {"size": (pixels, pixels)} if side * side == n_tokens and pools else {}


def _infer_supernet(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _FIRST)
    return {
        "n_classes": settings["n_classes"],
        "in_channels": settings["in_channels"],
        "stem_dim": 8 * shapes.of(_FIRST)[0],
    }


_SCALE = Asked("factor of the attention's product: 0.25 in the file for events, 0.125 in those for images", "scale=0.25")
_POOLS = Asked("stem stages that halve the map: 1111 for events and ImageNet, 0011 for CIFAR", "pools=1111")

SPIKFORMER = Family(
    rules=_RULES,
    infer=_infer,
    asked={"n_heads": N_HEADS, "pools": _POOLS, "scale": _SCALE},
    first=_FIRST,
    n_time_bins=16,
    unused=_UNUSED,
)

TIM = Family(
    rules=_RULES,
    infer=_infer_tim,
    asked={
        "n_heads": N_HEADS,
        "mixing": Asked("the share of history, alpha (0.5 in the released script, 0.4 to 0.6 in the paper)", "mixing=0.5"),
        "thresholds": Asked(
            "`released`: all 1.0, as the released code really runs; `written`: 0.5, 0.3 and 0.5, as its calls say",
            "thresholds=released",
        ),
        "pools": _POOLS,
        "scale": _SCALE,
        "size": Asked("width x height of the frames: tokens that fill no square do not tell it", "size=64x64"),
    },
    words={
        "thresholds": {
            "released": {"attention_threshold": 1.0, "tim_in_threshold": 1.0, "tim_out_threshold": 1.0},
            "written": {"attention_threshold": 0.5, "tim_in_threshold": 0.3, "tim_out_threshold": 0.5},
        }
    },
    first=_FIRST,
    n_time_bins=10,
    # frozen constants of every neuron
    unused=(*_UNUSED, r".*\.threshold", r".*\.alpha"),
)

AUTOSPIKFORMER = Family(
    rules=_RULES,
    infer=_infer_supernet,
    asked={
        "dim": Asked("width of the subnet", "dim=240"),
        "depth": Asked("layers of the subnet, the first ones of the supernet", "depth=4"),
        "n_heads": Asked("heads of the supernet: the released code draws others and does not look at them", "n_heads=8"),
        "mlp_ratio": Asked("MLP ratio of the subnet, one or one for each layer", "mlp_ratio=[4,4,3.5,4]"),
        "v_threshold": Asked("threshold, one or one for each layer", "v_threshold=[1.0,0.8,1.2,1.0]"),
        "tau": Asked("time constant, one or one for each layer", "tau=2"),
    },
    first=_FIRST,
    n_time_bins=4,
    as_released={"pools": "0011", "threshold_scope": "fc1"},
    unused=_UNUSED,
    is_supernet=True,
)

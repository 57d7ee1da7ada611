"""Released files of AutoST: neurons that learn their leak stand before the layer they feed, but for those of q, k and v."""

from typing import Any

from models.released.family import CURRENT_RULES, N_HEADS, Asked, Family, Rule, Shapes, ratios_of, sizes_of

_FIRST = "stem.stages.0.conv.weight"
_NEURONS = {"attn.in": "attn.in_lif", "attn.out": "attn.lif", "mlp.fc1": "mlp.lif1", "mlp.fc2": "mlp.lif2"}
_RELEASED_NEURONS = {"attn.lif": "attn.in", "attn.attn_lif": "attn.out", "mlp.fc1_lif": "mlp.fc1", "mlp.fc2_lif": "mlp.fc2"}

_RULES: tuple[Rule, ...] = (
    *CURRENT_RULES,
    # as the released code says it
    (r"patch_embed\.proj_(conv|bn)\.(\w+)", r"stem.stages.0.\1.\2"),
    (r"patch_embed\.proj_lif\.w", r"stem.stages.0.lif.w"),
    (r"patch_embed\.proj_(conv|bn|lif)([12])\.(\w+)", r"stem.stages.\2.\1.\3"),
    (r"patch_embed\.proj_(conv|bn)3\.(\w+)", r"stem.last.\1.\2"),
    (r"patch_embed\.rpe_(conv|bn)\.(\w+)", r"stem.rpe.\1.\2"),
    (r"block\.(\d+)\.attn\.(q|k|v)_lif\.w", r"blocks.\1.attn.\2.lif.w"),
    (r"block\.(\d+)\.((?:attn|mlp)\.\w*lif)\.w", lambda m: f"blocks.{m[1]}.{_NEURONS[_RELEASED_NEURONS[m[2]]]}.w"),
    # as the fact sheet says it
    (r"stem\.([012])\.(conv|bn)\.(\w+)", r"stem.stages.\1.\2.\3"),
    (r"stem\.([012])\.neuron\.w", r"stem.stages.\1.lif.w"),
    (r"stem\.3\.(conv|bn)\.(\w+)", r"stem.last.\1.\2"),
    (r"block\.(\d+)\.attn\.(q|k|v)\.neuron\.w", r"blocks.\1.attn.\2.lif.w"),
    (r"block\.(\d+)\.(attn\.in|attn\.out|mlp\.fc1|mlp\.fc2)\.neuron\.w", lambda m: f"blocks.{m[1]}.{_NEURONS[m[2]]}.w"),
)


def _infer(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _FIRST)
    ratios = ratios_of(shapes, "mlp.fc1.conv.weight", settings["dim"])
    return settings | {"depth": len(ratios), "mlp_ratio": ratios}


AUTOST = Family(
    rules=_RULES,
    infer=_infer,
    asked={"n_heads": Asked(f"{N_HEADS.meaning}; one number, or one for each layer", "n_heads=[4,8,4]")},
    first=_FIRST,
    n_time_bins=4,
    as_released={"pools": "0011"},
)

"""Released files of BESTformer: one for CIFAR, one for ImageNet, of equal names and shapes."""

from typing import Any

from models.released.family import CURRENT_RULES, Asked, Family, Rule, Shapes, ratio_of, sizes_of

_FIRST = "stem.first.conv.weight"

_RULES: tuple[Rule, ...] = (
    *CURRENT_RULES,
    # as the released code says it
    (r"patch_embed\.proj_(conv|bn)\.(\w+)", r"stem.first.\1.\2"),
    (r"patch_embed\.proj(\d)_(conv|bn)\.(\w+)", lambda m: f"stem.stages.{int(m[1]) - 1}.proj.{m[2]}.{m[3]}"),
    (r"block\.(\d+)\.mlp\.mlp([12])_(conv|bn)\.(\w+)", r"blocks.\1.mlp.fc\2.\3.\4"),
    (r"head\.(\w+)", r"head_a.\1"),
    (r"head2\.(\w+)", r"head_b.\1"),
    # as the fact sheet says it
    (r"stem\.0\.(conv|bn)\.(\w+)", r"stem.first.\1.\2"),
    (r"stem\.(\d)\.(conv|bn)\.(\w+)", lambda m: f"stem.stages.{int(m[1]) - 1}.proj.{m[2]}.{m[3]}"),
    (r"block\.(\d+)\.attn\.(?:lam|lambda_attn)", r"blocks.\1.attn.lam"),
)


def _infer(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _FIRST, "head_a.weight")
    n_time_bins, _, n_heads = shapes.of("blocks.0.attn.lam", 3)[:3]
    return settings | {
        "depth": shapes.count("blocks"),
        "n_heads": n_heads,
        "n_time_bins": n_time_bins,
        "mlp_ratio": ratio_of(shapes.of("blocks.0.mlp.fc1.conv.weight")[0], settings["dim"]),
    }


BESTFORMER = Family(
    rules=_RULES,
    infer=_infer,
    asked={
        "file": Asked(
            "which released file it is of: cifar (pools 0011, map_order qk) or imagenet (1111, kv)",
            "file=cifar",
        )
    },
    words={"file": {"cifar": {"pools": "0011", "map_order": "qk"}, "imagenet": {"pools": "1111", "map_order": "kv"}}},
    first=_FIRST,
    n_time_bins=4,
)

"""Released files of QKFormer: two stages for events, three for images."""

from typing import Any

from models.released.family import N_HEADS, Family, Rule, Shapes, ratio_of, sizes_of

_FIRST = "stem.stages.0.conv.weight"
_EMBEDDINGS = {"2": "down", "3": "down2"}
# Stages of the stem tell the file.
_STEMS = {4: "event", 3: "image", 2: "cifar"}

_RULES: tuple[Rule, ...] = (
    (r"patch_embed1\.proj_(conv|bn)\.(\w+)", r"stem.stages.0.\1.\2"),
    (r"patch_embed1\.proj(\d)_(conv|bn)\.(\w+)", r"stem.stages.\1.\2.\3"),
    (r"patch_embed1\.proj_res_(conv|bn)\.(\w+)", r"stem.short.\1.\2"),
    # the first convolution between stages is `proj` in the files for events, `proj3` in the others
    (r"patch_embed([23])\.proj3?_(conv|bn)\.(\w+)", lambda m: f"{_EMBEDDINGS[m[1]]}.stages.0.{m[2]}.{m[3]}"),
    (r"patch_embed([23])\.proj4_(conv|bn)\.(\w+)", lambda m: f"{_EMBEDDINGS[m[1]]}.stages.1.{m[2]}.{m[3]}"),
    (r"patch_embed([23])\.proj_res_(conv|bn)\.(\w+)", lambda m: f"{_EMBEDDINGS[m[1]]}.short.{m[2]}.{m[3]}"),
    (r"stage(\d)\.(\d+)\.(?:tssa|ssa|attn)\.(q|k|v|proj)_conv\.(\w+)", r"stage\1.\2.attn.\3.lin.\4"),
    (r"stage(\d)\.(\d+)\.(?:tssa|ssa|attn)\.(q|k|v|proj)_bn\.(\w+)", r"stage\1.\2.attn.\3.bn.\4"),
    (r"stage(\d)\.(\d+)\.mlp\.(?:mlp|fc)(\d)_conv\.(\w+)", r"stage\1.\2.mlp.fc\3.lin.\4"),
    (r"stage(\d)\.(\d+)\.mlp\.(?:mlp|fc)(\d)_bn\.(\w+)", r"stage\1.\2.mlp.fc\3.bn.\4"),
)


def _infer(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _FIRST)
    depth = tuple(count for i in (1, 2, 3) if (count := shapes.count(f"stage{i}")))
    hidden, dim, *_ = shapes.of("stage1.0.mlp.fc1.lin.weight", 2)
    settings |= {"depth": depth, "mlp_ratio": ratio_of(hidden, dim)}
    stem = _STEMS.get(shapes.count("stem.stages"))
    return settings if stem is None else settings | {"stem": stem}


QKFORMER = Family(rules=_RULES, infer=_infer, asked={"n_heads": N_HEADS}, first=_FIRST, n_time_bins=16)

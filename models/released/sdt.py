"""Released files of Spike-driven Transformer v1."""

from typing import Any

from models.released.family import CURRENT_RULES, Asked, Family, Rule, Shapes, ratio_of, sizes_of

_FIRST = "stem.stages.0.conv.weight"
_TALKING_HEADS = "block.0.attn.talking_heads.weight"

_RULES: tuple[Rule, ...] = (
    (r"patch_embed\.proj_(conv|bn)\.(\w+)", r"stem.stages.0.\1.\2"),
    (r"patch_embed\.proj_(conv|bn)([12])\.(\w+)", r"stem.stages.\2.\1.\3"),
    (r"patch_embed\.proj_(conv|bn)3\.(\w+)", r"stem.last.\1.\2"),
    (r"patch_embed\.rpe_(conv|bn)\.(\w+)", r"stem.position.\1.\2"),
    *CURRENT_RULES,
)


def _infer(shapes: Shapes) -> dict[str, Any]:
    settings = sizes_of(shapes, _FIRST)
    hidden = shapes.of("blocks.0.mlp.fc1.conv.weight")[0]
    settings |= {"depth": shapes.count("blocks"), "mlp_ratio": ratio_of(hidden, settings["dim"])}
    if settings["in_channels"] != 2:
        settings["attention_pool"] = False  # of the file for CIFAR10-DVS alone
    if _TALKING_HEADS in shapes:  # heads times heads, built and never called
        settings["n_heads"] = shapes.of(_TALKING_HEADS)[0]
    return settings


SDT = Family(
    rules=_RULES,
    infer=_infer,
    asked={
        "n_heads": Asked("heads of the attention, 8 in the released networks of width 256", "n_heads=8"),
        "pools": Asked(
            "stem stages that halve the map: 0111 for DVS128 Gesture, 0011 for CIFAR and CIFAR10-DVS, 1111 for ImageNet",
            "pools=0111",
        ),
        "attention_pool": Asked("max-pools inside the attention: true for CIFAR10-DVS, else false", "attention_pool=false"),
    },
    first=_FIRST,
    n_time_bins=16,
    unused=(r"block\.\d+\.attn\.talking_heads\.\w+",),
)

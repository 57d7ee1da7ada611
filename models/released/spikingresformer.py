"""Released files of SpikingResformer."""

import re
from typing import Any

from models.released.family import Asked, Family, Rule, Shapes, ratio_of

_FIRST = "prologue.conv.weight"
_STAGES = range(3)

_ATTENTION = {
    "firing_rate_x": "f_x",
    "firing_rate_attn": "f_attn",
    "activation_in": "in_lif",
    "activation_attn": "attn_lif",
    "activation_out": "out_lif",
    "W": "dst.conv",
    "norm": "dst",
    "Wproj": "proj.conv",
    "norm_proj": "proj",
}
_DOWN = {"conv": "proj.conv", "norm": "proj", "activation": "lif"}
# Neuron, convolution and norm stand in a list, that of the group's convolution in a list of one.
_FEED_FORWARD = {"up": "up", "conv.0": "group", "down": "down"}


def _place(match: re.Match[str]) -> tuple[str, int]:
    """Our stage, and where in it: -1 is the downsampling that all but the first begin with, then attention and feed-forward."""
    stage, i = int(match[1]), int(match[2])
    return f"stages.{stage}", i - int(stage > 0)


def _attention_or_down(match: re.Match[str]) -> str:
    stage, i = _place(match)
    if i < 0:
        return f"{stage}.down.{_DOWN.get(match[3], match[3])}{match[4]}"
    return f"{stage}.blocks.{i // 2}.attn.{_ATTENTION.get(match[3], match[3])}{match[4]}"


def _feed_forward(match: re.Match[str]) -> str:
    stage, i = _place(match)
    layer = _FEED_FORWARD[match[3]]
    part = {"0": f"{layer}_lif", "1": f"{layer}.conv", "2": layer}[match[4]]
    return f"{stage}.blocks.{i // 2}.mlp.{part}{match[5]}"


_RULES: tuple[Rule, ...] = (
    (r"prologue\.0\.(\w+)", r"prologue.conv.\1"),
    (r"prologue\.1\.(?:bn\.)?(\w+)", r"prologue.bn.\1"),
    (r"layers\.(\d)\.(\d+)\.(up|down|conv\.0)\.([012])((?:\.\w+)+)", _feed_forward),
    (r"layers\.(\d)\.(\d+)\.(\w+)((?:\.\w+)*)", _attention_or_down),
    (r"classifier\.(\w+)", r"head.\1"),
)


def _infer(shapes: Shapes) -> dict[str, Any]:
    first = [f"stages.{i}.blocks.0" for i in _STAGES]
    dim = tuple(shapes.of(f"{block}.attn.proj.conv.weight")[0] for block in first)
    columns, kernel = shapes.of(_FIRST, 3)[1:3]
    settings = {
        "dim": dim,
        "depth": tuple(shapes.count(f"stages.{i}.blocks") for i in _STAGES),
        "n_heads": tuple(shapes.of(f"{block}.attn.f_x", 3)[2] for block in first),
        "patch": tuple(shapes.of(f"{block}.attn.dst.conv.weight", 3)[2] for block in first),
        "mlp_ratio": ratio_of(shapes.of(f"{first[0]}.mlp.up.conv.weight")[0], dim[0]),
        "group_size": shapes.of(f"{first[0]}.mlp.group.conv.weight", 2)[1],
        "n_classes": shapes.of("head.weight")[0],
        "prologue": "image" if kernel == 7 else "plain",
    }
    learns_leak = f"{first[0]}.attn.in_lif.w" in shapes
    settings["neuron"] = "plif" if learns_leak else "lif"
    if shapes.given.get("in_channels") == columns:  # said to bring all channels along
        settings["sum_channel"] = False
    elif learns_leak and columns == 3:  # of the gesture network alone
        settings["sum_channel"] = True
    has_sum = shapes.given.get("sum_channel", settings.get("sum_channel", False))
    return settings | {"in_channels": columns - 1 if has_sum is True else columns}


SPIKINGRESFORMER = Family(
    rules=_RULES,
    infer=_infer,
    asked={
        "sum_channel": Asked(
            "true: the third channel is the sum of the two polarities (events); false: the channels are those of an image",
            "sum_channel=true",
        )
    },
    first=_FIRST,
    n_time_bins=16,
)

"""What the files of one network's released code say: how they name arrays, what their shapes tell, what must be asked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]
Settings: TypeAlias = Mapping[str, Any]
# A pattern for the whole of a released name, and our name for what it matches: a template, or what makes one.
Rule: TypeAlias = tuple[str, str | Callable[[re.Match[str]], str]]

# Batch norms as the fact sheets call their arrays, and as torch does.
_NORM_WORDS = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
_NORM = re.compile(r"(.*(?:bn|norm)\w*)\.(gamma|beta|mean|var)")
# Counted by every batch norm of torch, and looked at by none of these networks.
_UNUSED_EVERYWHERE = r".*\.num_batches_tracked"


class AnchorMissingError(LookupError):
    """The file lacks an array whose shape a setting is read from; the argument is its name."""


class Shapes:
    """Shapes of a file's arrays by our names, what never runs under its released name; `given`: settings that were typed."""

    def __init__(self, shapes: Mapping[str, Shape], given: Settings) -> None:
        self._shapes, self.given = shapes, given

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def of(self, name: str, n_axes: int = 1) -> Shape:
        """Shape of `name`, filled up with ones to `n_axes`; AnchorMissingError where the file has none."""
        if name not in self._shapes:
            raise AnchorMissingError(name)
        shape = self._shapes[name]
        return (*shape, *(1,) * (n_axes - len(shape)))

    def count(self, prefix: str) -> int:
        """How many members the list `prefix` has, 0 without any; a number that stands alone far behind is one member."""
        member = re.compile(rf"{re.escape(prefix)}\.(\d{{1,4}})\.")
        return len({match[1] for match in map(member.match, self._shapes) if match})


@dataclass(frozen=True, slots=True)
class Asked:
    """A setting that no shape tells: what it means, and how it may be typed."""

    meaning: str
    example: str


@dataclass(frozen=True, slots=True)
class Family:
    """One network's released files.

    `infer`: settings that shapes tell. `asked`: settings that differ between released
    networks of equal shapes. `as_released`: what all of them share where our own default is another. `words`: settings of one
    word that stands for several. `unused`: patterns of released names that never run. `first`: the convolution of the counts.
    `n_time_bins`: T of the released code. `is_supernet`: the file holds more than the network, which is its leading slices.
    """

    rules: tuple[Rule, ...]
    infer: Callable[[Shapes], dict[str, Any]]
    asked: Mapping[str, Asked]
    first: str
    n_time_bins: int
    as_released: Settings = field(default_factory=dict)
    words: Mapping[str, Mapping[str, Settings]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    is_supernet: bool = False

    def own_name(self, name: str) -> str | None:
        """Our name for the released `name`, or for one of our own; None for what never runs."""
        if any(re.fullmatch(pattern, name) for pattern in (_UNUSED_EVERYWHERE, *self.unused)):
            return None
        norm = _NORM.fullmatch(name)
        if norm is not None:
            name = f"{norm[1]}.{_NORM_WORDS[norm[2]]}"
        for pattern, replacement in self.rules:
            match = re.fullmatch(pattern, name)
            if match is not None:
                return match.expand(replacement) if isinstance(replacement, str) else replacement(match)
        return name


# Blocks of networks that add currents, as released codes and fact sheets name them: our convolution and norm share a place.
CURRENT_RULES: tuple[Rule, ...] = (
    (r"block\.(\d+)\.attn\.(q|k|v)(?:_conv|_linear|\.fc|\.conv)\.(\w+)", r"blocks.\1.attn.\2.proj.conv.\3"),
    (r"block\.(\d+)\.attn\.(q|k|v)[_.]bn\.(\w+)", r"blocks.\1.attn.\2.proj.bn.\3"),
    (r"block\.(\d+)\.(attn|mlp)\.(proj|fc1|fc2)(?:_conv|_linear|\.fc|\.conv)\.(\w+)", r"blocks.\1.\2.\3.conv.\4"),
    (r"block\.(\d+)\.(attn|mlp)\.(proj|fc1|fc2)[_.]bn\.(\w+)", r"blocks.\1.\2.\3.bn.\4"),
)

N_HEADS = Asked("heads of the attention; they share out the channels and leave no trace in any shape", "n_heads=8")
POOLS = Asked("which of the four stem stages halve the map, a digit each", "pools=0011")


def ratio_of(hidden: int, dim: int) -> int | float:
    """MLP ratio of a layer `hidden` channels wide, a whole number where it is one."""
    return hidden // dim if hidden % dim == 0 else hidden / dim


def ratios_of(shapes: Shapes, layer: str, dim: int) -> tuple[int | float, ...]:
    """MLP ratio of each block, of its first layer's weight, `layer` below the block."""
    return tuple(ratio_of(shapes.of(f"blocks.{i}.{layer}")[0], dim) for i in range(shapes.count("blocks")))


def sizes_of(shapes: Shapes, first: str, head: str = "head.weight") -> dict[str, Any]:
    """What every file tells: n_classes and dim of its head, in_channels of its `first` convolution."""
    n_classes, dim = shapes.of(head, 2)
    return {"n_classes": n_classes, "dim": dim, "in_channels": shapes.of(first, 2)[1]}

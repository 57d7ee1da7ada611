"""What can be built: checks that the configurations of the zoo share. Each says the setting, its value and what would fit.

Nothing here knows a network; a configuration calls what applies to it from its own `check(name)`.
"""

from typing import TypeAlias, TypeVar

from models.functional import LIFParameters
from models.surrogate import SURROGATES
from pipeline.schema.errors import ConfigurationError

# Far beyond every published network, and small enough that a mistyped number cannot ask for the whole memory.
_MOST = 4096


T = TypeVar("T")

# One value for all layers of a network, or one for each.
PerLayer: TypeAlias = T | tuple[T, ...]


def layer_values(values: PerLayer[T], depth: int) -> tuple[T, ...]:
    """One value for each of `depth` layers."""
    return values if isinstance(values, tuple) else (values,) * depth


def check_layers(name: str, dim: int, depth: int, n_heads: PerLayer[int], mlp_ratio: PerLayer[float]) -> None:
    """As many heads and ratios as layers, where they differ; `dim` divides into the heads of each layer."""
    for setting, values in {"n_heads": n_heads, "mlp_ratio": mlp_ratio}.items():
        check_length(name, depth, setting, values)
    for heads in layer_values(n_heads, depth):
        check_dim(name, dim, heads, 8)
    for ratio in layer_values(mlp_ratio, depth):
        if not 1 <= dim * ratio <= _MOST * _MOST:
            raise ConfigurationError(f"{name}: mlp_ratio {ratio} gives no number of channels for dim {dim}")


def check_length(name: str, depth: int, setting: str, values: PerLayer[T]) -> None:
    """One value, or as many as there are layers."""
    if isinstance(values, tuple) and len(values) != depth:
        raise ConfigurationError(
            f"{name}: {setting} has {len(values)} values for depth {depth}; give one, or one for each layer"
        )


def check_counts(name: str, **counts: int) -> None:
    """Each of `counts`, given by its setting's name, must lie between 1 and 4096."""
    for setting, count in counts.items():
        if not 1 <= count <= _MOST:
            raise ConfigurationError(f"{name}: {setting} {count} must lie between 1 and {_MOST}")


def check_dim(name: str, dim: int, n_heads: int, multiple: int) -> None:
    """`dim` must divide into `n_heads` heads, and into `multiple` where the stem is narrower by that factor."""
    check_counts(name, n_heads=n_heads)
    if not 1 <= dim <= _MOST or dim % multiple or dim % n_heads:
        raise ConfigurationError(
            f"{name}: dim {dim} must be a positive multiple of {multiple} and of n_heads {n_heads}, at most {_MOST}"
        )


def check_size(name: str, size: tuple[int, int]) -> None:
    """(width, height) in pixels, both 1 to 4096."""
    if min(size) < 1 or max(size) > _MOST:
        raise ConfigurationError(f"{name}: size {size} must lie between 1 and {_MOST} pixels")


def check_pools(name: str, pools: str) -> None:
    """One digit 0 or 1 for each of the four stages of a stem."""
    if len(pools) != 4 or set(pools) - {"0", "1"}:
        raise ConfigurationError(f"{name}: pools {pools!r} must be four digits 0 or 1, one for each stem stage")


def check_lif(name: str, lif: LIFParameters) -> None:
    """A neuron that leaks towards rest, with a surrogate gradient there is."""
    if not lif.tau >= 1.0 or not lif.v_threshold > 0.0 or not lif.alpha > 0.0:
        raise ConfigurationError(
            f"{name}: a neuron needs tau >= 1, v_threshold > 0 and alpha > 0, not {lif.tau}, {lif.v_threshold}, {lif.alpha}"
        )
    check_counts(name, n_levels=lif.n_levels)
    if lif.surrogate not in SURROGATES:
        raise ConfigurationError(f"{name}: no surrogate gradient {lif.surrogate!r}; there are: {', '.join(SURROGATES)}")

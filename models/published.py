"""Networks of the papers and of their released codes whose counts can be checked: names and settings, no numbers.

What is not set is the network's default. `saccade zoo` counts them and the tests hold the counts to the published ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_CIFAR: dict[str, Any] = {"in_channels": 3, "size": (32, 32)}
_IMAGENET: dict[str, Any] = {"in_channels": 3, "size": (224, 224), "n_classes": 1000}
_SPIKFORMER_CIFAR: dict[str, Any] = {**_CIFAR, "pools": "0011", "scale": 0.125, "qkv_bias": True}
_SPIKFORMER_IMAGENET: dict[str, Any] = {**_IMAGENET, "n_heads": 8, "scale": 0.125}
_TI: dict[str, Any] = {"dim": (64, 192, 384), "n_heads": (1, 3, 6), "neuron": "lif", "group_size": 64}
_S: dict[str, Any] = {**_TI, "dim": (64, 256, 512), "n_heads": (1, 4, 8)}
_M: dict[str, Any] = {**_TI, "dim": (64, 384, 768), "n_heads": (1, 6, 12)}
_L: dict[str, Any] = {**_TI, "dim": (128, 512, 1024), "n_heads": (2, 8, 16)}
_RESFORMER_IMAGENET: dict[str, Any] = {**_IMAGENET, "sum_channel": False, "prologue": "image"}
_SLICED: dict[str, Any] = {**_CIFAR, "pools": "0011", "stem_dim": 384}
_BEST_CIFAR: dict[str, Any] = {**_CIFAR, "pools": "0011", "map_order": "qk", "n_time_bins": 4, "n_heads": 8}
_EXPERTS_IMAGENET: dict[str, Any] = {"depth": 8, "qkv_bias": False, "depthwise_bias": True}


@dataclass(frozen=True, slots=True)
class Published:
    """One published network: `network` as the registry calls it, `title` as people do, and its settings."""

    network: str
    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _spikformer() -> list[Published]:
    dvs = [Published("spikformer", f"DVS 2-256, {n} classes", {"n_classes": n}) for n in (2, 10, 11, 24, 101)]
    cifar = [
        Published(
            "spikformer",
            f"CIFAR{n} {depth}-{dim}",
            {**_SPIKFORMER_CIFAR, "dim": dim, "depth": depth, "n_heads": dim // 32, "n_classes": n},
        )
        for depth, dim in ((4, 256), (2, 384), (4, 384))
        for n in (10, 100)
    ]
    imagenet = [
        Published("spikformer", f"ImageNet {depth}-{dim}", {**_SPIKFORMER_IMAGENET, "dim": dim, "depth": depth})
        for depth, dim in ((8, 384), (6, 512), (8, 512), (10, 512), (8, 768))
    ]
    return dvs + cifar + imagenet


def _tim() -> list[Published]:
    return [Published("tim", f"DVS 2-256, {n} classes", {"n_classes": n, "size": (64, 64)}) for n in (2, 10, 11, 24, 51, 101)]


def _qkformer() -> list[Published]:
    dvs = [
        Published("qkformer", f"DVS 2-256, MLP ratio {ratio}, {n} classes", {"n_classes": n, "mlp_ratio": ratio})
        for ratio in (1, 4)
        for n in (10, 11, 101)
    ]
    cifar = [
        Published(
            "qkformer",
            f"CIFAR{n} 4-384",
            {**_CIFAR, "stem": "cifar", "dim": 384, "depth": (1, 1, 2), "n_heads": 8, "mlp_ratio": 4, "n_classes": n},
        )
        for n in (10, 100)
    ]
    imagenet = [
        Published(
            "qkformer",
            f"ImageNet 10-{dim}",
            {**_IMAGENET, "stem": "image", "dim": dim, "depth": (1, 2, 7), "n_heads": n_heads, "mlp_ratio": 4},
        )
        for dim, n_heads in ((384, 6), (512, 8), (768, 12))
    ]
    return dvs + cifar + imagenet


def _spikingresformer() -> list[Published]:
    gesture = [Published("spikingresformer", f"DVS gesture, {n} classes", {"n_classes": n}) for n in (10, 11, 101)]
    star = [Published("spikingresformer", f"DVS Ti*, {n} classes", {**_TI, "n_classes": n}) for n in (11, 101)]
    transfer = [
        Published(
            "spikingresformer", f"transfer S, {n} classes", {**_S, "n_classes": n, "size": (128, 128), "prologue": "image"}
        )
        for n in (10, 11, 100)
    ]
    cifar = [
        Published("spikingresformer", f"CIFAR{n} Ti*", {**_TI, **_CIFAR, "sum_channel": False, "n_classes": n})
        for n in (10, 100)
    ]
    imagenet = [
        Published("spikingresformer", f"ImageNet {size}", {**settings, **_RESFORMER_IMAGENET})
        for size, settings in {"Ti": _TI, "S": _S, "M": _M, "L": _L}.items()
    ]
    return gesture + star + transfer + cifar + imagenet


def _sdt() -> list[Published]:
    gesture = [Published("sdt", f"DVS 2-256, {n} classes", {"n_classes": n}) for n in (10, 11, 101)]
    cifar10dvs = Published(
        "sdt", "CIFAR10-DVS 2-256", {"n_classes": 10, "size": (64, 64), "pools": "0011", "attention_pool": True}
    )
    cifar = [Published("sdt", f"CIFAR{n} 2-512", {**_CIFAR, "dim": 512, "pools": "0011", "n_classes": n}) for n in (10, 100)]
    imagenet = [
        Published("sdt", f"ImageNet {depth}-{dim}", {**_IMAGENET, "dim": dim, "depth": depth, "pools": "1111"})
        for depth, dim in ((8, 384), (6, 512), (8, 512), (10, 512), (8, 768))
    ]
    return [*gesture, cifar10dvs, *cifar, *imagenet]


def _autospikformer() -> list[Published]:
    subnets: dict[str, dict[str, Any]] = {
        "CIFAR10 Spikformer": {"dim": 384, "depth": 4, "n_heads": 12, "n_classes": 10},
        "CIFAR10 small_1": {
            "dim": 240,
            "depth": 4,
            "mlp_ratio": (4, 4, 3.5, 4),
            "n_heads": (12, 12, 6, 6),
            "n_classes": 10,
        },
        "CIFAR10 more_layer_1": {
            "dim": 384,
            "depth": 5,
            "mlp_ratio": (3.5, 4, 3.5, 3.5, 3.5),
            "n_heads": (12, 12, 6, 6, 6),
            "n_classes": 10,
        },
        "CIFAR100 small_1": {"dim": 240, "depth": 4, "mlp_ratio": (3.5, 3, 3.5, 3.5), "n_heads": 12, "n_classes": 100},
        "CIFAR100 small_2": {"dim": 384, "depth": 2, "mlp_ratio": (3.5, 3), "n_heads": 6, "n_classes": 100},
    }
    return [Published("autospikformer", title, {**_SLICED, **settings}) for title, settings in subnets.items()]


def _spikformer_v2() -> list[Published]:
    return [
        Published(
            "spikformer_v2", f"ImageNet {depth}-{dim}", {**_IMAGENET, "dim": dim, "depth": depth, "n_heads": 8, "stem_ratio": 4}
        )
        for depth, dim in ((8, 384), (8, 512), (16, 768))
    ]


def _semm() -> list[Published]:
    cifar = [
        Published(
            "semm", f"CIFAR{n} 4-384", {**_CIFAR, "pools": "0011", "dim": 384, "depth": 4, "expert_dim": 96, "n_classes": n}
        )
        for n in (10, 100)
    ]
    imagenet = [
        Published(
            "semm",
            f"ImageNet 8-{dim}, experts of {expert_dim}",
            {**_IMAGENET, **_EXPERTS_IMAGENET, "dim": dim, "expert_dim": expert_dim, "hidden": 16 * (dim // 3)},
        )
        for dim, expert_dim in ((384, 96), (512, 96), (512, 128))
    ]
    return [*cifar, *imagenet]


def _bestformer() -> list[Published]:
    cifar = [
        Published("bestformer", f"CIFAR{n} 4-384", {**_BEST_CIFAR, "dim": 384, "depth": 4, "n_classes": n}) for n in (10, 100)
    ]
    imagenet = Published("bestformer", "ImageNet 8-512", {**_IMAGENET, "dim": 512, "depth": 8, "n_heads": 8, "n_time_bins": 4})
    dvs = [Published("bestformer", f"DVS 2-256, {n} classes", {"n_classes": n, "n_time_bins": 4}) for n in (10, 11)]
    return [*dvs, *cifar, imagenet]


PUBLISHED: tuple[Published, ...] = (
    *_spikformer(),
    *_tim(),
    *_qkformer(),
    *_spikingresformer(),
    *_sdt(),
    Published("autost", "CIFAR10 4-384 by hand", {**_CIFAR, "dim": 384, "depth": 4, "n_classes": 10}),
    *_autospikformer(),
    *_bestformer(),
    *_spikformer_v2(),
    *_semm(),
)

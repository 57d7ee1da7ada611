"""Event-frame augmentations: pure functions of counts and a seeded generator, the same for all bins of a clip.

What is drawn for a clip depends on the generator alone. Counts stay whole numbers: they are moved, split and lost, never mixed.
Events are lost as in EventDrop (Gu et al., IJCAI 2021): at random, within an area, within a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Counts = npt.NDArray[np.uint8]

# Words of a class name that a mirror exchanges; the sense of rotation has several spellings.
_SIDES = ("left", "right")
_TURNS = (("clockwise", "counter_clockwise"), ("clockwise", "anticlockwise"), ("cw", "ccw"))
# A hot pixel fires up to so many times a bin.
_HOT_COUNTS = 3.0


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges from which each clip draws uniformly; 0 is off.

    In space: `shift` in shares of a side, `scale` as factor - 1, `rotation_deg` and `shear` (tangent) to either side, and
    `mirror`, the probability of exchanging left and right, labels included. `one_of`: only one of shift, scale, rotation, shear
    and area for each clip, as the RandomOp of published recipes.
    In time: `time_scale`, the factor - 1 by which a clip is played faster or slower; it also moves bins. `jitter`, up
    to which share of the events slips into the bin before or after, as times that are off by part of a bin make it.
    Lost: up to the share `drop` of counts, a rectangle with sides of up to `drop_area` of the picture's, a run of up to
    `drop_time` of the bins. Added: up to `noise` events a place and bin, up to `hot_pixels` places that fire all the time.
    `flip_polarity` is the probability of exchanging ON and OFF: it makes a scene that no camera sees, hence off.
    """

    shift: float = 0.08
    scale: float = 0.1
    rotation_deg: float = 8.0
    drop: float = 0.1
    shear: float = 0.0
    one_of: bool = False
    mirror: float = 0.0
    time_scale: float = 0.0
    drop_area: float = 0.0
    drop_time: float = 0.0
    noise: float = 0.0
    hot_pixels: int = 0
    flip_polarity: float = 0.0
    jitter: float = 0.0


MILD = Augmentation()
NONE = Augmentation(shift=0.0, scale=0.0, rotation_deg=0.0, drop=0.0)
# People before a camera: another distance, tempo and threshold, one side of the body for the other, a noisier sensor. Noise
# goes up to 0.8 events a second of each pixel at 2 x 2 pixels a place and bins of 25 ms, and both polarities.
PEOPLE = Augmentation(
    shift=0.1,
    scale=0.2,
    rotation_deg=10.0,
    drop=0.3,
    mirror=0.5,
    time_scale=0.25,
    drop_area=0.2,
    drop_time=0.1,
    noise=0.04,
    hot_pixels=4,
)
# What every network of the zoo is published with on DVS data, without the mirror where labels would have to follow (digits).
AUGMENTATIONS = {"none": NONE, "mild": MILD, "people": PEOPLE}


def augment(counts: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Moved, thinned and noisier copy of `counts` float32 (T, B, 2, H, W); values stay whole numbers.

    The picture is resampled at the nearest pixel, so counts are moved, never mixed; what leaves the picture is lost. Tempo and
    mirror are not done here: `resample_time` needs whole clips, `mirror` the labels.
    """
    if settings == NONE:
        return counts
    B = counts.shape[1]
    chosen = _choose(B, settings, generator)
    moved = _move(counts, _affine(B, settings, chosen, generator))
    if settings.jitter > 0.0:
        _slip(moved, settings.jitter, generator)
    if settings.drop_area > 0.0:
        _erase_area(moved, settings.drop_area * chosen["drop_area"], generator)
    if settings.drop_time > 0.0:
        _erase_time(moved, settings.drop_time, generator)
    if settings.drop > 0.0:
        _thin(moved, settings.drop, generator)
    if settings.noise > 0.0:
        _add_noise(moved, settings.noise, generator)
    if settings.hot_pixels > 0:
        _add_hot_pixels(moved, settings.hot_pixels, generator)
    if settings.flip_polarity > 0.0:
        flipped = torch.rand(B, generator=generator) < settings.flip_polarity
        moved[:, flipped] = moved[:, flipped].flip(2)
    return moved


def mirror(
    counts: Tensor, labels: Tensor, partners: Tensor, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Some clips of `counts` (T, B, 2, H, W) with left and right exchanged, and `labels` (B,) with them.

    `partners` (K,) is what each class turns into, from `mirrored_classes`; clips of a class with -1 stay as they are.
    """
    turned = (torch.rand(labels.shape[0], generator=generator) < probability) & (partners[labels] >= 0)
    mirrored = torch.where(turned.view(1, -1, 1, 1, 1), counts.flip(-1), counts)
    return mirrored, torch.where(turned, partners[labels], labels)


def mirrored_classes(classes: Sequence[str]) -> Tensor:
    """What each class turns into in a mirror, int64 (K,): itself, its partner, or -1 where `classes` lack the partner.

    A mirror exchanges left and right and turns clockwise into counter-clockwise: the right arm's clockwise circle becomes the
    left arm's counter-clockwise one.
    """
    names = [name.lower().replace("-", "_").replace(" ", "_") for name in classes]
    index = {name: i for i, name in enumerate(names)}
    return torch.tensor([index.get(_mirrored_name(name, index), -1) for name in names], dtype=torch.int64)


def _mirrored_name(name: str, known: dict[str, int]) -> str:
    """The name of the mirrored gesture: of the spellings of "counter-clockwise" the one that is known."""
    other_side = _exchanged(name, *_SIDES)
    turned = [_exchanged(other_side, one, other) for one, other in _TURNS]
    changed = [text for text in turned if text != other_side]
    return next((text for text in changed if text in known), changed[0] if changed else other_side)


def _exchanged(name: str, one: str, other: str) -> str:
    """`name` with the words `one` and `other` exchanged; words are parted by underscores."""
    marked = f"_{name}_".replace(f"_{other}_", "_*_")
    return marked.replace(f"_{one}_", f"_{other}_").replace("*", one)[1:-1]


def resample_time(counts: Counts, first: float, speed: float, n_time_bins: int, generator: torch.Generator) -> Counts:
    """(n_time_bins, 2, H, W) of a clip (n, 2, H, W) played `speed` times as fast, from `first` bins after its beginning.

    Bin i holds what happened in [first + i speed, first + (i + 1) speed): events are taken as evenly spread over their bin and
    dealt to the new bins in whole numbers, so that none is lost or counted twice; bins after the clip's end are empty.
    """
    n, (C, H, W) = counts.shape[0], counts.shape[1:]
    edges = np.minimum(first + speed * np.arange(n_time_bins + 1), n)
    whole = np.minimum(edges.astype(np.int64), n - 1)
    begin, end = int(whole[0]), int(whole[-1]) + 1
    so_far = np.zeros((end - begin + 1, C, H, W), dtype=np.float32)
    np.cumsum(counts[begin:end], axis=0, out=so_far[1:])
    part = (edges - whole).astype(np.float32)[:, None, None, None]
    at_edges = so_far[whole - begin] + part * counts[whole]
    # one draw for each place: rounding every edge by it keeps the sums
    at_edges += torch.rand((C, H, W), generator=generator).numpy()
    played: Counts = np.clip(np.diff(np.floor(at_edges), axis=0), 0, 255).astype(np.uint8)
    return played


def _draw(B: int, limit: float, generator: torch.Generator) -> Tensor:
    """(B,) numbers between -limit and limit."""
    return limit * (2.0 * torch.rand(B, generator=generator) - 1.0)


def _choose(B: int, settings: Augmentation, generator: torch.Generator) -> dict[str, Tensor]:
    """Which operations each clip undergoes, (B,) of 0 or 1 by name: all of them, or one."""
    names = ("shift", "scale", "rotation_deg", "shear", "drop_area")
    if not settings.one_of:
        return {name: torch.ones(B) for name in names}
    active = [name for name in names if getattr(settings, name) > 0.0]
    choice = torch.randint(max(1, len(active)), (B,), generator=generator)
    return {name: (choice == active.index(name)).float() if name in active else torch.zeros(B) for name in names}


def _affine(B: int, settings: Augmentation, chosen: dict[str, Tensor], generator: torch.Generator) -> Tensor:
    """Where each place of the new picture comes from in the old one, (B, 2, 3), in coordinates from -1 to 1."""
    angle = _draw(B, math.radians(settings.rotation_deg), generator) * chosen["rotation_deg"]
    zoom = torch.exp(_draw(B, math.log1p(settings.scale), generator) * chosen["scale"])
    x, y = (_draw(B, 2.0 * settings.shift, generator) * chosen["shift"] for _ in range(2))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    slope = _draw(B, settings.shear, generator) * chosen["shear"] if settings.shear else torch.zeros(B)
    rows = (torch.stack([cos, slope * cos - sin, x], 1), torch.stack([sin, slope * sin + cos, y], 1))
    return torch.stack(rows, dim=1)


def _move(counts: Tensor, theta: Tensor) -> Tensor:
    """Copy of `counts` (T, B, C, H, W) moved by `theta` (B, 2, 3), each place from the nearest one, empty from outside."""
    T, B, C, H, W = counts.shape
    grid = torch.nn.functional.affine_grid(theta, [B, 1, H, W], align_corners=False)
    x, y = (((grid[..., i] + 1.0) * side - 1.0).mul(0.5).round() for i, side in ((0, W), (1, H)))
    is_inside = (x >= 0) & (x < W) & (y >= 0) & (y < H)
    source = torch.where(is_inside, y * W + x, 0.0).to(torch.int64).view(B, H * W)
    moved = torch.empty_like(counts)
    for clip in range(B):
        moved[:, clip] = counts[:, clip].reshape(T * C, H * W).index_select(1, source[clip]).view(T, C, H, W)
    return moved.masked_fill_(~is_inside.view(1, B, 1, H, W), 0.0)


def _spans(n: int, shares: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random half-open spans (first, end) of 0 .. n, each (B,), as long as up to `shares` (B,) of n."""
    B = shares.shape[0]
    length = torch.floor(torch.rand(B, generator=generator) * (shares * n + 1.0)).clamp(max=n)
    first = torch.floor(torch.rand(B, generator=generator) * (n - length + 1.0))
    return first, first + length


def _within(n: int, first: Tensor, end: Tensor) -> Tensor:
    """Which of 0 .. n lie in each span, bool (B, n)."""
    places = torch.arange(n).view(1, n)
    return (places >= first.view(-1, 1)) & (places < end.view(-1, 1))


def _erase_area(counts: Tensor, shares: Tensor, generator: torch.Generator) -> None:
    """Empty one rectangle of each clip for all its bins."""
    H, W = counts.shape[-2:]
    rows = _within(H, *_spans(H, shares, generator))
    columns = _within(W, *_spans(W, shares, generator))
    area = rows.unsqueeze(2) & columns.unsqueeze(1)
    counts.masked_fill_(area.view(1, -1, 1, H, W), 0.0)


def _erase_time(counts: Tensor, share: float, generator: torch.Generator) -> None:
    """Empty one run of bins of each clip."""
    T, B = counts.shape[:2]
    bins = _within(T, *_spans(T, torch.full((B,), share), generator))
    counts.masked_fill_(bins.T.reshape(T, B, 1, 1, 1), 0.0)


def _thin(counts: Tensor, drop: float, generator: torch.Generator) -> None:
    """Keep between 1 - drop and all of each clip's counts.

    Thinning a count of independent events is binomial; rounding keep * n at random has its mean.
    """
    keep = 1.0 - drop * torch.rand(counts.shape[1], generator=generator)
    where = counts.nonzero(as_tuple=True)
    left = counts[where] * keep[where[1]]
    counts[where] = torch.floor(left + torch.rand(left.shape[0], generator=generator))


def _slip(counts: Tensor, most: float, generator: torch.Generator) -> None:
    """Move up to a share `most` of each clip's counts into the bin before or after, half of them either way.

    What would leave the window stays in its first or last bin.
    """
    T = counts.shape[0]
    share = most * torch.rand(counts.shape[1], generator=generator)
    bins, *place = counts.nonzero(as_tuple=True)
    n = counts[bins, *place]
    # as in _thin: rounded at random, so that the mean is right
    slipping = torch.floor(n * share[place[0]] + torch.rand(n.shape[0], generator=generator))
    earlier = torch.floor(0.5 * slipping + torch.rand(n.shape[0], generator=generator))
    for step, moved in ((-1, earlier), (1, slipping - earlier)):
        counts.index_put_((bins, *place), -moved, accumulate=True)
        counts.index_put_(((bins + step).clamp(0, T - 1), *place), moved, accumulate=True)


def _add_noise(counts: Tensor, most: float, generator: torch.Generator) -> None:
    """Add independent events, up to `most` a place and bin on average, another rate for each clip."""
    T, B = counts.shape[:2]
    n_places = counts[:, 0].numel()
    wanted = torch.poisson(most * n_places * torch.rand(B, generator=generator), generator=generator).to(torch.int64)
    clips = torch.repeat_interleave(torch.arange(B), wanted)
    places = torch.randint(n_places, (int(wanted.sum()),), generator=generator)
    bins, rest = places // (n_places // T), places % (n_places // T)
    flat = counts.view(T, B, -1)
    flat.index_put_((bins, clips, rest), torch.ones(places.shape[0]), accumulate=True)


def _add_hot_pixels(counts: Tensor, most: int, generator: torch.Generator) -> None:
    """Let up to `most` places of each clip fire in all its bins, of one polarity, at a rate of their own."""
    T, B = counts.shape[:2]
    wanted = torch.randint(most + 1, (B,), generator=generator)
    clips = torch.repeat_interleave(torch.arange(B), wanted)
    flat = counts.view(T, B, -1)
    places = torch.randint(flat.shape[2], (clips.shape[0],), generator=generator)
    rates = _HOT_COUNTS * torch.rand(clips.shape[0], generator=generator)
    fired = torch.poisson(rates.expand(T, -1), generator=generator)
    flat.index_put_((torch.arange(T).unsqueeze(1), clips, places), fired, accumulate=True)

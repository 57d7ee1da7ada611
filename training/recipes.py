"""Recipes: everything about a training but the network and the data. The named ones follow the papers' released code.

Published epochs are counted with their cool-down. What a published recipe has and ours leaves out is said beside it; window and
frame are options of the data (`--bins`, `--size`), listed in docs/training.md.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pipeline.schema.errors import UsageError
from training.augmentation import MILD, PEOPLE, Augmentation

Loss = Literal["tet", "mean"]
Steps = Literal["window", "mixed", "stream"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train: AdamW with a cosine schedule after `warmup` (share of all steps), as Spikformer's DVS recipe.

    `loss`: `tet` is the mean over bins of the cross-entropy (Deng et al., ICLR 2022, eq. 10), so that every bin learns to
    answer, plus `tet_lambda` times the squared distance of all logits from `tet_mean` (eqs. 11, 12); `mean` is the
    cross-entropy of the mean logits.
    `first_rate` is where the warm-up begins, `cooldown` the share of steps at the end that stay at `final_rate`. `clip_norm` 0
    leaves gradients as they are. `mixup` is the Beta parameter by which a batch is blended with itself reversed, in half of the
    batches of the first `mixup_until` of all steps.
    `steps`: `window` trains on windows of T bins from rest; `mixed` as well, each group of layers for a length of its own
    (Temporal flexibility, ICLR 2025; `loss` is then `mean`); `stream` on clips one after another, T bins a step, membranes
    carried on (truncated backpropagation through time), without the first `grace` bins after each change of class.
    """

    epochs: int = 30
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.06
    warmup: float = 0.1
    final_rate: float = 1e-5
    smoothing: float = 0.1
    clip_norm: float = 1.0
    loss: Loss = "tet"
    seed: int = 0
    augmentation: Augmentation = MILD
    first_rate: float = 0.0
    cooldown: float = 0.0
    tet_lambda: float = 0.0
    tet_mean: float = 1.0
    mixup: float = 0.0
    mixup_until: float = 1.0
    steps: Steps = "window"
    grace: int = 2

    def __post_init__(self) -> None:
        for name, is_fine, wanted in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch", self.batch >= 1, "at least 1"),
            ("learning_rate", self.learning_rate > 0.0, "above 0"),
            ("smoothing", 0.0 <= self.smoothing < 1.0, "0 to 1"),
            ("tet_lambda", 0.0 <= self.tet_lambda <= 1.0, "0 to 1"),
            ("mixup", self.mixup >= 0.0 and (self.mixup == 0.0 or self.steps != "stream"), "0 or more, and 0 on streams"),
            ("grace", self.grace >= 0, "0 or more"),
            (
                "loss",
                self.loss == {"mixed": "mean", "stream": "tet"}.get(self.steps, self.loss),
                "mean for mixed, tet for stream",
            ),
        ):
            if not is_fine:
                raise UsageError(f"recipe: {name} = {getattr(self, name)!r}; it must be {wanted}")


def rate_at(step: int, n_steps: int, recipe: Recipe) -> float:
    """Learning rate of `step` (from 0): linear warm-up, then a cosine down to `final_rate`, then the cool-down."""
    n_warmup = max(1, round(recipe.warmup * n_steps))
    if step < n_warmup:
        return recipe.first_rate + (recipe.learning_rate - recipe.first_rate) * (step + 1) / n_warmup
    n_falling = n_steps - n_warmup - round(recipe.cooldown * n_steps)
    share = min(1.0, (step - n_warmup) / max(1, n_falling))
    return recipe.final_rate + 0.5 * (recipe.learning_rate - recipe.final_rate) * (1.0 + math.cos(math.pi * share))


# Rows of CIFAR10-DVS and gesture in Spikformer's and QKFormer's code: a flip, then one of {nothing, shear, shift, rotate,
# erase}. Our mirror takes the labels along. Erased there is a square of up to 11 % of the area.
_RANDOM_OPERATION = Augmentation(
    shift=5 / 128, scale=0.0, rotation_deg=30.0, drop=0.0, shear=0.3, one_of=True, mirror=0.5, drop_area=0.33
)
# SpikingResformer's: roll by a third of each side (ours lets out of the picture what leaves it), rotate, erase.
_ROLL_ROTATE_ERASE = Augmentation(shift=1 / 3, scale=0.0, rotation_deg=30.0, drop=0.0, one_of=True, mirror=0.5, drop_area=1 / 3)

# spec: Spikformer's released cifar10dvs/train.py; automatic mixed precision is `--precision`
_SPIKFORMER = Recipe(
    epochs=106,
    warmup=10 / 106,
    first_rate=1e-5,
    cooldown=10 / 106,
    clip_norm=0.0,
    loss="mean",
    augmentation=_RANDOM_OPERATION,
    mixup=0.5,
    mixup_until=75 / 106,
)


def _changed(recipe: Recipe, **values: Any) -> Recipe:
    return Recipe(**{field.name: getattr(recipe, field.name) for field in fields(Recipe)} | values)


RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    # people before a camera, from few clips
    "people": Recipe(augmentation=PEOPLE),
    # things that keep their identity under small turns but not in a mirror (digits, cards), from tens or hundreds of clips;
    # close to what docs/results.md has side by side
    "few": Recipe(epochs=100, learning_rate=2e-3, loss="mean", augmentation=Augmentation(0.08, 0.12, 12.0, 0.2)),
    # one network that serves any T (Temporal flexibility, ICLR 2025; there SGD and convolutional networks)
    "mixed-time": Recipe(loss="mean", steps="mixed"),
    # for the `running` readout: every bin answers, with membranes carried from one clip to the next
    "stream": Recipe(augmentation=PEOPLE, steps="stream"),
    "spikformer-dvs": _SPIKFORMER,
    # Spikformer's paper, section on gesture: 200 epochs; the code's rate, since the printed 0.1 contradicts it
    "spikformer-gesture": _changed(_SPIKFORMER, epochs=200, warmup=10 / 200, cooldown=0.0, mixup_until=75 / 106),
    # QKFormer's released cifar10dvs/train.py and dvs128-gesture/train.py
    "qkformer-dvs": _changed(_SPIKFORMER, learning_rate=5e-3),
    "qkformer-gesture": _changed(
        _SPIKFORMER, epochs=202, warmup=10 / 202, cooldown=10 / 202, final_rate=2e-5, mixup_until=75 / 202
    ),
    # TIM's README and the defaults of its main.py: rate 5e-3 x batch / 1024, padded crop of side / 12
    "tim-dvs": Recipe(
        epochs=510,
        learning_rate=5e-3 * 16 / 1024,
        weight_decay=1e-4,
        warmup=5 / 510,
        first_rate=1e-6,
        cooldown=10 / 510,
        clip_norm=0.0,
        loss="mean",
        augmentation=Augmentation(shift=1 / 12, scale=0.0, rotation_deg=0.0, drop=0.0),
    ),
    # SpikingResformer's configs/direct_training; its moving average of the weights (EMA 0.999) is left out
    "spikingresformer-dvs": Recipe(
        epochs=300,
        batch=8,
        learning_rate=5e-4,
        weight_decay=0.05,
        warmup=3 / 300,
        first_rate=1e-5,
        smoothing=0.0,
        clip_norm=0.0,
        loss="mean",
        augmentation=_ROLL_ROTATE_ERASE,
    ),
    # Spike-driven Transformer's conf/ for CIFAR10-DVS, without augmentation but the flip
    "sdt-dvs": Recipe(
        epochs=200,
        batch=32,
        learning_rate=7.5e-3,
        weight_decay=1e-4,
        warmup=10 / 200,
        final_rate=3e-4,
        clip_norm=0.0,
        tet_lambda=0.001,
        augmentation=Augmentation(shift=0.0, scale=0.0, rotation_deg=0.0, drop=0.0, mirror=0.5),
    ),
}
RECIPES["spikingresformer-gesture"] = _changed(RECIPES["spikingresformer-dvs"], learning_rate=1e-4)


def named_recipe(name: str, **values: Any) -> Recipe:
    """The recipe called `name` with some fields changed; values of None leave the field as it is."""
    if name not in RECIPES:
        raise UsageError(f"--recipe {name}: there are {', '.join(RECIPES)}")
    return _changed(RECIPES[name], **{key: value for key, value in values.items() if value is not None})


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """Plain values of a recipe, ready for JSON."""
    return asdict(recipe)

"""Recipes say everything about a training, and the published ones what was published."""

import pytest

from pipeline.schema.errors import UsageError
from training.augmentation import MILD, PEOPLE
from training.recipes import RECIPES, Recipe, named_recipe, rate_at


def test_rate_warms_up_and_falls_to_its_end() -> None:
    recipe = Recipe(learning_rate=1.0, final_rate=0.0, warmup=0.1)
    rates = [rate_at(step, 100, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.01


def test_warm_up_begins_where_it_is_told_and_the_cool_down_stays_at_the_end() -> None:
    recipe = Recipe(learning_rate=1.0, first_rate=0.2, final_rate=0.1, warmup=0.04, cooldown=0.1)
    rates = [rate_at(step, 100, recipe) for step in range(100)]
    assert rates[:4] == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert rates[90:] == pytest.approx([0.1] * 10)
    assert rates[89] > 0.1
    # half of the way down after 43 of the 86 falling steps
    assert rates[4 + 43] == pytest.approx(0.55)


def test_qkformers_recipe_for_gesture_ends_its_cosine_after_192_of_202_epochs() -> None:
    recipe = RECIPES["qkformer-gesture"]
    rates = [rate_at(step, 202 * 10, recipe) for step in range(202 * 10)]
    assert recipe.epochs == 202
    assert max(rates) == pytest.approx(1e-3)
    assert rates[1919] > 2e-5
    assert rates[1920:] == pytest.approx([2e-5] * 100)


def test_options_change_single_things_of_a_named_recipe() -> None:
    recipe = named_recipe("tim-dvs", epochs=3, batch=None, augmentation=MILD)
    assert (recipe.epochs, recipe.batch, recipe.augmentation) == (3, 16, MILD)
    assert recipe.learning_rate == pytest.approx(7.8125e-5)
    assert named_recipe("default") == Recipe()
    assert named_recipe("people").augmentation == PEOPLE


def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="spikformer-dvs"):
        named_recipe("resnet")


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"batch": 0},
        {"learning_rate": 0.0},
        {"smoothing": 1.0},
        {"tet_lambda": 2.0},
        {"steps": "mixed", "loss": "tet"},
        {"steps": "stream", "loss": "mean"},
        {"steps": "stream", "mixup": 0.5},
        {"grace": -1},
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Recipe(**values)  # type: ignore[arg-type]

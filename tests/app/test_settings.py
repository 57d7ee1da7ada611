"""Settings as people type them."""

import pytest

from app.settings import read_settings, read_size
from pipeline.schema.errors import UsageError


def test_words_become_numbers_lists_claims_sizes_and_text() -> None:
    words = ["dim=128", "mixing=0.6", "attention_pool=true", "n_heads=4,8,4", "mlp_ratio=[3,3.5]", "size=64x48", "stem=image"]
    assert read_settings([*words, "pools=0011"]) == {
        "dim": 128,
        "mixing": 0.6,
        "attention_pool": True,
        "n_heads": [4, 8, 4],
        "mlp_ratio": [3, 3.5],
        "size": (64, 48),
        "stem": "image",
        "pools": "0011",  # digits, not the number eleven
    }


def test_later_words_beat_earlier_ones() -> None:
    assert read_settings(["dim=1", "dim=2"]) == {"dim": 2}


def test_one_number_is_the_side_of_a_square() -> None:
    assert read_settings(["size=64"]) == {"size": (64, 64)}


@pytest.mark.parametrize("word", ["dim", "size=0x4", "size=4x", "size=5000x4"])
def test_words_without_a_meaning_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        read_settings([word])


def test_size_is_width_first() -> None:
    assert read_size("346x260") == (346, 260)

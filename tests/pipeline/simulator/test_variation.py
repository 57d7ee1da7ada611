import pytest

from pipeline.schema.errors import UsageError
from pipeline.simulator.variation import EVERYTHING, Variation


def test_everything_varies_unless_told_otherwise():
    assert Variation.without([]) == EVERYTHING == Variation()


def test_named_parts_are_off_and_the_others_on():
    assert Variation.without(["texture", "noise"]) == Variation(texture=False, noise=False)


def test_unknown_part_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"'colour'.*texture.*flicker"):
        Variation.without(["colour"])

"""Address words by hand: four ways of reading a DVS128, those of a DAVIS, and both loops of the decoder."""

import numpy as np
import pytest

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize, Triggers
from pipeline.sources.aer import AddressLayout, Clock, decode, layout_of
from pipeline.sources.chips import CHIPS
from pipeline.sources.ordering import DecodeState, allocate, triggers_from

DVS128, DAVIS240 = SensorSize(128, 128), SensorSize(240, 180)


def run(
    records: list[tuple[int, int]], layout: AddressLayout, sensor: SensorSize = DVS128
) -> tuple[Events, Triggers, Clock, DecodeState]:
    words = np.array(records, dtype=">u4").reshape(-1, 2).view("<u8").reshape(-1)
    events, out = allocate(words.size)
    met = np.empty((words.size, 2), dtype=np.uint64)
    n, n_met, clock, state = decode(words, out.reshape(-1), met, (layout, sensor), Clock(), DecodeState())
    return events[:n], triggers_from(met[:n_met]), clock, state


# raw x = 10 (bits 7-1), raw y = 3 (bits 14-8), raw polarity = 1
WORD = 3 << 8 | 10 << 1 | 1


@pytest.mark.parametrize(
    ("orientation", "x", "y", "p"),
    [
        ("jaer", 117, 124, 0),  # x mirrored, y from the bottom, raw 1 is OFF
        ("inivation", 10, 124, 1),  # x as stored, y from the bottom, raw 1 is ON
        ("tonic", 3, 10, 1),  # fields change places, nothing mirrored, raw 1 is ON
        ("spikingjelly", 124, 117, 0),  # fields change places, both mirrored, raw 1 is OFF
    ],
)
def test_each_program_reads_a_dvs128_word_in_its_own_way(orientation: str, x: int, y: int, p: int) -> None:
    events = run([(WORD, 5)], layout_of("dvs128", orientation))[0]
    assert events.tolist() == [(x, y, p, 5)]


@pytest.mark.parametrize(("orientation", "x"), [(None, 229), ("jaer", 229), ("tonic", 229), ("inivation", 10)])
def test_a_davis_word_is_mirrored_in_x_for_all_but_inivation(orientation: str | None, x: int) -> None:
    # raw y = 3, raw x = 10, polarity 1: y counts from the bottom and 1 is ON for everybody
    events = run([(3 << 22 | 10 << 12 | 1 << 11, 5)], layout_of("davis240", orientation), DAVIS240)[0]
    assert events.tolist() == [(x, 176, 1, 5)]


def test_coordinates_that_are_not_mirrored_are_kept_inside_the_sensor_too() -> None:
    layout = layout_of("davis240", "inivation")
    events, _, _, state = run([(239 << 12, 1), (240 << 12, 2), (180 << 22, 3)], layout, DAVIS240)
    assert events["x"].tolist() == [239]
    assert state.n_outside == 2


def test_orientations_that_a_chip_does_not_have_are_refused_with_those_it_has() -> None:
    with pytest.raises(UsageError, match=r"jaer, inivation, tonic$"):
        layout_of("davis346", "spikingjelly")
    with pytest.raises(UsageError, match="spikingjelly"):
        layout_of("dvs128", "sideways")


@pytest.mark.parametrize("chip", CHIPS)
def test_the_corners_of_every_chip_fit_into_its_address_word(chip: str) -> None:
    layout, (width, height) = layout_of(chip), CHIPS[chip]
    far = (width - 1) << layout.x_shift | (height - 1) << layout.y_shift
    events = run([(far, 1), (0, 2)], layout, CHIPS[chip])[0]
    assert [(int(x), int(y)) for x, y in zip(events["x"], events["y"], strict=True)] == [(0, 0), (width - 1, height - 1)]


def test_sync_events_of_a_dvs128_are_rising_triggers() -> None:
    events, triggers, _, _ = run([(WORD, 5), (1 << 15, 7), (1 << 15 | 1 << 16, 8), (WORD, 9)], layout_of("dvs128"))
    assert events["t"].tolist() == [5, 9]
    assert triggers.tolist() == [(7, 0, 1)]


def test_external_inputs_of_a_davis_are_triggers_and_noise_marks_of_v2e_are_not() -> None:
    special = 1 << 10
    records = [(special | 2, 1), (special | 3, 2), (special | 4, 3), (special | 5, 4), (special | 77 << 12, 5), (0, 6)]
    events, triggers, _, _ = run(records, layout_of("davis240"), DAVIS240)
    assert events.size == 1
    assert triggers.tolist() == [(1, 0, 0), (2, 0, 1), (3, 1, 1)]


def test_triggers_are_never_before_what_was_met_before_them() -> None:
    sync = 1 << 15
    triggers = run([(WORD, 100), (sync, 90), (sync, 120), (sync, 110), (WORD, 115)], layout_of("dvs128"))[1]
    assert triggers["t"].tolist() == [100, 120, 120]


def test_triggers_turn_with_the_clock_of_the_events() -> None:
    turn, sync = 1 << 32, 1 << 15
    events, triggers, _, _ = run([(WORD, turn - 5), (sync, 3), (WORD, 4)], layout_of("dvs128"))
    assert events["t"].tolist() == [turn - 5, turn + 4]
    assert triggers["t"].tolist() == [turn + 3]


@pytest.mark.parametrize("every", [1, 100, 700, 5000])
def test_words_that_need_care_change_nothing_for_those_around_them(every: int) -> None:
    # whole chunks are converted at once unless one word in them is special, outside or late
    rng = np.random.default_rng(every)
    n = 4000
    t = np.cumsum(rng.integers(0, 9, n)) + 1_000_000
    raw_x, raw_y, p = rng.integers(0, 240, n), rng.integers(0, 180, n), rng.integers(0, 2, n)
    kind = np.where(np.arange(n) % every == every - 1, rng.integers(0, 3, n), -1)
    raw_x[kind == 1] = 300
    t[kind == 2] -= 50
    address = raw_y << 22 | raw_x << 12 | p << 11
    address[kind == 0] |= 1 << 31
    events, _, _, state = run(list(zip(address.tolist(), t.tolist(), strict=True)), layout_of("davis240"), DAVIS240)
    kept = (kind != 0) & (kind != 1)
    assert np.array_equal(events["x"], 239 - raw_x[kept])
    assert np.array_equal(events["y"], 179 - raw_y[kept])
    assert np.array_equal(events["p"], p[kept])
    assert np.array_equal(events["t"], np.maximum.accumulate(t[kept]))
    assert state.n_outside == int((kind == 1).sum())
    assert state.n_backward == int((np.maximum.accumulate(t[kept]) > t[kept]).sum())

"""Reading Prophesee recordings from the middle: from every bookmark the same events as in one go."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.schema.events import Events, SensorSize, Triggers, empty_triggers, make_events, make_triggers
from pipeline.sinks.registry import open_sink
from pipeline.sources import dat
from pipeline.sources.evt2 import Evt2Decoder
from pipeline.sources.evt3 import Evt3Decoder
from pipeline.sources.evt4 import Evt4Decoder
from pipeline.sources.evt21 import Evt21Decoder
from pipeline.sources.index import Index
from pipeline.sources.registry import open_recording

SENSOR = SensorSize(64, 24)
N = 3000


def events_across_turns(turn_us: int, seed: int) -> Events:
    """Bursts of pixels side by side, with pauses that cross turns of the clock of `turn_us`."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([0, 0, 1, 60, 4000, turn_us // 7], N, p=[0.3, 0.3, 0.2, 0.1, 0.09, 0.01])
    t = turn_us // 2 + np.cumsum(steps)
    x = rng.integers(0, 40, N) // 8 * 8 + np.arange(N) % 8
    return make_events(t, x, rng.integers(0, 24, N) * (steps > 0), np.arange(N) // 10 % 2)


def sunk(encoding: str) -> Callable[[Path, Events], Triggers]:
    def write(path: Path, events: Events) -> Triggers:
        triggers = make_triggers(events["t"][::50], np.arange(0, N, 50) % 16, np.arange(0, N, 50) // 50 % 2)
        with open_sink(path, SENSOR, encoding) as sink:
            sink.write(events)
            if sink.holds_triggers:
                sink.write_triggers(triggers)
        return triggers if encoding != "dat" else triggers[:0]

    return write


def by_hand(header: bytes, event: Callable[..., list[int]], time_high: Callable[[int], list[int]]) -> Callable[..., Triggers]:
    def write(path: Path, events: Events) -> Triggers:
        words: list[int] = []
        turn = 0
        for x, y, p, t in events.tolist():
            if t >> 34 > turn:
                turn = t >> 34
                words += [*time_high(-1), *time_high(0)]  # readers know a turn by the last and the first value
            words += [*time_high(t >> 6), *event(t, x, y, p)]
        path.write_bytes(header + struct.pack(f"<{len(words)}I", *words))
        return empty_triggers()

    return write


def high21(steps: int) -> list[int]:
    return [0, 0x8 << 28 | steps % (1 << 28)]


def high4(steps: int) -> list[int]:
    return [0xE << 28 | steps % (1 << 28)]


def evt21(t: int, x: int, y: int, p: int) -> list[int]:
    return [1, p << 28 | (t & 63) << 22 | x << 11 | y]


def evt4(t: int, x: int, y: int, p: int) -> list[int]:
    return [(0xC + p) << 28 | (t & 63) << 22 | x << 11 | y, 1]


WRITERS = {
    "evt2": (1 << 34, sunk("evt2")),
    "evt21": (1 << 34, by_hand(b"% format EVT21;endianness=little;height=24;width=64\n% end\n", evt21, high21)),
    "evt3": (1 << 24, sunk("evt3")),
    "evt4": (1 << 34, by_hand(b"% format EVT4;height=24;width=64\n% end\n", evt4, high4)),
    "dat": (1 << 32, sunk("dat")),
}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for decoder in (Evt2Decoder, Evt3Decoder, Evt4Decoder, Evt21Decoder):
        monkeypatch.setattr(decoder, "block_bytes", 504)
    monkeypatch.setattr(dat, "BLOCK_BYTES", 512)
    monkeypatch.setattr(Index, "STEP", 900)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_span_is_the_same_slice_from_every_bookmark(tmp_path: Path, kind: str) -> None:
    turn_us, write = WRITERS[kind]
    events = events_across_turns(turn_us, seed=3)
    assert events["t"][-1] > 3 * turn_us
    triggers = write(tmp_path / "a.raw", events)
    with open_recording(tmp_path / "a.raw") as source:
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert np.array_equal(source.take_triggers(), triggers)
    with open_recording(tmp_path / "a.raw") as source:
        n_early = 0
        for start, end in spans(events["t"]):
            found = np.concatenate([np.zeros(0, events.dtype), *source.packets(start, end)])
            assert np.array_equal(found, events[(events["t"] >= start) & (events["t"] < end)])
            # triggers of the span, and perhaps some around it
            taken = source.take_triggers()
            inside = triggers[(triggers["t"] >= start) & (triggers["t"] < end)]
            assert set(inside.tolist()) <= set(taken.tolist()) <= set(triggers.tolist())
            n_early += source._begin is None
            assert source.report().is_monotonic
        # only what lies before the first bookmark is read from the front
        assert 0 < n_early < 15


def spans(t: NDArray[np.int64]) -> list[tuple[int, int]]:
    picks = [*range(0, N, 41), N - 1]
    return [(int(t[i]), int(t[min(i + 70, N - 1)])) for i in picks] + [(int(t[-1]) + 1, int(t[-1]) + 9)]

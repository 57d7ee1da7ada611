"""What RAW files of both encodings have in common: everything written comes back, and what cannot is refused."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from builders import random_events
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema.errors import UsageError
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize, Triggers, empty_triggers, make_events, make_triggers
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording

TURN = {"evt3": 1 << 24, "evt2": 1 << 34}
LONGEST_PAUSE = {"evt3": 1 << 40, "evt2": 1 << 52}
SENSOR = SensorSize(64, 24)
both = pytest.mark.parametrize("encoding", ["evt2", "evt3"])


def read(path: Path) -> tuple[Events, Triggers]:
    with open_recording(path) as source:
        packets, triggers = [], []
        for packet in source.packets():
            packets.append(packet)
            triggers.append(source.take_triggers())
        assert source.report().warnings in ((), ("header only: no events",))
        assert source.report().is_monotonic
    return np.concatenate(packets or [np.zeros(0, EVENT_DTYPE)]), np.concatenate(triggers or [empty_triggers()])


def write(path: Path, encoding: str, packets: list[Events], triggers: list[Triggers] | None = None) -> None:
    with open_sink(path, SENSOR, encoding) as sink:
        for i, packet in enumerate(packets):
            sink.write(packet)
            if triggers:
                sink.write_triggers(triggers[i])


def at(*times: int) -> Events:
    return make_events(times, [1] * len(times), [2] * len(times), [1] * len(times))


STEPS = st.one_of(
    st.just(0), st.integers(0, 70), st.integers(0, 9000), st.integers(0, 1 << 25), st.integers(0, 1 << 36), st.just(1 << 24)
)
PLACES = st.tuples(st.integers(0, 63), st.integers(0, 2), st.integers(0, 1))


@both
@settings(max_examples=60, deadline=None)
@given(
    first=st.sampled_from([0, 1, 4095, (1 << 24) - 1, 1 << 24, (1 << 34) + 5, (1 << 36) + 12_345]),
    rows=st.lists(st.tuples(STEPS, PLACES, st.booleans()), max_size=60),
    edges=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 15), st.integers(0, 1)), max_size=8),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_everything_written_comes_back(tmp_path_factory: pytest.TempPathFactory, encoding, first, rows, edges, cuts) -> None:
    path = tmp_path_factory.mktemp("raw") / "a.raw"
    t = first + np.cumsum([step for step, _, _ in rows], dtype=np.int64)
    place = np.array([place for _, place, _ in rows], dtype=np.int64).reshape(-1, 3)
    runs = np.array([is_run for _, _, is_run in rows], dtype=bool)
    # pixels side by side in one moment, which make vectors
    n_run = np.where(runs, 7, 1)
    events = make_events(
        np.repeat(t, n_run), np.repeat(place[:, 0], n_run), np.repeat(place[:, 1], n_run), np.repeat(place[:, 2], n_run)
    )
    offset = np.concatenate([np.arange(n) for n in n_run]) if len(rows) else np.zeros(0, int)
    events["x"] = np.minimum(events["x"].astype(int) + 2 * offset, 63)
    edge_t = np.array(sorted(int(t[min(i, t.size - 1)]) if t.size else 5 for i, _, _ in edges), dtype=np.int64)
    triggers = make_triggers(edge_t, [id_ for _, id_, _ in edges], [p for _, _, p in edges])
    borders = sorted({0, *(min(cut, events.size) for cut in cuts), events.size})
    with open_sink(path, SENSOR, encoding) as sink:
        sink.write_triggers(triggers[:2])
        for start, end in itertools.pairwise(borders):
            sink.write(events[start:end])
        sink.write_triggers(triggers[2:])
    back, back_triggers = read(path)
    assert np.array_equal(back, events)
    assert np.array_equal(np.sort(back_triggers), np.sort(triggers))


@both
def test_triggers_stand_between_the_events_of_their_time(tmp_path: Path, encoding: str) -> None:
    triggers = make_triggers([5, 20, 20, 35], [0, 15, 3, 7], [1, 0, 1, 0])
    # told of after the packet they belong to, as sources do
    write(tmp_path / "a.raw", encoding, [at(10, 20, 30), at(40)], [triggers[:3], triggers[3:]])
    events, back = read(tmp_path / "a.raw")
    assert events["t"].tolist() == [10, 20, 30, 40]
    assert back.tolist() == triggers.tolist()
    words = (tmp_path / "a.raw").read_bytes().split(b"% end\n")[1]
    kinds = np.frombuffer(words, "<u2") >> 12 if encoding == "evt3" else np.frombuffer(words, "<u4") >> 28
    order = [int(kind) for kind in kinds if kind in ((0x2, 0xA) if encoding == "evt3" else (0x1, 0xA))]
    cd = 0x2 if encoding == "evt3" else 0x1
    assert order == [0xA, cd, 0xA, 0xA, cd, cd, 0xA, cd]


@both
def test_late_trigger_keeps_its_time_and_disturbs_no_event(tmp_path: Path, encoding: str) -> None:
    turn = TURN[encoding]
    with open_sink(tmp_path / "a.raw", SENSOR, encoding) as sink:
        sink.write(at(turn + 100))
        sink.flush()
        sink.write_triggers(make_triggers([turn - 9000], [2], [1]))
        sink.write(at(turn + 101, turn + 9000))
        sink.flush()
        with pytest.raises(UsageError, match=r"cannot go back to .*--triggers"):
            sink.write_triggers(make_triggers([turn - 1001], [2], [1]))
    events, triggers = read(tmp_path / "a.raw")
    assert events["t"].tolist() == [turn + 100, turn + 101, turn + 9000]
    assert triggers.tolist() == [(turn - 9000, 2, 1)]


@both
def test_times_are_absolute_and_survive_any_pause_a_file_can_tell(tmp_path: Path, encoding: str) -> None:
    turn, longest = TURN[encoding], LONGEST_PAUSE[encoding]
    times = [3 * turn + 7, 4 * turn - 1, 4 * turn, 6 * turn - 3, 6 * turn + turn // 2, 9 * turn + 5, 9 * turn + longest // 8]
    write(tmp_path / "a.raw", encoding, [at(*times[:3]), at(*times[3:])])
    assert read(tmp_path / "a.raw")[0]["t"].tolist() == times


@both
def test_what_the_format_cannot_hold_is_refused_and_nothing_of_it_written(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.raw"
    with pytest.raises(UsageError, match="2049x5 pixels does not fit"):
        open_sink(path, SensorSize(2049, 5), encoding)
    with open_sink(path, SENSOR, encoding) as sink:
        sink.write(at(10))
        with pytest.raises(UsageError, match=r"below zero.*--from-zero"):
            sink.write_triggers(make_triggers([-1], [0], [1]))
        for number in (-1, 32):
            with pytest.raises(UsageError, match=r"inputs 0 to"):
                sink.write_triggers(make_triggers([10], [number], [1]))
        with pytest.raises(UsageError, match=r"--from-zero.*aedat4"):
            sink.write(at(10, LONGEST_PAUSE[encoding] + 11))
        sink.write(at(11))
    assert read(path)[0]["t"].tolist() == [10, 11]
    with open_sink(path, SENSOR, encoding) as sink, pytest.raises(UsageError, match="below zero"):
        sink.write(at(-5, 1))


@both
def test_flush_hands_over_what_waits_for_triggers(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.raw"
    with open_sink(path, SENSOR, encoding) as sink:
        for start in range(0, 500_000, 1000):
            sink.write(at(start, start + 10))
            if start == 300_000:
                # what is older than a tenth of a second no longer waits
                assert read(path)[0]["t"][-1] >= 199_000
        sink.write_triggers(make_triggers([499_500], [1], [1]))
        sink.flush()
        events, triggers = read(path)
        assert (events.size, triggers.size) == (1000, 1)
    assert read(path)[0].size == 1000


@both
def test_header_says_what_other_programs_ask_for(tmp_path: Path, encoding: str) -> None:
    write(tmp_path / "a.raw", encoding, [])
    name = encoding.upper()
    assert (tmp_path / "a.raw").read_text().splitlines() == [
        f"% evt {name[3]}.0",
        f"% format {name};height=24;width=64",
        "% geometry 64x24",
        "% camera_integrator_name Saccade",
        "% plugin_integrator_name Saccade",
        "% end",
    ]


@both
def test_bits_of_padding_in_events_do_no_harm(tmp_path: Path, encoding: str) -> None:
    events = random_events(300, seed=1)
    memory = events.view(np.uint8).reshape(-1, 16).copy()
    memory[:, 5:8] = 0xFF
    write(tmp_path / "a.raw", encoding, [memory.reshape(-1).view(EVENT_DTYPE)])
    assert read(tmp_path / "a.raw")[0].tolist() == events.tolist()


WRITER = """
import sys
import numpy as np
from pathlib import Path
from pipeline.schema.events import SensorSize, make_events
from pipeline.sinks.registry import open_sink
rng = np.random.default_rng(7)
with open_sink(Path(sys.argv[1]), SensorSize(64, 24), sys.argv[2]) as sink:
    for i in range(100_000):
        t = np.sort(rng.integers(i * 5000, (i + 1) * 5000, 2000))
        sink.write(make_events(t, np.arange(2000) % 64, rng.integers(0, 24, 2000), np.arange(2000) % 2))
        sink.flush()
        print(i + 1, flush=True)
"""


def kill_a_writer(path: Path, encoding: str, n_packets: int) -> int:
    """Write packets of 2000 events until so many were flushed, kill the process, and tell how many it said it had flushed."""
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), encoding],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as child:
        assert child.stdout is not None
        for _ in range(n_packets):
            child.stdout.readline()
        time.sleep(0.003 * (n_packets % 5))  # somewhere within a packet
        child.send_signal(signal.SIGKILL)
        return n_packets + len(child.stdout.read().split())


@pytest.mark.parametrize(("encoding", "n_packets"), [("evt2", 3), ("evt3", 4), ("evt3", 41), ("dat", 22)])
def test_killed_writer_leaves_everything_up_to_the_last_flush(tmp_path: Path, encoding: str, n_packets: int) -> None:
    n_flushed = kill_a_writer(tmp_path / "a.raw", encoding, n_packets)
    with open_recording(tmp_path / "a.raw") as source:
        events = np.concatenate(list(source.packets()))
    assert 2000 * n_flushed <= events.size <= 2000 * (n_flushed + 1)
    rng = np.random.default_rng(7)
    for i in range(n_flushed):
        t, y = np.sort(rng.integers(i * 5000, (i + 1) * 5000, 2000)), rng.integers(0, 24, 2000)
        assert np.array_equal(events["t"][2000 * i : 2000 * i + 2000], t)
        assert np.array_equal(events["y"][2000 * i : 2000 * i + 2000], y)


def test_another_program_opens_what_a_killed_writer_left(tmp_path: Path) -> None:
    faery = pytest.importorskip("faery", reason="an independent reader, installed by hand")
    n_flushed = kill_a_writer(tmp_path / "a.raw", "evt3", 12)
    assert sum(len(packet) for packet in faery.events_stream_from_file(tmp_path / "a.raw")) >= 2000 * n_flushed

import numpy as np
import pytest
from triggered import TriggeredSource

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import RecordedSource
from pipeline.sources.merge import MergedSource


def read(merged):
    """Times of events and of triggers, as they come."""
    events, triggers = [], []
    for packet in merged.packets():
        events += packet["t"].tolist()
        triggers += merged.take_triggers()["t"].tolist()
    return events, triggers + merged.take_triggers()["t"].tolist()


def test_the_twin_keeps_the_contract():
    assert isinstance(TriggeredSource([1]), RecordedSource)


@pytest.mark.parametrize("packet", [1, 2, 3, 100])
def test_events_and_triggers_come_in_the_order_of_time(packet):
    one = TriggeredSource([0, 10, 20, 60], triggers=[5, 60], packet=packet)
    other = TriggeredSource([5, 15, 16, 17, 30], triggers=[1, 99], packet=2)
    events, triggers = read(MergedSource([one, other, TriggeredSource([])]))
    assert events == [0, 5, 10, 15, 16, 17, 20, 30, 60]
    assert triggers == [1, 5, 60, 99]


def test_many_random_recordings_lose_nothing():
    rng = np.random.default_rng(1)
    lanes = [np.sort(rng.integers(0, 500, int(rng.integers(0, 80)))).tolist() for _ in range(5)]
    sources = [TriggeredSource(lane, packet=int(rng.integers(1, 9))) for lane in lanes]
    events = np.concatenate(list(MergedSource(sources).packets()))
    assert events["t"].tolist() == sorted(t for lane in lanes for t in lane)
    # every event keeps its own pixel and polarity: here the number of the event in its recording
    found = sorted(zip(events["t"].tolist(), events["x"].tolist(), strict=True))
    assert found == sorted((t, i % 32) for lane in lanes for i, t in enumerate(lane))


def test_recordings_can_be_aligned_to_begin_together():
    events, triggers = read(
        MergedSource([TriggeredSource([100, 130], triggers=[110]), TriggeredSource([5_000, 5_010, 5_020])], "start")
    )
    assert events == [0, 0, 10, 20, 30]
    assert triggers == [10]


def test_in_sequence_each_begins_a_microsecond_after_the_one_before():
    sources = [TriggeredSource([100, 130], triggers=[110]), TriggeredSource([]), TriggeredSource([5, 6, 7], triggers=[6])]
    assert read(MergedSource(sources, "sequence")) == ([100, 130, 131, 132, 133], [110, 132])


def test_a_merge_can_be_read_again():
    merged = MergedSource([TriggeredSource([100, 130]), TriggeredSource([7])], "start")
    assert read(merged) == read(merged)


def test_memory_stays_at_one_packet_of_each():
    drawn = []

    class Counting(TriggeredSource):
        def packets(self, start_us=None, end_us=None):
            for packet in super().packets(start_us, end_us):
                drawn.append(len(packet))
                yield packet

    merged = MergedSource([Counting(range(100)), Counting(range(1000, 1100))])
    packets = merged.packets()
    for _ in range(10):
        next(packets)
    assert sum(drawn) <= 20 + 2 * 2


def test_unequal_sensors_are_refused_with_the_way_out():
    with pytest.raises(UsageError, match=r"a 32x24, b 64x48.*--filter roi"):
        MergedSource([TriggeredSource([1], name="a"), TriggeredSource([2], name="b", size=SensorSize(64, 48))])


def test_the_report_names_the_recording_that_was_damaged():
    merged = MergedSource([TriggeredSource([1], name="a"), TriggeredSource([2], name="b", warnings=("cut off",))])
    list(merged.packets())
    assert merged.report().warnings == ("b: cut off",)
    assert merged.report().is_truncated
    merged.close()
    assert all(source.is_closed for source in merged._sources)

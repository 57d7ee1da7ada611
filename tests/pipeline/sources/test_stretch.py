import numpy as np
import pytest
from recording_bytes import aedat2, dvs128_address
from triggered import TriggeredSource

from pipeline.schema.errors import UsageError
from pipeline.sources.registry import open_recording
from pipeline.sources.stretch import StretchSource, find_first_us

# one event a millisecond from 7 s on
TIMES = [7_000_000 + 1000 * i for i in range(50)]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat2([(dvs128_address(i, i, 1), t) for i, t in enumerate(TIMES)]))
    with open_recording(path) as source:
        yield source


def times(source, *bounds):
    return np.concatenate([packet["t"] for packet in source.packets(*bounds)]).tolist()


def test_times_count_from_the_first_event_and_the_end_is_left_out(recording):
    assert times(StretchSource(recording, 10_000, 12_000)) == [7_010_000, 7_011_000]
    assert times(StretchSource(recording, 48_000)) == TIMES[48:]
    assert times(StretchSource(recording, 0, 1)) == TIMES[:1]
    assert find_first_us(recording) == 7_000_000


def test_a_stretch_can_be_read_again_and_in_part(recording):
    stretch = StretchSource(recording, 10_000, 20_000)
    assert times(stretch) == times(stretch) == TIMES[10:20]
    assert times(stretch, 7_015_000, 7_030_000) == TIMES[15:20]
    assert times(stretch, None, 7_012_000) == TIMES[10:12]


def test_a_stretch_without_events_is_refused_unless_the_recording_has_none(recording):
    with pytest.raises(UsageError, match="holds no event from 1 s"):
        times(StretchSource(recording, 1_000_000))
    assert list(StretchSource(TriggeredSource([]), 1_000_000).packets()) == []


@pytest.mark.parametrize("bounds", [(-1, None), (5, 5), (5, 4)])
def test_bounds_that_leave_nothing_are_refused(recording, bounds):
    with pytest.raises(UsageError, match="leave nothing"):
        StretchSource(recording, *bounds)


def test_triggers_are_those_of_the_stretch():
    source = TriggeredSource([0, 10, 20, 30], triggers=[0, 9, 10, 19, 20])
    stretch = StretchSource(source, 10, 20)
    assert times(stretch) == [10]
    assert stretch.take_triggers()["t"].tolist() == [10, 19]


def test_what_is_damaged_behind_the_stretch_goes_unsaid(tmp_path):
    path = tmp_path / "cut.aedat"
    path.write_bytes(aedat2([(dvs128_address(i % 128, 0, 1), i) for i in range(200_000)])[:-3])
    with open_recording(path) as source:
        assert sum(packet.size for packet in StretchSource(source, 0, 1000).packets()) == 1000
        assert not source.report().is_truncated

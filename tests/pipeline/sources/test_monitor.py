"""What cameras say of their own work, word by word."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.schema.events import SensorSize, make_triggers
from pipeline.sources.evt2 import Evt2Decoder
from pipeline.sources.evt3 import Evt3Decoder
from pipeline.sources.evt4 import Evt4Decoder
from pipeline.sources.evt21 import Evt21Decoder
from pipeline.sources.monitor import ASIDE, CONTINUATION, LOST_TRIGGER, START, Monitor
from pipeline.sources.ordering import DecodeState
from pipeline.sources.registry import open_recording
from pipeline.sources.words import WordDecoder

# The sensor saw 5,000 and 3,000 events, rate control passed 4,000 and 2,000; 0x19 is another message of real cameras, and what
# continues an IMU word means nothing here. 5,000 is 0x388 | 1 << 12.
EVT2 = [0xE0010014, 0xF0000000 | 5000, 0xE0010016, 0xF0000000 | 4000, 0xE0010019, 0xF0000000 | 77]
EVT2 += [0xE0010014, 0xF0C00000 | 3000, 0xF0000000 | 9, 0xE0010016, 0xF0000000 | 2000, 0xD0000000, 0xF0000000 | 66]
EVT21 = [0xE << 60 | 0x10014 << 32 | 5000, 0xE << 60 | 0x10016 << 32 | 4000, 0xE << 60 | 0x10019 << 32 | 77]
EVT21 += [0xE << 60 | 0x10014 << 32 | 3 << 22 | 3000, 0xF << 60 | 9, 0xE << 60 | 0x10016 << 32 | 2000, 0xD << 60 | 66]
EVT3 = [0xE014, 0xF388, 0xF001, 0x7000, 0xE016, 0xFFA0, 0xF000, 0xE019, 0xFC42, 0xF000, 0x7000]
EVT3 += [0xE014, 0xFBB8, 0xF000, 0x7000, 0xF009, 0xE016, 0xF7D0, 0xD000, 0xF066]
EVT4 = [0x60010014, 0x70000000 | 5000, 0x60010016, 0x70000000 | 4000, 0x60010019, 0x70000000 | 77]
EVT4 += [0x60010014, 0x70C00000 | 3000, 0x70000000 | 9, 0xFFFFFFFF, 0x60010016, 0x70000000 | 2000]
NOTE = "the sensor saw 8,000 events and its rate control passed 6,000 (75.0%)"

Case = tuple[Callable[[], WordDecoder], npt.NDArray[np.uint8], int]
CASES: list[Case] = [
    (Evt2Decoder, np.array(EVT2, dtype="<u4").view(np.uint8), 0xA0000001),
    (lambda: Evt21Decoder(is_legacy=False), np.array(EVT21, dtype="<u8").view(np.uint8), 0xA << 60),
    (Evt3Decoder, np.array(EVT3, dtype="<u2").view(np.uint8), 0xA101),
    (Evt4Decoder, np.array(EVT4, dtype="<u4").view(np.uint8), 0x90000001),
]
NAMES = ["EVT2", "EVT2.1", "EVT3", "EVT4"]


def decode(decoder: WordDecoder, data: npt.NDArray[np.uint8], block_bytes: int) -> int:
    """Go through `data` block by block; the events there were."""
    state, n_events = DecodeState(), 0
    for start in range(0, data.size, block_bytes):
        events, state = decoder.decode(data[start : start + block_bytes], SensorSize(64, 24), state)
        n_events += events.size
    return n_events


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("n_words", [1, 2, 3, 100])
def test_counts_of_the_camera_are_summed_up_however_blocks_are_cut(case: Case, n_words: int) -> None:
    create, data, _ = case
    decoder = create()
    assert decode(decoder, data, n_words * decoder.word_bytes) == 0
    assert decoder.describe() == [NOTE]
    assert decoder.take_triggers().size == 0


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_triggers_before_the_first_word_that_tells_time_are_counted(case: Case) -> None:
    create, _, trigger = case
    decoder = create()
    words = np.full(5000, trigger, dtype=f"<u{decoder.word_bytes}")
    decode(decoder, words.view(np.uint8), 1 << 18)
    assert decoder.describe() == ["5000 external triggers before the first word that tells time dropped"]
    assert decoder.take_triggers().size == 0


def monitored(words: list[tuple[int, int]], n_parts: int = 3) -> list[str]:
    """What a monitor says after (number, what) words, taken two at a time."""
    monitor = Monitor(n_parts)
    numbers, whats = zip(*words, strict=True)
    rows = make_triggers(np.array(numbers), np.full(len(words), ASIDE).astype(np.int16), np.array(whats))
    for start in range(0, len(words), 2):
        monitor.take(rows[start : start + 2])
    return monitor.describe()


def test_count_has_its_lowest_bits_first() -> None:
    # 1 + 2 * 4096 + 3 * 4096 * 4096 = 50,339,841, of which the first part alone passed
    words = [(0x14, START), (1, CONTINUATION), (2, CONTINUATION), (3, CONTINUATION), (4, CONTINUATION)]
    said = monitored([*words, (0x16, START), (1, CONTINUATION)])
    assert said == ["the sensor saw 50,339,841 events and its rate control passed 1 (0.0%)"]


def test_trigger_without_a_time_parts_no_message() -> None:
    words = [(0x14, START), (0, LOST_TRIGGER), (10, CONTINUATION), (0x16, START), (9, CONTINUATION)]
    lost = "1 external triggers before the first word that tells time dropped"
    assert monitored(words) == [lost, "the sensor saw 10 events and its rate control passed 9 (90.0%)"]


@pytest.mark.parametrize(("seen", "passed"), [(7, 7), (7, 8), (0, 0)])
def test_nothing_is_said_where_nothing_was_held_back(seen: int, passed: int) -> None:
    assert monitored([(0x14, START), (seen, CONTINUATION), (0x16, START), (passed, CONTINUATION)]) == []


def test_one_kind_of_count_alone_tells_nothing() -> None:
    assert monitored([(0x14, START), (7, CONTINUATION), (0x16, START)]) == []


def test_report_of_a_recording_says_what_its_rate_control_held_back(tmp_path: Path) -> None:
    header = b"% evt 2.0\n% format EVT2;height=24;width=32\n% end\n"
    words = np.array([0xA0000000, 0x80000001, *EVT2, 0x10000000], dtype="<u4")
    path = tmp_path / "recording.raw"
    path.write_bytes(header + words.tobytes())
    with open_recording(path) as source:
        assert [event for packet in source.packets() for event in packet.tolist()] == [(0, 0, 1, 64)]
        lost = "1 external triggers before the first word that tells time dropped"
        assert source.report().warnings == (lost, NOTE)
        assert source.report().n_triggers == 0

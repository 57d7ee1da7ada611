import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import kind_of, pack, pack_request, topic_of, unpack, unpack_reply, unpack_request
from pipeline.schema.errors import WireError
from pipeline.schema.events import EVENT_DTYPE, make_events
from pipeline.schema.messages import (
    EventsHead,
    FrameHead,
    Gap,
    Hello,
    Label,
    LabelLatency,
    Meter,
    PreviewHead,
    RasterLayer,
    Request,
    StageLatency,
    Status,
    Wish,
)

FRAME = FrameHead("cam0", 7, 100, 200, 3, 0, 3, 2, 10, 11)
COUNTS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
EVENTS = make_events([5, 6], [0, 2], [1, 0], [0, 1])
METER = Meter("cam0", 7, 100, 200, 1, 3, 30.0, 5, 6, 0.5, StageLatency(1, 2, 3, 4, 10), [RasterLayer("a", 2, 8, 0.5)])
LABEL = Label(
    seq=7,
    source="cam0",
    start_us=-5,
    end_us=5,
    host_ns=1,
    label="wave",
    index=0,
    confidence=0.9,
    top=[("wave", 0.9)],
    stable=True,
    latency_ms=LabelLatency(1, 2, 3),
    n_events=9,
    n_dropped=0,
    sops=100,
    energy_uj=0.5,
    network="tim@1",
)

MESSAGES = [
    (FRAME, COUNTS),
    (EventsHead("cam0", 1, 2, 3, 2), EVENTS),
    (PreviewHead("cam0", 1, 0, 5, 3, 2, 6, 4), COUNTS),
    (METER, np.array([1, 0], np.uint8)),
    (Gap("cam0", "frame/cam0", 4, 2, 9), None),
    (Status("cam0", "capture", "running", 5, sensor_t_us=-3), None),
    (Hello("cam0", "tim@1", ["a", "b"], 10_000, 16, "ipc:///x"), None),
    (Wish("cam0", 20_000, 8, 6), None),
    (LABEL, None),
]


def as_bytes(parts):
    return [bytes(part) for part in parts]


@pytest.mark.parametrize(("message", "array"), MESSAGES, ids=lambda value: getattr(value, "type", ""))
def test_every_message_comes_back_as_it_went(message, array):
    got, got_array = unpack(as_bytes(pack(message, array)))
    assert got == message
    assert (got_array is None) == (array is None)
    if array is not None:
        assert np.array_equal(got_array, array)
        assert got_array.dtype == array.dtype


def test_labels_are_json_that_any_program_reads():
    topic, head = as_bytes(pack(MESSAGES[-1][0]))
    assert topic == b"label/cam0"
    assert msgspec.json.decode(head)["type"] == "label"


def test_topic_prefix_is_the_kind_of_all_sources():
    assert topic_of("label") == b"label/"
    assert kind_of(b"label/cam0/left") == b"label"


def test_received_arrays_are_read_only():
    _, counts = unpack(as_bytes(pack(FRAME, COUNTS)))
    with pytest.raises(ValueError, match="read-only"):
        counts[0, 0, 0] = 1


def test_events_of_an_empty_packet_are_an_empty_array():
    _, events = unpack(as_bytes(pack(EventsHead("cam0", 1, 0, 3, 2), EVENTS[:0])))
    assert events.shape == (0,)
    assert events.dtype == EVENT_DTYPE


@pytest.mark.parametrize(("message", "array"), MESSAGES, ids=lambda value: getattr(value, "type", ""))
def test_every_truncation_is_refused(message, array):
    parts = as_bytes(pack(message, array))
    for index, part in enumerate(parts):
        for length in range(len(part)):
            with pytest.raises(WireError):
                unpack([*parts[:index], part[:length], *parts[index + 1 :]])
    for n_parts in range(len(parts)):
        with pytest.raises(WireError):
            unpack(parts[:n_parts])
    with pytest.raises(WireError):
        unpack([*parts, b""])


@given(st.sampled_from(MESSAGES), st.integers(0, 2), st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read_and_never_anything_else(pair, part_index, position, value):
    parts = [bytearray(part) for part in as_bytes(pack(*pair))]
    part = parts[part_index % len(parts)]
    part[position % len(part)] = value
    try:
        message, array = unpack(as_bytes(parts))
    except WireError:
        return
    if array is not None and message.type == "events":
        assert (array["x"] < message.width).all()


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_refused(parts):
    with pytest.raises(WireError):
        unpack(parts)


def test_a_frame_that_claims_to_be_huge_costs_nothing():
    head = msgspec.structs.replace(FRAME, width=1 << 40, height=1 << 20)
    with pytest.raises(WireError, match="pixels"):
        unpack([b"frame/cam0", msgspec.msgpack.encode(head), b"x" * 12])


def test_events_outside_the_sensor_are_refused():
    with pytest.raises(WireError, match="outside its sensor"):
        unpack(as_bytes(pack(EventsHead("cam0", 1, 2, 2, 2), EVENTS)))


def test_events_that_run_backwards_are_refused():
    with pytest.raises(WireError, match="backwards"):
        unpack(as_bytes(pack(EventsHead("cam0", 1, 2, 3, 2), EVENTS[::-1])))


def test_a_raster_holds_only_zero_and_one():
    with pytest.raises(WireError, match="raster"):
        unpack(as_bytes(pack(METER, np.array([2, 0], np.uint8))))


def test_a_raster_with_a_negative_layer_is_refused():
    layers = [RasterLayer("a", 4, 8, 0.5), RasterLayer("b", -2, 8, 0.5)]
    head = msgspec.json.encode(msgspec.structs.replace(METER, layers=layers))
    with pytest.raises(WireError, match="less than no rows"):
        unpack([b"meter/cam0", head, b"\0\0"])


@pytest.mark.parametrize("seq", [-1, 1 << 63])
def test_numbers_that_no_counter_reaches_are_refused(seq):
    head = msgspec.json.encode(msgspec.structs.replace(METER, seq=seq))
    with pytest.raises(WireError, match="seq"):
        unpack([b"meter/cam0", head, b"\0\0"])


def test_another_version_is_refused_by_name():
    head = msgspec.json.encode(msgspec.structs.replace(METER, v=2))
    with pytest.raises(WireError, match="version 2"):
        unpack([b"meter/cam0", head, b"\0\0"])


def test_a_topic_that_belies_its_head_is_refused():
    parts = as_bytes(pack(*MESSAGES[4]))
    with pytest.raises(WireError, match="does not match"):
        unpack([b"gap/other", parts[1]])


def test_endless_nesting_is_refused():
    with pytest.raises(WireError):
        unpack_request(b'{"command":"seek","x":' + b"[" * 50_000 + b"}")


def test_requests_come_back_as_they_went():
    request = Request("seek", 1.5e6)
    assert unpack_request(pack_request(request)) == request


@pytest.mark.parametrize(
    "part", [b"", b"{}", b'{"command":"fly"}', b'{"command":"seek","value":1e999}', b"\xff", b"x" * 70_000]
)
def test_damaged_requests_and_replies_are_refused(part):
    with pytest.raises(WireError):
        unpack_request(part)
    with pytest.raises(WireError):
        unpack_reply(part)

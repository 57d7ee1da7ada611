"""Typed messages to wire parts and back: `[topic, head, raw]`. Pure; knows no socket.

The topic is `kind/source`. Sizes are checked before any array is made, so a hostile message costs nothing but its own bytes.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import WireError
from pipeline.schema.events import EVENT_DTYPE
from pipeline.schema.messages import (
    SCHEMA_VERSION,
    EventsHead,
    FrameHead,
    Gap,
    Hello,
    Label,
    Meter,
    PreviewHead,
    Reply,
    Request,
    Status,
    Wish,
)

Part = bytes | memoryview
Parts = list[Part]
Message = Label | Gap | Status | Meter | Hello | FrameHead | EventsHead | PreviewHead | Wish
# The array that travels beside a head; None for messages that are a head alone.
Payload = npt.NDArray[Any] | None

# One part never exceeds this: a packet of four million events, a 4K preview.
MAX_PART_BYTES = 1 << 26
# Heads hold names, scores and layer lists; 1000 classes fit several times.
MAX_HEAD_BYTES = 1 << 16
# The largest event sensor of today is 1280 x 720; frames and previews are never larger than this on a side.
MAX_SIDE_PX = 8192
MAX_TOPIC_BYTES = 256
_INT64_MAX = (1 << 63) - 1

# Whole numbers that may be negative: sensor times, the index of "nothing", and "nothing received yet".
_SIGNED_FIELDS = frozenset({"start_us", "end_us", "sensor_t_us", "index", "after_seq", "exit_code", "first_us"})

_JSON_TYPES: dict[bytes, type[Message]] = {
    b"label": Label,
    b"gap": Gap,
    b"status": Status,
    b"meter": Meter,
    b"hello": Hello,
    b"wish": Wish,
}
_MSGPACK_TYPES: dict[bytes, type[Message]] = {b"frame": FrameHead, b"events": EventsHead, b"preview": PreviewHead}
_KINDS_WITH_ARRAY = frozenset({b"frame", b"events", b"preview", b"meter"})

_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()
_decoders: dict[bytes, msgspec.json.Decoder[Message] | msgspec.msgpack.Decoder[Message]] = {
    **{kind: msgspec.json.Decoder(cls) for kind, cls in _JSON_TYPES.items()},
    **{kind: msgspec.msgpack.Decoder(cls) for kind, cls in _MSGPACK_TYPES.items()},
}
_request_decoder = msgspec.json.Decoder(Request)
_reply_decoder = msgspec.json.Decoder(Reply)

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def topic_of(kind: str, source: str = "") -> bytes:
    """`kind/source` as bytes; with an empty source the prefix that subscribes to this kind of every source."""
    return f"{kind}/{source}".encode()


def kind_of(topic: Part) -> bytes:
    """Give the kind of a topic: what stands before its first slash."""
    return bytes(topic[:MAX_TOPIC_BYTES]).partition(b"/")[0]


def pack(message: Message, array: Payload = None) -> Parts:
    """Wire parts of a message; `array` as `unpack` describes it, and None for a message that is a head alone.

    The raw part is a view of `array` where possible: do not write to it before the message is sent.
    """
    kind = message.type.encode()
    assert (array is None) == (kind not in _KINDS_WITH_ARRAY), f"{message.type} and its array do not belong together"
    encoder = _msgpack_encoder if kind in _MSGPACK_TYPES else _json_encoder
    parts: Parts = [topic_of(message.type, message.source), encoder.encode(message)]
    if array is not None:
        assert (array.dtype, array.shape) == (_dtype_of(message), _shape_of(message)), f"wrong array for {message}"
        parts.append(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return parts


def unpack(parts: Sequence[Part]) -> tuple[Message, Payload]:
    """Read one message and its array; WireError for anything that is not exactly one message of ours.

    The array is read-only and shares the memory of its part: uint8 (2, height, width) for `frame` and `preview`,
    `EVENT_DTYPE` (n,) for `events` (inside the sensor, non-decreasing in t), uint8 (sum of n_rows,) of 0 and 1 for `meter`,
    None for the rest.
    """
    if not parts or len(parts[0]) > MAX_TOPIC_BYTES:
        raise WireError(f"message of {len(parts)} parts with no topic of ours")
    kind = kind_of(parts[0])
    decoder = _decoders.get(kind)
    if decoder is None:
        raise WireError(f"unknown kind of message: {bytes(parts[0])!r}")
    n_expected = 3 if kind in _KINDS_WITH_ARRAY else 2
    if len(parts) != n_expected:
        raise WireError(f"a {kind.decode()} message has {n_expected} parts, this one {len(parts)}")
    message = _decode(decoder, parts[1], kind.decode())
    if bytes(parts[0]) != topic_of(message.type, message.source):
        raise WireError(f"topic {bytes(parts[0])!r} does not match its head ({message.type}/{message.source})")
    return message, _read_array(message, parts[2]) if n_expected == 3 else None


def pack_request(request: Request) -> bytes:
    """One part for the control socket."""
    return _json_encoder.encode(request)


def unpack_request(part: Part) -> Request:
    """Read a request; WireError when it is none."""
    return _decode(_request_decoder, part, "request")


def pack_reply(reply: Reply) -> bytes:
    """One part for the control socket."""
    return _json_encoder.encode(reply)


def unpack_reply(part: Part) -> Reply:
    """Read a reply; WireError when it is none."""
    return _decode(_reply_decoder, part, "reply")


def _decode(decoder: msgspec.json.Decoder[_Struct] | msgspec.msgpack.Decoder[_Struct], head: Part, kind: str) -> _Struct:
    if len(head) > MAX_HEAD_BYTES:
        raise WireError(f"head of {len(head)} bytes in a {kind} message; at most {MAX_HEAD_BYTES} are allowed")
    try:
        message = decoder.decode(head)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # bad text and endless nesting are not MsgspecErrors
        raise WireError(f"damaged {kind} message: {error}") from None
    version: int = getattr(message, "v", 0)
    if version != SCHEMA_VERSION:
        raise WireError(f"{kind} message of version {version}; this program speaks version {SCHEMA_VERSION}")
    _check_numbers(message, kind)
    return message


def _check_numbers(message: msgspec.Struct, kind: str) -> None:
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if isinstance(value, int):
            lowest = -_INT64_MAX if name in _SIGNED_FIELDS else 0
            if not lowest <= value <= _INT64_MAX:
                raise WireError(f"{kind} message with {name} = {value}")


def _read_array(message: Message, raw: Part) -> npt.NDArray[Any]:
    shape, dtype = _shape_of(message), _dtype_of(message)
    n_bytes = dtype.itemsize
    for side in shape:
        n_bytes *= side
    if n_bytes != len(raw) or n_bytes > MAX_PART_BYTES:
        raise WireError(
            f"{message.type} message whose head asks for {n_bytes} bytes (shape {shape}) and that brings {len(raw)}"
        )
    array = np.frombuffer(raw, dtype=dtype).reshape(shape)
    array.flags.writeable = False
    if isinstance(message, EventsHead):
        _check_events(message, array)
    elif isinstance(message, Meter) and array.size and array.max() > 1:
        raise WireError("meter message whose raster holds values other than 0 and 1")
    return array


def _check_events(head: EventsHead, events: npt.NDArray[Any]) -> None:
    if len(events) == 0:
        return
    if events["x"].max() >= head.width or events["y"].max() >= head.height or events["p"].max() > 1:
        raise WireError(f"events message with events outside its sensor of {head.width} x {head.height} pixels")
    if np.any(events["t"][1:] < events["t"][:-1]):
        raise WireError("events message whose times run backwards")


def _shape_of(message: Message) -> tuple[int, ...]:
    if isinstance(message, FrameHead | PreviewHead):
        if not (0 < message.width <= MAX_SIDE_PX and 0 < message.height <= MAX_SIDE_PX):
            raise WireError(f"{message.type} message of {message.width} x {message.height} pixels")
        return (2, message.height, message.width)
    if isinstance(message, EventsHead):
        return (message.n,)
    assert isinstance(message, Meter), message
    if any(layer.n_rows < 0 for layer in message.layers):
        raise WireError("meter message with a layer of less than no rows")
    return (sum(layer.n_rows for layer in message.layers),)


def _dtype_of(message: Message) -> np.dtype[Any]:
    return EVENT_DTYPE if isinstance(message, EventsHead) else np.dtype(np.uint8)

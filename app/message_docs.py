"""Writes docs/messages.md from the message classes: `python -m app.message_docs`. A test holds the page to be current."""

import json
import sys
from inspect import cleandoc
from pathlib import Path

import msgspec

from pipeline.schema import messages

_PAGE = Path(__file__).parents[1] / "docs" / "messages.md"

# In the order in which a reader meets them; True where a raw part follows the head.
_JSON_HEADS = (messages.Label, messages.Gap, messages.Status, messages.Meter, messages.Hello, messages.Wish)
_MSGPACK_HEADS = (messages.FrameHead, messages.EventsHead, messages.PreviewHead)
_CONTROL = (messages.Request, messages.Reply)
_NESTED = (
    messages.LabelLatency,
    messages.StageLatency,
    messages.RasterLayer,
    messages.RecordingReport,
    messages.LessonReport,
    messages.TaughtClass,
    messages.Lesson,
)

_INTRODUCTION = f"""\
# Messages

This page is generated from `pipeline/schema/messages.py` by `python -m app.message_docs`; do not edit it by hand.
All messages carry `v`, the version of this schema (now {messages.SCHEMA_VERSION}), and `type`. A reader refuses another version
and ignores fields that it does not know.

## On the wire

A message is a list of ZeroMQ parts: `[topic, head]` or `[topic, head, raw]`. The topic is `kind/source`, so that subscribing to
`label/` gives the labels of every source. Heads of `label`, `gap`, `status`, `meter`, `hello` and `wish` are JSON; heads of
`frame`, `events` and `preview` are msgpack, with the same field names. The raw part is a C-ordered array whose shape the head
tells.

| kind | sent | raw part |
|---|---|---|
| `label` | one for every time bin | - |
| `gap` | when messages never arrived | - |
| `status` | every second by each process, and at every change of state | - |
| `hello` | to each newcomer that subscribes to `hello/`, and again when more is known | - |
| `meter` | one for every time bin, while somebody subscribes | uint8 (sum of `n_rows`,), 0 or 1 |
| `preview` | at most 30 a second, while somebody subscribes | uint8 (2, `height`, `width`), OFF first |
| `events` | while somebody subscribes | records of 16 bytes: x uint16, y uint16, p uint8, 3 bytes of padding, t int64 |
| `frame` | inside one Saccade only | uint8 (2, `height`, `width`), OFF first |
| `wish` | inside one Saccade only | - |

Ten lines of Python read the labels of a running Saccade:

```python
import json
import zmq

socket = zmq.Context().socket(zmq.SUB)
socket.connect("tcp://127.0.0.1:5556")
socket.subscribe(b"label/")
while True:
    topic, head = socket.recv_multipart()
    label = json.loads(head)
    print(label["label"], label["confidence"], label["stable"])
```

Times: `start_us`, `end_us`, `sensor_t_us` are sensor time in microseconds; `host_ns`, `closed_ns`, `sent_ns` are monotonic
nanoseconds of the sending machine, comparable on that machine only; latencies are milliseconds.

## Control

`hello` names the address of the control socket (a ROUTER). Over TCP only its port counts: take the host through which you
reached the bus. Send one JSON `Request` from a DEALER or REQ socket and receive one JSON `Reply`. `value` is, for `seek`,
microseconds after the first event of the recording; for `speed`, a factor (0 = as fast as possible); for `loop`, 1 or 0;
for `teach`, seconds of sensor time from now; for `record`, seconds of sensor time from the next event on.

`network` goes on with another checkpoint, or a file of taught classes, also where classes, time bins or frames are others. The
old network judges every bin until the new one takes over: then a `hello` comes with the new network, classes and bins, and the
next label has its `name@hash`. It begins at rest, so labels are `nothing` until it has seen enough of a window. Where a
checkpoint is refused, the old one goes on. On a GPU, or with `OMP_NUM_THREADS` above 1, the stream waits while the network is
loaded. This reply may take seconds:

```python
import zmq

socket = zmq.Context().socket(zmq.REQ)
socket.connect("tcp://127.0.0.1:5557")  # what hello says
socket.send_json({{"command": "network", "name": "small"}})
print(socket.recv_json())  # {{"ok": true, "text": "network tim@… has taken over, from rest", …}}
```
"""


def render_page() -> str:
    """Give the whole page as Markdown."""
    sections = [_INTRODUCTION]
    for title, classes in (
        ("JSON messages", _JSON_HEADS),
        ("msgpack heads", _MSGPACK_HEADS),
        ("Control messages", _CONTROL),
        ("Values inside messages", _NESTED),
    ):
        sections += [f"## {title}\n", *(_render_class(message) for message in classes)]
    schema = _schema_of((*_JSON_HEADS, *_CONTROL))
    sections.append(f"## JSON schema\n\n```json\n{json.dumps(schema, indent=2)}\n```\n")
    return "\n".join(sections)


def write_page(path: Path = _PAGE) -> None:
    """Write the page to its place in docs/."""
    path.write_text(render_page(), encoding="utf-8")


def _render_class(message: type[msgspec.Struct]) -> str:
    kind = next((field.default for field in msgspec.structs.fields(message) if field.name == "type"), None)
    heading = f"### {message.__name__}" + (f" (`{kind}`)" if kind else "")
    properties = _schema_of((message,))["$defs"][message.__name__]["properties"]
    rows = [
        f"| `{field.name}` | {_type_name(properties[field.name])} | {_default_of(field)} |"
        for field in msgspec.structs.fields(message)
    ]
    words = cleandoc(message.__doc__ or "")
    return "\n".join([heading, "", words, "", "| field | type | default |", "|---|---|---|", *rows, ""])


def _schema_of(classes: tuple[type[msgspec.Struct], ...]) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    _, definitions = msgspec.json.schema_components(classes)
    return {"$defs": definitions}


def _type_name(schema: object) -> str:
    assert isinstance(schema, dict)
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type_name(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "prefixItems" in schema:
        return f"[{', '.join(_type_name(item) for item in schema['prefixItems'])}]"
    if schema.get("type") == "array":
        return f"list of {_type_name(schema['items'])}"
    return str(schema.get("type", "any"))


def _default_of(field: msgspec.structs.FieldInfo) -> str:
    return "" if field.default is msgspec.NODEFAULT else f"`{json.dumps(field.default)}`"


if __name__ == "__main__":
    write_page()
    print(f"wrote {_PAGE}", file=sys.stderr)

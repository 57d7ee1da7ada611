"""Settings of networks as people type them: key=value words and sizes."""

import json
from collections.abc import Sequence
from typing import Any

from pipeline.schema.errors import UsageError

# Digits that are no number: which stages pool.
_DIGITS = ("pools",)


def read_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings of `key=value` words: numbers, true, false, lists (4,8,4 or [4,8,4]), text; `size` is WIDTHxHEIGHT or a side."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r}: expected key=value, such as dim=128")
        settings[key] = _value(key, value)
    return settings


def read_size(text: str) -> tuple[int, int]:
    """(width, height) in pixels of WIDTHxHEIGHT."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= 4096 and 0 < int(height) <= 4096):
        raise UsageError(f"--size {text!r}: expected WIDTHxHEIGHT in pixels, such as 64x64")
    return int(width), int(height)


def _value(key: str, text: str) -> Any:
    if key in _DIGITS:
        return text
    if key == "size" and text.isdecimal():
        return read_size(f"{text}x{text}")
    if key == "size" and "x" in text:
        return read_size(text)
    for form in (text, f"[{text}]"):
        try:
            return json.loads(form)
        except json.JSONDecodeError:
            continue
    return text

"""Values of neighbouring neurons between memory and registers, for GPU kernels: 16 bytes an instruction where they fit.

`make_load` and `make_store` build functions over plain addresses, so that a kernel takes numbers alone and no array needs to be
wrapped at a launch. They are written in LLVM's own terms and hold for either target of numba, which is how the code that a GPU
runs can be tested on a CPU; for the simulator, which runs Python, there are `read` and `write`.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from llvmlite import ir
from numba import types

# How values lie in memory; in registers they are float32.
Kind = Literal["float32", "bfloat16", "float16", "uint8"]
SIZES: dict[Kind, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "uint8": 1}

_FLOAT, _HALF, _BYTE, _SHORT, _WORD = ir.FloatType(), ir.HalfType(), ir.IntType(8), ir.IntType(16), ir.IntType(32)
# of NVIDIA's address spaces the one of device memory; a CPU takes no notice
_GLOBAL = 1
_VECTOR_BYTES = 16
# What a decorator of numba's makes of a function that writes code.
Intrinsic = Callable[[Callable[..., Any]], Any]


def make_load(kind: Kind, width: int, is_constant: bool, intrinsic: Intrinsic) -> Any:
    """`load(address, into, first)`: `width` values of `kind` at an aligned address, to float32 registers from `first`.

    What `is_constant` while the kernel runs may be asked for early, before earlier stores, and by way of the read-only cache.
    """

    def load(typing_context: Any, address: Any, into: Any, first: Any) -> Any:  # noqa: ARG001 # numba's shape
        def write_code(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
            values = _widen(builder, _load_vector(builder, args[0], SIZES[kind] * width, is_constant), kind, width)
            registers = context.make_array(signature.args[1])(context, builder, args[1]).data
            for k in range(width):
                place = builder.gep(registers, [builder.add(args[2], ir.Constant(args[2].type, k))])
                builder.store(values[k], place)
            return context.get_dummy_value()

        return types.void(types.int64, into, types.int64), write_code

    return intrinsic(load)


def make_store(kind: Kind, width: int, intrinsic: Intrinsic) -> Any:
    """`store(address, values, first)`: the opposite of `load`, rounding to the nearest."""

    def store(typing_context: Any, address: Any, values: Any, first: Any) -> Any:  # noqa: ARG001 # numba's shape
        def write_code(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
            registers = context.make_array(signature.args[1])(context, builder, args[1]).data
            vector = ir.Constant(ir.VectorType(_FLOAT, width), ir.Undefined)
            for k in range(width):
                place = builder.gep(registers, [builder.add(args[2], ir.Constant(args[2].type, k))])
                value = builder.load(place)
                vector = builder.insert_element(vector, value, ir.Constant(_WORD, k))
            _store_vector(builder, args[0], _narrow(builder, vector, kind, width), SIZES[kind] * width)
            return context.get_dummy_value()

        return types.void(types.int64, values, types.int64), write_code

    return intrinsic(store)


def _packed(n_bytes: int) -> tuple[ir.Type, int, int]:
    """The type of one instruction that moves up to 16 bytes, how many bytes it moves, and of how many `n_bytes` take."""
    if n_bytes < _WORD.width // 8:
        return ir.IntType(8 * n_bytes), n_bytes, 1
    moved = min(n_bytes, _VECTOR_BYTES)
    n_words = moved * 8 // _WORD.width
    return (_WORD if n_words == 1 else ir.VectorType(_WORD, n_words)), moved, n_bytes // moved


def _load_vector(builder: ir.IRBuilder, address: ir.Value, n_bytes: int, is_constant: bool) -> list[ir.Value]:
    packed, moved, count = _packed(n_bytes)
    loaded = []
    for part in range(count):
        place = builder.add(address, ir.Constant(address.type, part * moved))
        value = builder.load(builder.inttoptr(place, packed.as_pointer(_GLOBAL)), align=moved)
        if is_constant:
            value.set_metadata("invariant.load", builder.module.add_metadata([]))
        loaded.append(value)
    return loaded


def _store_vector(builder: ir.IRBuilder, address: ir.Value, vector: ir.Value, n_bytes: int) -> None:
    packed, moved, count = _packed(n_bytes)
    if count == 1:
        parts = [builder.bitcast(vector, packed)]
    else:
        words = builder.bitcast(vector, ir.VectorType(_WORD, n_bytes * 8 // _WORD.width))
        parts = [_slice(builder, words, part * moved * 8 // _WORD.width, moved * 8 // _WORD.width) for part in range(count)]
    for part, value in enumerate(parts):
        place = builder.add(address, ir.Constant(address.type, part * moved))
        builder.store(value, builder.inttoptr(place, packed.as_pointer(_GLOBAL)), align=moved)


def _slice(builder: ir.IRBuilder, words: ir.Value, first: int, count: int) -> ir.Value:
    places = ir.Constant(ir.VectorType(_WORD, count), list(range(first, first + count)))
    return builder.shuffle_vector(words, ir.Constant(words.type, ir.Undefined), places)


def _widen(builder: ir.IRBuilder, parts: list[ir.Value], kind: Kind, width: int) -> list[ir.Value]:
    """`width` float32 of the loaded parts."""
    words = [word for part in parts for word in _elements(builder, part)]
    if kind == "float32":
        return [builder.bitcast(word, _FLOAT) for word in words]
    if kind == "uint8":
        return [builder.uitofp(byte, _FLOAT) for word in words for byte in _bytes(builder, word)]
    # word by word: as vectors of halves LLVM would load them in pieces again
    shorts = words if width == 1 else [short for word in words for short in _halves(builder, word)]
    if kind == "float16":
        return [builder.fpext(builder.bitcast(short, _HALF), _FLOAT) for short in shorts]
    return [builder.bitcast(builder.shl(builder.zext(short, _WORD), ir.Constant(_WORD, 16)), _FLOAT) for short in shorts]


def _elements(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    if not isinstance(value.type, ir.VectorType):
        return [value]
    return [builder.extract_element(value, ir.Constant(_WORD, k)) for k in range(value.type.count)]


def _bytes(builder: ir.IRBuilder, word: ir.Value) -> list[ir.Value]:
    shifts = range(0, word.type.width, _BYTE.width)
    if word.type.width == _BYTE.width:
        return [word]
    return [builder.trunc(builder.lshr(word, ir.Constant(word.type, shift)), _BYTE) for shift in shifts]


def _halves(builder: ir.IRBuilder, word: ir.Value) -> tuple[ir.Value, ir.Value]:
    return builder.trunc(word, _SHORT), builder.trunc(builder.lshr(word, ir.Constant(_WORD, 16)), _SHORT)


def _narrow(builder: ir.IRBuilder, values: ir.Value, kind: Kind, width: int) -> ir.Value:
    """Float32 values as they lie in memory; halves of bfloat16 to even."""
    if kind == "float32":
        return values
    if kind == "float16":
        return builder.fptrunc(values, ir.VectorType(_HALF, width))
    if kind == "uint8":
        return builder.fptoui(values, ir.VectorType(_BYTE, width))
    bits = builder.bitcast(values, ir.VectorType(_WORD, width))
    odd = builder.and_(builder.lshr(bits, _each(width, 16)), _each(width, 1))
    rounded = builder.add(bits, builder.add(odd, _each(width, 0x7FFF)))
    return builder.trunc(builder.lshr(rounded, _each(width, 16)), ir.VectorType(_SHORT, width))


def _each(width: int, value: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(_WORD, width), [value] * width)


def read(kind: Kind, width: int, is_constant: bool) -> Callable[[int, Any, int], None]:
    """`load` in Python, for the simulator."""
    del is_constant

    def load(address: int, into: Any, first: int) -> None:
        raw = ctypes.string_at(int(address), SIZES[kind] * width)
        if kind == "bfloat16":
            into[first : first + width] = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            into[first : first + width] = np.frombuffer(raw, kind)

    return load


def write(kind: Kind, width: int) -> Callable[[int, Any, int], None]:
    """`store` in Python, for the simulator."""

    def store(address: int, values: Any, first: int) -> None:
        floats = np.asarray(values[first : first + width], np.float32)
        if kind == "bfloat16":
            bits = floats.view(np.uint32)
            raw = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).tobytes()
        else:
            raw = floats.astype(kind).tobytes()
        ctypes.memmove(int(address), raw, len(raw))

    return store

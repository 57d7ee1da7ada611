"""Vector instructions that numba has no words for, as its intrinsics: sums kept in registers, masks of what is not zero.

Written for LLVM, which fits them to any processor: eight floats are one AVX register, half an AVX-512 one, two of SSE or NEON.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

# Floats of one vector, and floats that `nonzero` looks at together.
LANES = 8
MASK_LANES = 16

_FLOAT = ir.FloatType()
_INDEX = ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_MULTIPLY_ADD = f"llvm.fmuladd.v{LANES}f32"
_ALIGNMENT = 4  # of floats: no vector here is aligned better


def _pointer(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Address of an array's first item."""
    return context.make_array(array_type)(context, builder, array).data


def _vector_at(builder: Any, pointer: Any, index: Any, kind: Any = _VECTOR) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())


def _add_scaled(builder: Any, value: Any, places: list[Any], totals: list[Any]) -> list[Any]:
    """Each of `totals` plus `value` times the vector at its place."""
    spread = builder.shuffle_vector(
        builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0)),
        ir.Constant(_VECTOR, ir.Undefined),
        ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES),
    )
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = get_or_insert_function(builder.module, kind, _MULTIPLY_ADD)  # type: ignore[no-untyped-call]
    loads = [builder.load(place, align=_ALIGNMENT) for place in places]
    return [builder.call(multiply_add, [spread, load, total]) for load, total in zip(loads, totals, strict=True)]


def _row_adder(n_vectors: int) -> Any:
    """Intrinsic that adds rows to `n_vectors` * LANES floats held in registers."""

    # numba reads the names and the number of the arguments; it passes no tuples on
    def add_rows(  # noqa: PLR0913
        _: Any, sums: Any, at: Any, table: Any, shift: Any, length: Any, keys: Any, values: Any, first: Any, last: Any
    ) -> Any:
        whole = types.int64
        kinds = types.void(sums, whole, table, whole, whole, keys, values, whole, whole)
        assert {at, shift, length, first, last} == {whole}  # what the kernels count with

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array_kinds = signature.args
            sums_, table_, keys_, values_ = (_pointer(context, builder, array_kinds[i], arguments[i]) for i in (0, 2, 5, 6))
            at_, shift_, length_, first_, last_ = (arguments[i] for i in (1, 3, 4, 7, 8))
            lanes = [_INDEX(i * LANES) for i in range(n_vectors)]
            places = [_vector_at(builder, sums_, builder.add(at_, lane)) for lane in lanes]
            begun = [builder.load(place, align=_ALIGNMENT) for place in places]
            entry, loop, done = builder.block, builder.append_basic_block("rows"), builder.append_basic_block("done")
            builder.cbranch(builder.icmp_signed("<", first_, last_), loop, done)
            builder.position_at_end(loop)
            j = builder.phi(_INDEX)
            totals = [builder.phi(_VECTOR) for _ in lanes]
            row = builder.mul(builder.sext(builder.load(builder.gep(keys_, [j])), _INDEX), length_)
            value = builder.load(builder.gep(values_, [j]))
            base = builder.gep(table_, [builder.add(row, shift_)])
            added = _add_scaled(builder, value, [_vector_at(builder, base, lane) for lane in lanes], totals)
            following = builder.add(j, _INDEX(1))
            builder.cbranch(builder.icmp_signed("<", following, last_), loop, done)
            j.add_incoming(first_, entry)
            j.add_incoming(following, loop)
            builder.position_at_end(done)
            finals = [builder.phi(_VECTOR) for _ in lanes]
            for phi, before, after in zip(totals + finals, begun * 2, added * 2, strict=True):
                phi.add_incoming(before, entry)
                phi.add_incoming(after, loop)
            for place, final in zip(places, finals, strict=True):
                builder.store(final, place, align=_ALIGNMENT)
            return context.get_dummy_value()

        return kinds, generate

    return intrinsic(add_rows)


add_rows_64, add_rows_32, add_rows_8 = (_row_adder(n // LANES) for n in (64, 32, 8))


def _nonzero(_: Any, x: Any, at: Any) -> Any:
    """Bits of the MASK_LANES floats of the flat array `x` from index `at` on that are not zero, lowest first."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(_FLOAT, MASK_LANES)
        place = _vector_at(builder, _pointer(context, builder, signature.args[0], arguments[0]), arguments[1], kind)
        floats = builder.load(place, align=_ALIGNMENT)
        bits = builder.fcmp_unordered("!=", floats, ir.Constant(kind, [0.0] * MASK_LANES))
        return builder.zext(builder.bitcast(bits, ir.IntType(MASK_LANES)), _INDEX)

    return types.int64(x, at), generate


def _lowest(_: Any, bits: Any) -> Any:
    """Place of the lowest bit of `bits` that is set; one of them must be."""

    def generate(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(bits), generate


nonzero: Any = intrinsic(_nonzero)
lowest: Any = intrinsic(_lowest)

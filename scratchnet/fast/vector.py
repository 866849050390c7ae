"""Vectors: one processor register of numbers, as a type that compiled code can hold, load, multiply and store.

Numba compiles loops over scalars and leaves it to the compiler to find vectors in them. For a register tile (`tile.py`)
that is not enough: its accumulators have to stay in registers for the whole of its loop. So here is the type that is
missing, with the six operations that a matrix product takes:

    zeros(a)            LANES zeros, of the dtype of the array a
    load(a, i)          a[i : i + LANES]
    splat(a, i)         a[i] in every lane
    fma(x, y, z)        x * y + z, lane by lane, rounded once
    add(x, y)           x + y, lane by lane
    store(v, a, i)      a[i : i + LANES] = v

a is always a one-dimensional contiguous array, and nothing checks that i + LANES is inside it: the caller sees to that.

LANES follows the host: a register of 512 bits (AVX-512) holds 16 float32 or 8 float64, one of 256 (AVX2) half as many,
one of 128 (NEON, and a safe default for all else) a quarter. With NUMBA_DISABLE_JIT=1 the same names are plain NumPy
functions, so that the kernels can be stepped through.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.cpython.unsafe.tuple import tuple_setitem as compiled_tuple_setitem
from numba.extending import intrinsic, models, register_model


def register_bits() -> int:
    """Bits of the host's widest vector register that LLVM knows of: 512, 256 or 128."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 512
    return 256 if features.get("avx2") and features.get("fma") else 128


REGISTER_BITS = register_bits()


def lanes(dtype: np.dtype) -> int:
    """How many numbers of a dtype one register holds."""
    return REGISTER_BITS // (8 * np.dtype(dtype).itemsize)


class Vector(types.Type):
    """The type of a register of float32 or float64, to Numba."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = REGISTER_BITS // dtype.bitwidth
        self.llvm_scalar = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
        self.llvm_type = ir.VectorType(self.llvm_scalar, self.lanes)
        super().__init__(name=f"{dtype}x{self.lanes}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A Vector is held as LLVM's own vector type, and so in a register."""

    def __init__(self, manager, fe_type) -> None:
        super().__init__(manager, fe_type, fe_type.llvm_type)


def _vector_of(array: types.Type) -> Vector:
    is_flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    if not is_flat or array.dtype not in (types.float32, types.float64):
        raise TypingError(f"expected a contiguous one-dimensional array of float32 or float64, got {array}")
    return Vector(array.dtype)


def _address(context, builder, array_type, array, index):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _constant(vector: Vector, value: float) -> ir.Constant:
    return ir.Constant(vector.llvm_type, [value] * vector.lanes)


@intrinsic
def zeros(typing, a):
    """LANES zeros of a's dtype."""
    vector = _vector_of(a)

    def emit(context, builder, signature, arguments):
        return _constant(vector, 0.0)

    return vector(a), emit


@intrinsic
def load(typing, a, i):
    """a[i : i + LANES]."""
    vector = _vector_of(a)

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments)
        value = builder.load(builder.bitcast(address, vector.llvm_type.as_pointer()))
        value.align = vector.dtype.bitwidth // 8  # the array may begin anywhere
        return value

    return vector(a, types.intp), emit


@intrinsic
def splat(typing, a, i):
    """a[i] in every lane."""
    vector = _vector_of(a)

    def emit(context, builder, signature, arguments):
        scalar = builder.load(_address(context, builder, signature.args[0], *arguments))
        nothing = ir.Constant(vector.llvm_type, ir.Undefined)
        first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
        return builder.shuffle_vector(first, nothing, everywhere)

    return vector(a, types.intp), emit


@intrinsic
def fma(typing, x, y, z):
    """x * y + z, lane by lane, rounded once."""
    if not (isinstance(x, Vector) and x == y == z):
        raise TypingError(f"expected three vectors of one type, got {x}, {y}, {z}")

    def emit(context, builder, signature, arguments):
        name = f"llvm.fma.v{x.lanes}f{x.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.llvm_type, [x.llvm_type] * 3), name)
        return builder.call(function, arguments)

    return x(x, y, z), emit


@intrinsic
def add(typing, x, y):
    """x + y, lane by lane."""
    if not (isinstance(x, Vector) and x == y):
        raise TypingError(f"expected two vectors of one type, got {x}, {y}")

    def emit(context, builder, signature, arguments):
        return builder.fadd(*arguments)

    return x(x, y), emit


@intrinsic
def store(typing, v, a, i):
    """a[i : i + LANES] = v."""
    vector = _vector_of(a)
    if v != vector:
        raise TypingError(f"expected to store {vector}, got {v}")

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[1], arguments[1], arguments[2])
        stored = builder.store(arguments[0], builder.bitcast(address, vector.llvm_type.as_pointer()))
        stored.align = vector.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(vector, a, types.intp), emit


replaced = compiled_tuple_setitem  # replaced(t, i, v): the tuple t with v in place i

if config.DISABLE_JIT:

    def zeros(a):
        """LANES zeros of a's dtype."""
        return np.zeros(lanes(a.dtype), a.dtype)

    def load(a, i):
        """a[i : i + LANES]."""
        return a[i : i + lanes(a.dtype)].copy()

    def splat(a, i):
        """a[i] in every lane."""
        return np.full(lanes(a.dtype), a[i])

    def fma(x, y, z):
        """x * y + z, lane by lane."""
        return x * y + z

    def add(x, y):
        """x + y, lane by lane."""
        return x + y

    def store(v, a, i):
        """a[i : i + LANES] = v."""
        a[i : i + len(v)] = v

    def replaced(t, i, v):
        """The tuple t with v in place i."""
        return (*t[:i], v, *t[i + 1 :])

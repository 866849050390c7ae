"""Vectors: one processor register of numbers, as a type that compiled code can hold, load, multiply and store.

Numba compiles loops over scalars, and leaves it to LLVM to vectorise them. That is not enough for a register tile
(`product/tile.py`): its accumulators must stay in registers for its whole loop. So this module adds a vector type, with
the operations that a matrix product takes:

    lanes_of(a)                LANES, for the dtype of the array a
    zeros(a)                   LANES zeros, of the dtype of the array a
    load(a, i)                 a[i : i + LANES]
    splat(a, i)                a[i], broadcast to all lanes
    fma(x, y, z)               x * y + z, lane by lane, rounded once
    add(x, y), subtract(x, y)  x + y and x - y, lane by lane
    store(v, a, i)             a[i : i + LANES] = v

Edges of arrays and pooling take more:

    load_first(a, i, count)    a[i : i + count], zero-padded; count is clamped to 0 ... LANES, here and below
    store_first(v, a, i, count)     a[i : i + count] = the first lanes of v
    load_int(a, i, count, x)   as load_first, from an array of int32, converted to the dtype of the vector x
    store_int(v, a, i, count)  as store_first, to an array of int32
    where_greater(x, y, a, b)  a where x > y, else b, lane by lane
    where_equal(x, y, a, b)    a where x == y, else b
    where_greater_or_nan(x, y, a, b)   a where x > y or x is NaN, else b

Lists of nonzeros take

    append_nonzero(x, numbers, i, values, places, at)   values[at:] = the nonzero lanes of x, places[at:] = the same
                               lanes of numbers[i:]; returns how many they are

Transposes take

    transpose_square(a, i, row, out, j, out_row)   out[j + c*out_row + r] = a[i + r*row + c], for r and c < LANES

and dot products

    sum_of_lanes(x)            the sum of all lanes: the upper half is added to the lower, until one number is left

a is always a one-dimensional contiguous array. Nothing checks that i + LANES is inside it: the caller makes sure.

LANES follows the host: a register of 512 bits (AVX-512) holds 16 float32 or 8 float64, one of 256 (AVX2) half as many,
one of 128 (NEON, and a safe default for all else) a quarter. With NUMBA_DISABLE_JIT=1 the same names are plain NumPy
functions, so that the kernels can be stepped through.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.cpython.unsafe.tuple import tuple_setitem as compiled_tuple_setitem
from numba.extending import intrinsic, models, register_model

from scratchnet.fast.register import plain
from scratchnet.fast.register.width import REGISTER_BITS

# Whether LLVM has llvm.experimental.vector.compress. To call an intrinsic that it does not have aborts the process.
COMPRESSES = binding.llvm_version_info >= (19,)


class Vector(types.Type):
    """The Numba type of a register of float32 or float64."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = REGISTER_BITS // dtype.bitwidth
        self.llvm_scalar = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
        self.llvm_type = ir.VectorType(self.llvm_scalar, self.lanes)
        super().__init__(name=f"{dtype}x{self.lanes}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A Vector is represented by LLVM's own vector type, so it is held in a register."""

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
def lanes_of(typing, a):
    """LANES: how many numbers of a's dtype one register holds."""
    count = REGISTER_BITS // a.dtype.bitwidth

    def emit(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(types.intp), count)

    return types.intp(a), emit


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
    """a[i], broadcast to all lanes."""
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
def subtract(typing, x, y):
    """x - y, lane by lane."""
    if not (isinstance(x, Vector) and x == y):
        raise TypingError(f"expected two vectors of one type, got {x}, {y}")

    def emit(context, builder, signature, arguments):
        return builder.fsub(*arguments)

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


def _first_lanes(builder, lanes, count):
    """A mask of one bit per lane: whether the lane's index is below count."""
    int32 = ir.IntType(32)
    numbers = ir.Constant(ir.VectorType(int32, lanes), list(range(lanes)))
    nothing = ir.Constant(ir.VectorType(int32, lanes), ir.Undefined)
    first = builder.insert_element(nothing, builder.trunc(count, int32), ir.Constant(int32, 0))
    everywhere = ir.Constant(ir.VectorType(int32, lanes), [0] * lanes)
    return builder.icmp_signed("<", numbers, builder.shuffle_vector(first, nothing, everywhere))


def _load_masked(builder, address, vector_type, suffix, mask):
    pointer = vector_type.as_pointer()
    kind = ir.FunctionType(vector_type, [pointer, ir.IntType(32), mask.type, vector_type])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{vector_type.count}{suffix}.p0")
    zero = ir.Constant(vector_type, [0] * vector_type.count)
    return builder.call(function, [builder.bitcast(address, pointer), ir.Constant(ir.IntType(32), 4), mask, zero])


def _store_masked(builder, value, address, suffix, mask):
    pointer = value.type.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [value.type, pointer, ir.IntType(32), mask.type])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{value.type.count}{suffix}.p0")
    builder.call(function, [value, builder.bitcast(address, pointer), ir.Constant(ir.IntType(32), 4), mask])


@intrinsic
def load_first(typing, a, i, count):
    """a[i : i + count], zero-padded to LANES."""
    vector = _vector_of(a)

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        mask = _first_lanes(builder, vector.lanes, arguments[2])
        return _load_masked(builder, address, vector.llvm_type, f"f{vector.dtype.bitwidth}", mask)

    return vector(a, types.intp, types.intp), emit


@intrinsic
def store_first(typing, v, a, i, count):
    """a[i : i + count] = the first lanes of v."""

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[1], *arguments[1:3])
        mask = _first_lanes(builder, v.lanes, arguments[3])
        _store_masked(builder, arguments[0], address, f"f{v.dtype.bitwidth}", mask)
        return context.get_dummy_value()

    return types.void(v, a, types.intp, types.intp), emit


@intrinsic
def load_int(typing, a, i, count, x):
    """The int32 a[i : i + count], zero-padded to LANES and converted to the dtype of the vector x."""

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        mask = _first_lanes(builder, x.lanes, arguments[2])
        whole = _load_masked(builder, address, ir.VectorType(ir.IntType(32), x.lanes), "i32", mask)
        return builder.sitofp(whole, x.llvm_type)

    return x(a, types.intp, types.intp, x), emit


@intrinsic
def store_int(typing, v, a, i, count):
    """a[i : i + count] = the first lanes of v, converted to int32."""

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[1], *arguments[1:3])
        mask = _first_lanes(builder, v.lanes, arguments[3])
        whole = builder.fptosi(arguments[0], ir.VectorType(ir.IntType(32), v.lanes))
        _store_masked(builder, whole, address, "i32", mask)
        return context.get_dummy_value()

    return types.void(v, a, types.intp, types.intp), emit


@intrinsic
def where_greater(typing, x, y, a, b):
    """a where x > y, else b, lane by lane."""

    def emit(context, builder, signature, arguments):
        x, y, a, b = arguments
        return builder.select(builder.fcmp_ordered(">", x, y), a, b)

    return a(x, x, a, a), emit


@intrinsic
def where_equal(typing, x, y, a, b):
    """a where x == y, else b, lane by lane."""

    def emit(context, builder, signature, arguments):
        x, y, a, b = arguments
        return builder.select(builder.fcmp_ordered("==", x, y), a, b)

    return a(x, x, a, a), emit


@intrinsic
def where_greater_or_nan(typing, x, y, a, b):
    """a where x > y or x is NaN, else b, lane by lane."""

    def emit(context, builder, signature, arguments):
        x, y, a, b = arguments
        wins = builder.or_(builder.fcmp_ordered(">", x, y), builder.fcmp_unordered("uno", x, x))
        return builder.select(wins, a, b)

    return a(x, x, a, a), emit


def _append_at_once(builder, vector, mask, address):
    """Store the lanes of a mask at an address, one after the other; the lanes after them are undefined."""
    scalar, count = vector.type.element, vector.type.count
    suffix = {ir.IntType(32): "i32", ir.FloatType(): "f32", ir.DoubleType(): "f64"}[scalar]
    kind = ir.FunctionType(vector.type, [vector.type, mask.type, vector.type])
    name = f"llvm.experimental.vector.compress.v{count}{suffix}"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    first = builder.call(function, [vector, mask, ir.Constant(vector.type, ir.Undefined)])
    builder.store(first, builder.bitcast(address, vector.type.as_pointer())).align = 4


def _append_one_by_one(builder, vector, mask, address):
    """As `_append_at_once`, in any LLVM. The address moves on behind lanes of the mask only, so others are replaced."""
    for lane in map(ir.IntType(32), range(vector.type.count)):
        builder.store(builder.extract_element(vector, lane), address)
        step = builder.zext(builder.extract_element(mask, lane), ir.IntType(64))
        address = builder.gep(address, [step])


@intrinsic
def append_nonzero(typing, x, numbers, i, values, places, at):
    """values[at:] = the nonzero lanes of x, places[at:] = the same lanes of numbers[i:]; returns how many they are.

    numbers and places are arrays of int32. values and places are overwritten up to at + LANES, so their entries after
    the new ones are undefined.
    """
    ints = ir.VectorType(ir.IntType(32), x.lanes)
    append = _append_at_once if COMPRESSES else _append_one_by_one

    def emit(context, builder, signature, arguments):
        x_value, numbers, i, values, places, at = arguments
        mask = builder.fcmp_unordered("!=", x_value, _constant(x, 0.0))
        append(builder, x_value, mask, _address(context, builder, signature.args[3], values, at))
        address = _address(context, builder, signature.args[1], numbers, i)
        lanes_numbers = _load_masked(builder, address, ints, "i32", mask)
        append(builder, lanes_numbers, mask, _address(context, builder, signature.args[4], places, at))
        bits = builder.bitcast(mask, ir.IntType(x.lanes))
        return builder.zext(builder.ctpop(bits), ir.IntType(64))

    return types.intp(x, numbers, types.intp, values, places, types.intp), emit


@intrinsic
def transpose_square(typing, a, i, row, out, j, out_row):
    """out[j + c * out_row + r] = a[i + r * row + c], for r and c < LANES.

    The rows are loaded as vectors. Then, for each bit of an index, pairs of rows that differ in that bit exchange half
    of their lanes. This swaps the bit in the row and in the column of each number; after all bits, the square is
    transposed.
    """
    vector = _vector_of(a)

    def emit(context, builder, signature, arguments):
        source, at, step, target, to, target_step = arguments
        pointer, lanes = vector.llvm_type.as_pointer(), vector.lanes
        rows = []
        for r in range(lanes):
            place = builder.add(at, builder.mul(step, step.type(r)))
            value = builder.load(builder.bitcast(_address(context, builder, signature.args[0], source, place), pointer))
            value.align = vector.dtype.bitwidth // 8
            rows.append(value)
        for bit in (1 << b for b in range(lanes.bit_length() - 1)):
            # Row r gets the lanes without the bit from both rows, row r | bit the lanes with the bit.
            low = [c if not c & bit else lanes + c - bit for c in range(lanes)]
            high = [c + bit if not c & bit else lanes + c for c in range(lanes)]
            for r in range(lanes):
                if not r & bit:
                    pair = rows[r], rows[r | bit]
                    for to_row, places in ((r, low), (r | bit, high)):
                        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), places)
                        rows[to_row] = builder.shuffle_vector(*pair, mask)
        for c in range(lanes):
            place = builder.add(to, builder.mul(target_step, target_step.type(c)))
            address = _address(context, builder, signature.args[3], target, place)
            builder.store(rows[c], builder.bitcast(address, pointer)).align = vector.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(a, types.intp, types.intp, out, types.intp, types.intp), emit


@intrinsic
def sum_of_lanes(typing, x):
    """The sum of all lanes: the upper half is added to the lower one, until one number is left."""

    def emit(context, builder, signature, arguments):
        (half,) = arguments
        while half.type.count > 1:
            count = half.type.count // 2
            low, high = (
                ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(i, i + count))) for i in (0, count)
            )
            half = builder.fadd(builder.shuffle_vector(half, half, low), builder.shuffle_vector(half, half, high))
        return builder.extract_element(half, ir.Constant(ir.IntType(32), 0))

    return x.dtype(x), emit


replaced = compiled_tuple_setitem  # replaced(t, i, v): the tuple t with v at index i

if config.DISABLE_JIT:
    globals().update({name: getattr(plain, name) for name in plain.OPERATIONS})

"""IDX, the format of the MNIST files: a header of big-endian integers, then bytes.

    offset 0   0 0 type rank       type 8: unsigned bytes; rank: 1 for labels, 3 for images, 4 in colour
    offset 4   size of each axis   4 bytes each
    then       the entries, row-major

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.reading import FileFault, as_file

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8
WHAT = {4: "images in colour", 3: "images", 1: "labels"}  # by rank

# The most that a gzipped file may hold: so many times its own size (MNIST's images 5 times), or so many bytes.
LARGEST_RATIO = 20
LARGEST_SMALL = 2**26


def read_idx(path: str | Path, rank: int) -> np.ndarray:
    """The unsigned bytes of an IDX file, raw or gzipped.

    Parameters
    ----------
    path : path of the file.
    rank : int
        Axes to expect: 3 for images (N, H, W), 4 in colour (N, H, W, C), 1 for labels (N,).

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFault
        If it is not a complete IDX file of that rank; the message names the file and what is wrong. It is a ValueError.
    """
    return as_array(read_content(path, rank), rank)


def map_idx(path: str | Path, rank: int) -> np.ndarray:
    """As `read_idx` for a file that is not gzipped, without reading it: the system reads what is used of it."""
    found = as_file(path, f"an IDX file of {WHAT[rank]}")
    size, start = found.stat().st_size, _header_size(rank)
    with open(found, "rb") as file:
        header = _checked_header(path, file, rank)
    shape = _shape(header, rank)
    _check_size(path, start + math.prod(shape), size)
    return np.memmap(found, np.uint8, "r", offset=start, shape=shape)


def as_array(content: bytes, rank: int) -> np.ndarray:
    """The array (rank axes) in what `read_content` returned."""
    return np.frombuffer(content, np.uint8, offset=_header_size(rank)).reshape(_shape(content, rank))


def read_content(path: str | Path, rank: int) -> bytes:
    """The bytes of an IDX file of that rank, decompressed if it is gzipped; errors as for `read_idx`.

    The header says how many bytes there are. No more than these are read or decompressed, whatever the file holds.
    """
    found = as_file(path, f"an IDX file of {WHAT[rank]}")
    size = found.stat().st_size
    with open(found, "rb") as raw:
        packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        if not packed:
            return _read_content(path, raw, rank, size)
        try:
            with gzip.open(raw) as unpacked:
                return _read_content(path, unpacked, rank, max(LARGEST_RATIO * size, LARGEST_SMALL), packed)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FileFault(f"{path}: the gzip data is truncated or damaged ({error}); fetch the file again") from None


def _read_content(path: str | Path, file: Any, rank: int, largest: int, packed: bool = False) -> bytes:
    """The header and the entries from an open file, which can hold `largest` bytes."""
    header = _checked_header(path, file, rank)
    expected = _header_size(rank) + math.prod(_shape(header, rank))
    if packed and expected > largest:
        raise FileFault(
            f"{path}: expected at most {largest:,} bytes in a gzipped file of this size, but its header says "
            f"{expected:,}; if that is right, unpack it with gunzip, and name the unpacked file"
        )
    # A byte more than expected shows whether the data goes on. At its end, gzip compares it with its checksum.
    content = header + file.read(min(expected - len(header) + 1, largest))
    _check_size(path, expected, len(content))
    return content


def _checked_header(path: str | Path, file: Any, rank: int) -> bytes:
    """The header from the start of an open file; a FileFault if the file is none of that rank."""
    magic = bytes([0, 0, UNSIGNED_BYTE, rank])
    header: bytes = file.read(_header_size(rank))
    if header[:4] != magic:
        raise FileFault(
            f"{path}: not an IDX file of {WHAT[rank]}: "
            f"expected it to begin with {magic.hex(' ')}, got {header[:4].hex(' ') or 'nothing'}"
        )
    return header


def _check_size(path: str | Path, expected: int, size: int) -> None:
    """A FileFault if a file has another number of bytes than its header says."""
    if size != expected:
        got = f"{size:,}" if size < expected else "more"
        raise FileFault(f"{path}: the IDX data is truncated or damaged: expected {expected:,} bytes, got {got}")


def _header_size(rank: int) -> int:
    return 4 + 4 * rank


def _shape(header: bytes, rank: int) -> tuple[int, ...]:
    """The sizes of the axes; 0 for those that a truncated header lacks."""
    sizes = np.frombuffer(header[4 : _header_size(rank)].ljust(4 * rank, b"\0"), ">u4")
    return tuple(map(int, sizes))

"""IDX, the format of the MNIST files: a header of big-endian integers, then bytes.

    offset 0   0 0 type rank       type 8: unsigned bytes; rank: 1 for labels, 3 for images
    offset 4   size of each axis   4 bytes each
    then       the entries, row-major

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8


def read_idx(path: str | Path, rank: int) -> np.ndarray:
    """The unsigned bytes of an IDX file, raw or gzipped.

    Parameters
    ----------
    path : path of the file.
    rank : int
        Axes to expect: 3 for images (N, H, W), 1 for labels (N,).

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a complete IDX file of that rank; the message names the file and what is wrong.
    """
    return as_array(read_content(path), path, rank)


def read_content(path: str | Path) -> bytes:
    """The bytes of a file, decompressed if it is gzipped; errors as for `read_idx`."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    content = path.read_bytes()
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: the gzip data is truncated or damaged ({error}); fetch the file again") from None


def as_array(content: bytes, path: str | Path, rank: int) -> np.ndarray:
    """The array that an IDX file's content describes; errors as for `read_idx`, which name `path`."""
    expected_magic = bytes([0, 0, UNSIGNED_BYTE, rank])
    if content[:4] != expected_magic:
        raise ValueError(
            f"{path}: not an IDX file of {'images' if rank == 3 else 'labels'}: "
            f"expected it to begin with {expected_magic.hex(' ')}, got {content[:4].hex(' ') or 'nothing'}"
        )
    header = 4 + 4 * rank
    shape = np.frombuffer(content[4:header].ljust(4 * rank, b"\0"), ">u4")
    expected_size = header + math.prod(map(int, shape))
    if len(content) != expected_size:
        raise ValueError(
            f"{path}: the IDX data is truncated or damaged: expected {expected_size:,} bytes, got {len(content):,}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)

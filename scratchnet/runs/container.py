"""The files of models and checkpoints: named arrays and a description in JSON, in the safetensors format; never pickle.

What is read has been checked: the bytes by a checksum, the arrays' dtypes, and the keys and values of the description.
Whether the arrays fit a network is for the caller to find out.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.reading import (
    COUNT,
    FLAG,
    NAME,
    NOT_NEGATIVE,
    OBJECT,
    POSITIVE,
    FileFault,
    Kind,
    as_file,
    check,
    if_given,
    one_of,
    or_null,
    parse_json,
)
from scratchnet.writing import written_atomically

WRITER = "scratchnet 1"

# `format` is safetensors' own key: the framework that the tensors are meant for. Tools that look at it take few values,
# and all of them take this one. The arrays are the same whatever it says.
HEADER = {"format": "pt", "made_by": WRITER}
EARLIER_HEADER = {"format": WRITER}  # of version 0.2.0 and before

SHAPE = Kind(
    "a list of whole numbers of at least 1", lambda value: isinstance(value, list) and all(map(POSITIVE.fits, value))
)

NAMES = Kind("a list of names", lambda value: isinstance(value, list) and all(map(NAME.fits, value)))

# What a description has to hold, by its kind.
NETWORK = {"name": NAME, "takes_any_shape": if_given(FLAG), "layers": [{"layer": NAME}]}
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "model": {"network": NETWORK | {"input_shape": or_null(SHAPE)}, "data": if_given(NAME), "classes": if_given(NAMES)},
    "checkpoint": {
        "network": NETWORK | {"input_shape": SHAPE},
        "optimizer": {"parameters": [NAME]},
        "lr": NOT_NEGATIVE,
        "steps": COUNT,
        "generators": OBJECT,
        "arguments": OBJECT,
        "position": {"step": COUNT, "order": OBJECT},
        "averaged_steps": if_given(COUNT),
    },
}
DTYPES = ("F32", "F64", *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)))  # as safetensors calls them


def write(path: str | Path, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Write arrays that could be read again, and a description. The same ones give the same bytes in every process."""
    from safetensors.numpy import save as as_bytes

    for name, array in arrays.items():
        check_array(path, name, array, array)
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    description = as_json(description)
    check(path, description, DESCRIPTIONS[description["kind"]])
    text = json.dumps(description)
    metadata = {"description": text, "sha256": digest(arrays, text)} | HEADER
    content = _with_sorted_metadata(as_bytes(arrays, metadata))
    with written_atomically(path) as partial:
        partial.write_bytes(content)


def _with_sorted_metadata(content: bytes) -> bytes:
    """A safetensors file with its metadata in alphabetical order: safetensors itself draws an order in each process.

    A file begins with the length of its header, 8 bytes, little-endian; then comes the header, as JSON that is filled
    up with spaces to a multiple of 8 bytes.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def read(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description in a file of this kind, the latter checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(as_file(path, f"a {kind}"), framework="numpy") as file:
            metadata = file.metadata() or {}
            header = {key: metadata[key] for key in HEADER if key in metadata}
            if header not in (HEADER, EARLIER_HEADER):
                raise FileFault(f"{path}: not written by scratchnet: expected the metadata {HEADER}, got {header}")
            arrays = {name: _read_array(path, file, name) for name in file.keys()}  # noqa: SIM118 (the file is no dict)
    except SafetensorError as error:
        raise FileFault(f"{path}: not a whole safetensors file ({error}); it is damaged or of another format") from None
    text = metadata.get("description", "")
    if metadata.get("sha256") != digest(arrays, text):
        raise FileFault(f"{path}: the content does not match its SHA-256; the file was damaged after it was written")
    description: dict[str, Any] = parse_json(path, text, "the description")
    check(path, description, {"kind": one_of(*DESCRIPTIONS)})
    if description["kind"] != kind:
        raise FileFault(f"{path}: expected a {kind}, got a {description['kind']}")
    check(path, description, DESCRIPTIONS[kind])
    return arrays, description


def _read_array(path: str | Path, file: Any, name: str) -> np.ndarray:
    """One array of an open safetensors file."""
    dtype = file.get_slice(name).get_dtype()
    if dtype not in DTYPES:  # 16 bits are too few to train, and NumPy has no other floats
        raise FileFault(f"{path}: expected {name} to hold float32, float64 or integers, got {dtype}")
    array: np.ndarray = file.get_tensor(name)
    return array


def digest(arrays: dict[str, np.ndarray], text: str) -> str:
    """SHA-256 of the text and of all arrays with their names. safetensors itself would not notice a flipped bit."""
    made = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        made.update(name.encode())
        made.update(arrays[name].data)
    return made.hexdigest()


def check_array(path: str | Path, name: str, array: np.ndarray, held: np.ndarray) -> None:
    """A FileFault, unless the array is finite and can take the place of `held`."""
    if array.shape != held.shape:
        raise FileFault(f"{path}: expected {name} of shape {held.shape}, got {array.shape}")
    dtypes = ("float32", "float64") if held.dtype.kind == "f" else (held.dtype.name,)
    if array.dtype not in dtypes:
        raise FileFault(f"{path}: expected {name} of dtype {' or '.join(dtypes)}, got {array.dtype}")
    if not np.isfinite(array).all():
        raise FileFault(f"{path}: {name} holds NaN or infinite values: the training that made it has diverged")


def as_json(value: Any) -> Any:
    """The value as JSON gives it back: tuples and arrays become lists, and NumPy's numbers become Python's."""
    return json.loads(json.dumps(value, default=lambda array: array.tolist()))

"""Read files of safetensors by the library, and write them tensor by tensor, which the library does not do."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adamcompat.extras import how_to_install
from adamcompat.files import flushing, replacing
from adamcompat.state.files.stored import Stored, blocks_of_all, bytes_of
from adamcompat.state.terms import StateError, Tensor

_DTYPES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "U8": "uint8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
    "I64": "int64",
    "U64": "uint64",
    "BOOL": "bool",
}
_NO_SUM = "0" * 8
_NAMES = {name: code for code, name in _DTYPES.items()}

# Called with the number of bytes that have been written.
Progress = Callable[[int], None]


def dtype_of(name: str, where: str) -> np.dtype[Any]:
    """Return a dtype by its NumPy name; bfloat16 is ml_dtypes's.

    Args:
        name: such as "float32".
        where: what has the dtype, for errors.

    Raises:
        StateError: ml_dtypes, which bfloat16 needs, is missing.
        TypeError: NumPy has no dtype of that name.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        raise StateError(f"{where} is bfloat16, which NumPy lacks: pip install ml_dtypes") from None
    return np.dtype(ml_dtypes.bfloat16)


def read(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return the tensors of a file, which are read when they are needed, and its metadata.

    Raises:
        StateError: `path` is no whole file of safetensors, it holds a dtype that is unknown here, or the library is
            missing.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise StateError(f"{path}: needs safetensors: {how_to_install('files')}") from None
    try:
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise StateError(f"{path}: not a whole safetensors file: {error}") from None
    with path.open("rb") as raw:
        (size,) = struct.unpack("<Q", raw.read(8))
        header = json.loads(raw.read(size))
    found = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        if facts["dtype"] not in _DTYPES:
            raise StateError(f"{path}: {name!r} has dtype {facts['dtype']}, which is unknown here")
        start, end = facts["data_offsets"]
        dtype = dtype_of(_DTYPES[facts["dtype"]], f"{path}: {name!r}")
        found[name] = Stored(path, name, tuple(facts["shape"]), dtype, ((8 + size + start, end - start),))
    return found, metadata


@dataclass(slots=True)
class Sums:
    """Hold the checksums of what is written.

    Attributes:
        each: CRC-32 of the bytes of each tensor.
        all: or CRC-32 of names and bytes, one tensor after the other.
    """

    each: dict[str, int]
    all: int = 0


def write(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Callable[[Sums], Mapping[str, str]],
    progress: Progress = lambda count: None,
    *,
    cumulative: bool = False,
    threads: bool = True,
) -> None:
    """Write a file, one tensor after the other; whoever looks finds the old file or the new one.

    Args:
        path: of the file.
        tensors: by name, in the order in which they shall lie.
        metadata: from checksums; of the same length whatever they are, since it lies before the tensors.
        progress: called with the number of bytes that have been written since the last call.
        cumulative: whether `metadata` wants one checksum of everything, and not one of each tensor.
        threads: whether others may help; a process that ends starts none.

    Raises:
        StateError: safetensors does not know a dtype; nothing has been written.
    """
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype.name not in _NAMES:
            raise StateError(f"{name!r} has dtype {tensor.dtype}, which safetensors does not know")
        start, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        header[name] = {
            "dtype": _NAMES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    sums = Sums(dict.fromkeys(tensors, 0))

    def encoded() -> bytes:
        text = json.dumps({"__metadata__": dict(metadata(sums)), **header}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text

    with replacing(path) as partial, partial.open("wb") as file, flushing(file) if threads else nullcontext():
        before = encoded()
        file.write(before)
        begun: str | None = None
        for name, block in blocks_of_all(tensors, ahead=threads):
            data = bytes_of(block)
            if cumulative:
                sums.all = zlib.crc32(data, sums.all if name == begun else zlib.crc32(name.encode(), sums.all))
                begun = name
            else:
                sums.each[name] = zlib.crc32(data, sums.each[name])
            file.write(data)
            progress(len(data))
        after = encoded()
        assert len(after) == len(before)
        file.seek(0)
        file.write(after)


def write_sealed(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    progress: Progress = lambda count: None,
    *,
    threads: bool = True,
) -> None:
    """Write a file with a checksum of every tensor and of the rest, which `unsealed` compares.

    Args:
        path: of the file, which is replaced as a whole.
        tensors: by name, in the order in which they shall lie.
        metadata: names to texts; ``checksums`` and ``checksum`` are added.
        progress: called with the number of bytes of tensors that have been written since the last call.
        threads: whether other threads may help; a process that ends starts none.

    Raises:
        StateError: safetensors does not know a dtype; nothing has been written.
    """

    def sealed(sums: Sums) -> dict[str, str]:
        each = {name: f"{value:08x}" for name, value in sums.each.items()}
        return _sealed({**metadata, "checksums": json.dumps(each)}, tensors)

    write(path, tensors, sealed, progress, threads=threads)


def unsealed(path: Path, tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> dict[str, Stored]:
    """Return the tensors of a sealed file, each with its checksum, which is compared when the tensor is read.

    Args:
        path: of the file, for errors.
        tensors: everything in the file, as `read` returns it.
        metadata: of the file, with ``checksums`` of the tensors and a ``checksum`` of the rest.

    Returns:
        The same tensors by name, each of which compares its checksum.

    Raises:
        StateError: metadata, names, shapes or dtypes are not those that were written.
    """
    if metadata != _sealed(metadata, tensors):
        raise StateError(f"{path}: the file is damaged: its checksum is not the one it was written with")
    try:
        sums = json.loads(metadata["checksums"])
        return {name: replace(tensor, checksum=int(sums[name], 16)) for name, tensor in tensors.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path}: the file is damaged: {error!r}") from None


def _sealed(metadata: Mapping[str, str], tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata with a checksum of the metadata and of names, shapes and dtypes."""
    facts = [[name, list(tensor.shape), tensor.dtype.name] for name, tensor in tensors.items()]
    text = json.dumps([{**metadata, "checksum": _NO_SUM}, sorted(facts)], sort_keys=True)
    return {**metadata, "checksum": f"{zlib.crc32(text.encode()):08x}"}

"""Leave tensors in a file until somebody needs their elements."""

from __future__ import annotations

import math
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.state.layout import Transform
from adamcompat.state.pairing import Pair, put_together
from adamcompat.state.terms import Shape, StateError, Tensor

# What is held of a tensor when it goes from one file to another.
BLOCK = 1 << 20
# How many blocks are made before they are needed: a whole tensor is read before the first block of its transpose.
_AHEAD = 16
# A transposed tensor is copied so many rows at a time, in tiles of so many elements.
_ROWS, _TILE = 16, 1 << 14


@dataclass(frozen=True, slots=True)
class Stored:
    """Stand for a tensor in a file, which is read when it is asked for.

    Args:
        path: of the file.
        name: of the tensor there, for errors.
        shape: of the tensor.
        dtype: of the tensor.
        extents: where its bytes are: offset and length of each piece, in bytes.
        checksum: CRC-32 of its bytes, where the file tells it; what is read is checked.
    """

    path: Path
    name: str
    shape: Shape
    dtype: np.dtype[Any]
    extents: tuple[tuple[int, int], ...]
    checksum: int | None = None

    # When the file was changed last, at the time at which the checksum was found right.
    _checked: list[tuple[int, int]] = field(default_factory=list, repr=False, compare=False)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the elements in order, one-dimensional, about 1 MiB at a time.

        Raises:
            StateError: the file has become shorter, or the elements are not those that were written.
        """
        for piece in self._pieces(BLOCK // self.dtype.itemsize * self.dtype.itemsize):
            yield piece.view(self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        result = np.empty(math.prod(self.shape) * self.dtype.itemsize, np.uint8)
        for _ in self._pieces(BLOCK, result):
            pass
        array = result.view(self.dtype).reshape(self.shape)
        return array if dtype is None else array.astype(dtype, copy=False)

    def _pieces(self, size: int, whole: NDArray[np.uint8] | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield the bytes, at most `size` at a time; each piece lies in `whole`, or in memory of its own."""
        found, at = 0, 0
        with self.path.open("rb") as file:
            facts = os.fstat(file.fileno())
            version = (facts.st_mtime_ns, facts.st_size)
            checks = self.checksum is not None and version not in self._checked
            for offset, length in self.extents:
                file.seek(offset)
                while length:
                    count = min(size, length)
                    piece = np.empty(count, np.uint8) if whole is None else whole[at : at + count]
                    if file.readinto(bytes_of(piece)) != count:
                        raise StateError(f"{self.path}: the file ends within {self.name!r}; it was cut off")
                    length, at = length - count, at + count
                    if checks:
                        found = zlib.crc32(bytes_of(piece), found)
                    yield piece
        if checks and found != self.checksum:
            raise StateError(f"{self.path}: {self.name!r} is damaged: its checksum is not the one it was written with")
        if checks:
            self._checked.append(version)


@dataclass(frozen=True, slots=True)
class Moved:
    """Stand for a tensor in another layout and dtype, which is made when it is asked for.

    Attributes:
        tensor: the tensor as it was.
        transform: the way to the new layout.
        dtype: the new dtype.
    """

    tensor: Tensor
    transform: Transform
    dtype: np.dtype[Any]

    @property
    def shape(self) -> Shape:
        """Return the shape in the new layout."""
        return self.transform.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self.transform.apply(np.asarray(self.tensor))
        return array.astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """Stand for a tensor that is put together from parts of others when it is asked for.

    Attributes:
        tensors: the tensors of the role by parameter name.
        pairs: all pairs of the target.
        role: the kind of tensor in mapping.yaml, such as "first_moment".
        shape: of the result.
        dtype: of the result.
    """

    tensors: Mapping[str, Tensor]
    pairs: tuple[Pair, ...]
    role: str
    shape: Shape
    dtype: np.dtype[Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = put_together(self.pairs, self.role, self.tensors)
        if array is None:
            array = np.zeros(self.shape, self.dtype)
        return array.astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """Stand for the part of a tensor that goes to one target, in the target's layout.

    Attributes:
        tensor: the whole tensor of the source.
        pair: which part of it goes to which target.
    """

    tensor: Tensor
    pair: Pair

    @property
    def shape(self) -> Shape:
        """Return the shape of the part in the target's layout."""
        return self.pair.transform.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype of the tensor."""
        return self.tensor.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self.pair.piece(self.tensor)
        return array.astype(dtype or self.dtype, copy=False)


def blocks_of(tensor: Tensor) -> Iterator[NDArray[Any]]:
    """Yield the elements of any tensor in the order of C, one-dimensional, some at a time."""
    while isinstance(tensor, Moved) and tensor.transform.keeps_order and tensor.dtype == tensor.tensor.dtype:
        tensor = tensor.tensor
    if isinstance(tensor, Stored):
        yield from tensor.blocks()
        return
    array = np.asarray(tensor)
    size = max(1, BLOCK // array.dtype.itemsize)
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        yield from (flat[at : at + size] for at in range(0, flat.size, size))
        return
    width = math.prod(array.shape[1:])
    if width > _ROWS * size:
        for row in array:
            yield from blocks_of(row)
        return
    rows = max(size // width, min(_ROWS, _ROWS * size // width))
    for at in range(0, len(array), rows):
        yield _copied(array[at : at + rows]).reshape(-1)


def _copied(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array in the order of C, in tiles: whole rows of a transpose would miss the cache at every element."""
    result = np.empty(array.shape, array.dtype)
    axis = int(np.argmax(array.shape))
    step = max(1, _TILE * array.shape[axis] // array.size)
    for at in range(0, array.shape[axis], step):
        tile = (slice(None),) * axis + (slice(at, at + step),)
        result[tile] = array[tile]
    return result


def blocks_of_all(tensors: Mapping[str, Tensor], *, ahead: bool = True) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the blocks of one tensor after the other, each with its name; an empty tensor has an empty one.

    Args:
        tensors: by name, in the order in which they are read.
        ahead: whether a thread of its own makes some blocks before they are needed; a process that ends starts no
            threads.
    """

    def blocks() -> Iterator[tuple[str, NDArray[Any]]]:
        for name, tensor in tensors.items():
            if not math.prod(tensor.shape):
                yield name, np.empty(0, tensor.dtype)
            for block in blocks_of(tensor):
                yield name, block

    iterator = blocks()
    if not ahead:
        yield from iterator
        return
    with ThreadPoolExecutor(1) as pool:
        following = deque(pool.submit(next, iterator, None) for _ in range(_AHEAD))
        while (found := following.popleft().result()) is not None:
            following.append(pool.submit(next, iterator, None))
            yield found


def bytes_of(block: NDArray[Any]) -> memoryview:
    """Return the bytes of a one-dimensional block, as they are, without a copy."""
    return block.view(np.uint8).data


def norm(tensor: Tensor) -> float:
    r"""Return the L2 norm of a tensor's elements, :math:`\sqrt{\sum_i x_i^2}`; NaN and infinity show.

    The squares of a block are added up in the tensor's dtype, at least in float32, and in float64 where the sum is not
    finite. The sums of the blocks are added up in float64.
    """
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks_of(tensor):
            if block.dtype.itemsize < 4 or block.dtype.kind not in "f":
                block = block.astype(np.float32)
            part = float(np.dot(block, block))
            if not math.isfinite(part):
                wide = block.astype(np.float64)
                part = float(np.dot(wide, wide))
            total += part
    return math.sqrt(total) if total == total else math.nan

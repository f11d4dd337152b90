"""Read and write MindSpore's .ckpt files, a Protocol Buffers message, piece by piece.

MindSpore's own reader holds the whole file in memory, and so does the library of Protocol Buffers. The
message is ``Checkpoint``: field 1, repeated, is a ``Value`` with 1 the name and 2 a ``TensorProto``, which
has 1 the axes, 2 the dtype and 3 the bytes. A large tensor is several values of one name in a row.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from adamcompat.files import flushing, replacing
from adamcompat.state.files.safetensors_file import Progress, dtype_of
from adamcompat.state.files.stored import BLOCK, Stored, blocks_of_all, bytes_of
from adamcompat.state.terms import StateError, Tensor

_DTYPES = {
    name: name.lower()
    for name in (
        *("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64"),
        *("Float16", "BFloat16", "Float32", "Float64", "Bool"),
    )
}
_NAMES = {numpy: name for name, numpy in _DTYPES.items()}
_BYTES, _VARINT = 2, 0
# An optional end: this word and CRC-32 of everything before it, in ten bytes.
_SUM, _SUM_BYTES = b"crc_num", 10
# MindSpore cuts tensors into pieces of this many bytes, and reads no file that is longer than the limit.
_PIECE, _LIMIT = 1 << 29, (1 << 31) - 1


@dataclass(slots=True)
class _Value:
    name: str = ""
    kind: str = ""
    axes: list[int] = field(default_factory=list)
    extent: tuple[int, int] = (0, 0)


class _Reader:
    """Read the fields of messages, in a part of a file."""

    def __init__(self, file: BinaryIO, path: Path, end: int) -> None:
        self.file, self.path, self.end = file, path, end

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield number, kind and value of each field up to `end`.

        The value of a field of bytes is their length; the file stands at their start then.

        Args:
            end: the position behind the last field.

        Raises:
            StateError: the file is damaged.
        """
        while self.file.tell() < end:
            key = self._varint(end)
            number, kind = key >> 3, key & 7
            value = self._varint(end)
            after = self.file.tell() + (value if kind == _BYTES else 0)
            if kind not in (_BYTES, _VARINT) or not number or after > end:
                raise self.damaged()
            yield number, kind, value
            self.file.seek(after)

    def text(self, length: int) -> str:
        try:
            return self.file.read(length).decode()
        except UnicodeDecodeError:
            raise self.damaged() from None

    def _varint(self, end: int) -> int:
        value = shift = 0
        while True:
            byte = self.file.read(1)
            if not byte or self.file.tell() > end or shift > 63:
                raise self.damaged()
            value |= (byte[0] & 127) << shift
            if byte[0] < 128:
                return value
            shift += 7

    def damaged(self) -> StateError:
        return StateError(
            f"{self.path}: not a whole MindSpore checkpoint: byte {self.file.tell()} cannot be understood; the file "
            f"was cut off, damaged, encrypted or written by something else"
        )

    def values(self) -> Iterator[_Value]:
        """Yield every value that is a tensor.

        Raises:
            StateError: the file is damaged.
        """
        for number, kind, length in self.fields(self.end):
            if (number, kind) != (1, _BYTES):
                raise self.damaged()
            yield self._value(self.file.tell() + length)

    def _value(self, end: int) -> _Value:
        value = _Value()
        for number, kind, length in self.fields(end):
            if (number, kind) == (1, _BYTES):
                value.name = self.text(length)
            elif (number, kind) == (2, _BYTES):
                self._tensor(value, self.file.tell() + length)
            else:
                raise StateError(f"{self.path}: {value.name!r} is no tensor, but a map, which is unknown here")
        if not value.name or not value.kind:
            raise self.damaged()
        return value

    def _tensor(self, value: _Value, end: int) -> None:
        for number, kind, length in self.fields(end):
            if (number, kind) == (1, _VARINT):
                value.axes.append(length)
            elif (number, kind) == (1, _BYTES):
                stop = self.file.tell() + length
                while self.file.tell() < stop:
                    value.axes.append(self._varint(stop))
            elif (number, kind) == (2, _BYTES):
                value.kind = self.text(length)
            elif (number, kind) == (3, _BYTES):
                value.extent = (self.file.tell(), length)
            else:
                raise self.damaged()


def read(path: Path) -> dict[str, Stored]:
    """Return the tensors of a file, which are read when they are needed.

    Args:
        path: of the .ckpt file. Text in it is passed over.

    Returns:
        The tensors by their names in the file, in its order.

    Raises:
        StateError: the file is no whole checkpoint, is empty, holds a dtype that is unknown here, or its checksum is
            wrong.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        end = size - len(_SUM) - _SUM_BYTES
        file.seek(max(0, end))
        last = file.read()
        if end >= 0 and last.startswith(_SUM):
            _check_sum(file, path, end, int.from_bytes(last[len(_SUM) :], "big"))
        else:
            end = size
        file.seek(0)
        found: dict[str, Stored] = {}
        previous = ""
        for value in _Reader(file, path, end).values():
            _add(found, path, value, continues=value.name == previous)
            previous = value.name
    if not found:
        raise StateError(f"{path}: the file is empty")
    for name, tensor in found.items():
        have, need = sum(length for _, length in tensor.extents), math.prod(tensor.shape) * tensor.dtype.itemsize
        if have != need:
            raise StateError(f"{path}: {name!r} of shape {tensor.shape} needs {need} bytes, and there are {have}")
    return found


def _check_sum(file: BinaryIO, path: Path, end: int, expected: int) -> None:
    file.seek(0)
    found = 0
    while end:
        block = file.read(min(BLOCK, end))
        found, end = zlib.crc32(block, found), end - len(block)
    if found != expected:
        raise StateError(f"{path}: the file is damaged: its checksum is not the one it was written with")


def _add(found: dict[str, Stored], path: Path, value: _Value, *, continues: bool) -> None:
    if value.kind == "str":
        return
    if value.kind not in _DTYPES:
        raise StateError(f"{path}: {value.name!r} has dtype {value.kind!r}, which is unknown here")
    shape = () if value.axes == [0] else tuple(value.axes)
    dtype = dtype_of(_DTYPES[value.kind], f"{path}: {value.name!r}")
    before: tuple[tuple[int, int], ...] = ()
    if value.name in found:
        other = found[value.name]
        if not continues or (other.shape, other.dtype) != (shape, dtype):
            raise StateError(f"{path}: there are two tensors {value.name!r}; the file is damaged")
        before = other.extents
    found[value.name] = Stored(path, value.name, shape, dtype, (*before, value.extent))


def write(path: Path, tensors: Mapping[str, Tensor], progress: Progress = lambda count: None) -> None:
    """Write a file with a checksum, one tensor after the other; whoever looks finds the old file or the new one.

    Args:
        path: of the file, which is replaced as a whole.
        tensors: by name, in the order in which they shall lie; each is read when it is its turn.
        progress: called with the number of bytes of tensors that have been written since the last call.

    Raises:
        StateError: MindSpore would not read a file of this length (2 GiB or more), or does not know a dtype. Nothing
            has been written.
    """
    total = sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors.values())
    if total > _LIMIT - (1 << 20):
        raise StateError(f"MindSpore reads no .ckpt of 2 GiB or more, and this has {total} bytes; write .safetensors")
    for name, tensor in tensors.items():
        if tensor.dtype.name not in _NAMES:
            raise StateError(f"{name!r} has dtype {tensor.dtype}, which MindSpore's checkpoints do not know")
    with replacing(path) as partial, partial.open("wb") as file, flushing(file):
        found = 0

        def put(data: bytes | memoryview) -> None:
            nonlocal found
            found = zlib.crc32(data, found)
            file.write(data)

        begun, left, room = None, 0, 0
        for name, block in blocks_of_all(tensors):
            tensor, data = tensors[name], bytes_of(block)
            if name != begun:
                begun, left, room = name, math.prod(tensor.shape) * tensor.dtype.itemsize, 0
                if not left:
                    put(_head(name, tensor, 0))
            while data:
                if not room:
                    room = min(left, _PIECE)
                    put(_head(name, tensor, room))
                part = data[:room]
                put(part)
                progress(len(part))
                data, room, left = data[len(part) :], room - len(part), left - len(part)
        file.write(_SUM + found.to_bytes(_SUM_BYTES, "big"))


def _head(name: str, tensor: Tensor, length: int) -> bytes:
    """Return all of a value up to its `length` bytes of content."""
    axes = b"".join(b"\x08" + _varint(size) for size in tensor.shape)
    content = axes + _field(2, _NAMES[tensor.dtype.name].encode()) + b"\x1a" + _varint(length)
    label = _field(1, name.encode())
    inner = b"\x12" + _varint(len(content) + length) + content
    return b"\x0a" + _varint(len(label) + len(inner) + length) + label + inner


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])

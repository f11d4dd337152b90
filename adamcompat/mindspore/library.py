"""Write the shared library through which a graph of MindSpore calls Python.

MindSpore's Custom operators call functions of library files. The function here calls what its first input names, so
that the library is the same on every machine of a kind, and no compiler is needed to make it.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import mindspore
from mindspore._c_expression import typing

from adamcompat.caches import user_folder
from adamcompat.files import write_bytes

SYMBOL = "adamcompat_call"

# Python leaves one of these in the cell, which is the first input.
DONE, FAILED = 1, 2


class Machine(NamedTuple):
    """Hold the functions of the library for a kind of machine.

    Attributes:
        number: ELF's number of the kind, which has 64 bits and puts the lowest byte first.
        call: the code, in hexadecimal, of the function that calls Python.
        shape: that of one that returns the shape of the result of `call`, a number: a vector without elements.
        dtype: that of one that returns MindSpore's number of float32; the instruction for it goes in the place of
            ``{}``.
    """

    number: int
    call: str
    shape: str
    dtype: str

    def functions(self) -> dict[str, bytes]:
        """Return the functions by the names under which MindSpore asks for them."""
        number = int(typing.type_to_type_id(mindspore.float32))
        codes = {"": self.call, "InferShape": self.shape, "InferType": self.dtype.format(self.returned(number))}
        return {SYMBOL + name: bytes.fromhex(code) for name, code in codes.items()}

    def returned(self, number: int) -> str:
        """Return the instruction that makes a small number the result of a function, in hexadecimal."""
        if self.number == _X86_64:
            return struct.pack("<BI", 0xB8, number).hex()
        return struct.pack("<I", 0x52800000 | number << 5).hex()


_X86_64 = 62
# `call` as LLVM compiles it from this C. Python's main thread often runs a graph itself, and the handler of a signal
# could raise before the first line of what is called there; so it is called in a thread of its own. Where somebody runs
# a graph and holds the lock of the interpreter, that thread would wait forever.
#
#     struct arguments { int64_t count; void **inputs; };
#     struct cell {
#         void *(*python)(struct arguments *);
#         int64_t state;
#         int (*create)(pthread_t *, void *, void *, void *), (*join)(pthread_t, void *), (*holds_lock)(void);
#     };
#     int call(int count, void **inputs) {
#         struct arguments arguments = {count, inputs};
#         volatile struct cell *cell = inputs[0];
#         pthread_t thread;
#         cell->state = 0;
#         if (cell->holds_lock() || cell->create(&thread, NULL, cell->python, &arguments))
#             cell->python(&arguments);
#         else
#             cell->join(thread, NULL);
#         return cell->state - 1;
#     }
_MACHINES = {
    "x86_64": Machine(
        _X86_64,
        "4156534883ec184863c7488944240848897424104c8b36498b1e49c746080000000041ff562085c075154889e7488d4c240831f64889da"
        "41ff561085c07415488d7c2408ffd3498b4608ffc84883c4185b415ec3488b3c2431f641ff5618ebe6",
        # mov rax, rdi; xor edx, edx; mov [rdi], rdx; mov [rdi + 8], rdx; mov [rdi + 16], rdx; ret
        "4889f8 31d2 488917 48895708 48895710 c3",
        "{} c3",
    ),
    "aarch64": Machine(
        183,
        "ffc300d1087c4093fe0b00f9f44f02a9e80300f9e10700f9340040f9930240f99f0600f9881240f900013fd600010035880a40f9e06300"
        "91e3030091e1031faae20313aa00013fd620010034e003009160023fd6880640f9f44f42a9fe0b40f900050051ffc30091c0035fd6880e"
        "40f9e00f40f9e1031faa00013fd6f6ffff17",
        # stp xzr, xzr, [x8]; str xzr, [x8, 16]; ret
        "1f7d00a9 1f0900f9 c0035fd6",
        "{} c0035fd6",
    ),
}
# No page of either machine is larger: segments with other rights must not share one.
_PAGE = 0x10000
_HEADER, _SEGMENT, _SYMBOL = 64, 56, 24
# The dynamic section names these: hash table, strings, symbols, the size of the strings and of a symbol.
_HASH, _STRINGS, _SYMBOLS, _STRINGS_SIZE, _SYMBOL_SIZE = 4, 5, 6, 10, 11


def content(machine: int, functions: Mapping[str, bytes]) -> bytes:
    """Return a shared library for Linux.

    Args:
        machine: ELF's number of the kind of machine, which has 64 bits and puts the lowest byte first.
        functions: their code by their names. It must run at any address.
    """
    count = len(functions)
    # One chain for all names: each leads to the next, and the last to none.
    table = struct.pack(f"<{count + 4}I", 1, count + 1, 1, 0, *range(2, count + 1), 0)
    at_table = _HEADER + 4 * _SEGMENT
    at_symbols = _aligned(at_table + len(table), 8)
    at_strings = at_symbols + (count + 1) * _SYMBOL
    strings, symbols, code = b"\0", bytes(_SYMBOL), b""
    at_code = _aligned(at_strings + 1 + sum(len(name) + 1 for name in functions), 16)
    for name, function in functions.items():
        # A global function; any number of a section but 0 says that it is defined here.
        symbols += struct.pack("<IBBHQQ", len(strings), 0x12, 0, 1, at_code + len(code), len(function))
        strings += name.encode() + b"\0"
        code += function.ljust(_aligned(len(function), 16), b"\0")
    at_dynamic = at_code + len(code)
    entries = {
        _HASH: at_table,
        _STRINGS: at_strings,
        _SYMBOLS: at_symbols,
        _STRINGS_SIZE: len(strings),
        _SYMBOL_SIZE: _SYMBOL,
    }
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries.items()) + bytes(16)
    # Version 1 of ELF with 64 bits; a shared object without sections, whose segments follow its header.
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, _HEADER, 0, 0, _HEADER, _SEGMENT, 4, 0, 0, 0)
    # The loader writes into the dynamic section; nothing that can be written to can be run.
    segments = _segment(1, 5, 0, 0, at_dynamic, _PAGE)
    for kind, alignment in ((1, _PAGE), (2, 8)):
        segments += _segment(kind, 6, at_dynamic, _PAGE + at_dynamic, len(dynamic), alignment)
    segments += _segment(0x6474E551, 6, 0, 0, 0, 16)
    parts = {0: header + segments, at_table: table, at_symbols: symbols + strings, at_code: code, at_dynamic: dynamic}
    found = bytearray(at_dynamic + len(dynamic))
    for start, part in parts.items():
        found[start : start + len(part)] = part
    return bytes(found)


def _aligned(place: int, size: int) -> int:
    return -(-place // size) * size


def _segment(kind: int, rights: int, start: int, address: int, size: int, alignment: int) -> bytes:
    """Return the entry of a segment: from which place of the file it goes to which address, with which rights."""
    return struct.pack("<IIQQQQQQ", kind, rights, start, address, address, size, size, alignment)


class Library:
    """Keep the file of the library, in the user's folder of caches or in one of this process."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._refused = False

    def path(self) -> Path | None:
        """Return where the library is; None where this machine cannot load it, or no folder can hold it."""
        if platform.system() != "Linux" or platform.machine() not in _MACHINES:
            return None
        if self._refused or (self._path is not None and self._path.is_file()):
            return self._path
        machine = _MACHINES[platform.machine()]
        whole = content(machine.number, machine.functions())
        # Operators that were made before name the file by its path.
        for folder in self._folders() if self._path is None else [self._path.parent]:
            if ":" in str(folder) or not str(folder).isprintable():
                # MindSpore takes the part behind a colon for the function's name, and only paths that are UTF-8.
                continue
            # A disk may be full, or mounted so that nothing on it can be run: then the next folder is tried.
            with suppress(OSError):
                path = folder / f"call-{platform.machine()}.so"
                if not (path.is_file() and path.read_bytes() == whole):
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    write_bytes(path, whole)
                if calls(path):
                    self._path = path
                    return path
        self._path, self._refused = None, True
        return None

    def _folders(self) -> Iterator[Path]:
        user = user_folder()
        if user is not None:
            yield user / "mindspore"
        with suppress(OSError):
            own = Path(tempfile.mkdtemp(prefix="adamcompat-"))
            atexit.register(_remove, own, os.getpid())
            yield own


def _remove(folder: Path, process: int) -> None:
    """Remove a folder at the end of the process that made it, and not at that of its children."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


class Arguments(ctypes.Structure):
    """Hold the number of inputs and outputs, and where their addresses are: Python is called with it."""

    _fields_ = (("count", ctypes.c_int64), ("places", ctypes.c_void_p))


class Cell(ctypes.Structure):
    """Hold what the library and Python tell each other: the first input is one."""

    _fields_ = (
        ("python", ctypes.c_void_p),
        ("state", ctypes.c_int64),
        ("create", ctypes.c_void_p),
        ("join", ctypes.c_void_p),
        ("holds_lock", ctypes.c_void_p),
        ("number", ctypes.c_int64),
    )


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Arguments))


def cell_of(callback: Any, number: int) -> Cell:
    """Return the cell with which a function of Python is called.

    Args:
        callback: the function, under `CALLBACK`. It must leave DONE or FAILED as the cell's state.
        number: that the function finds in the cell.
    """
    threads, python = ctypes.CDLL(None), ctypes.pythonapi
    called = (callback, threads.pthread_create, threads.pthread_join, python.PyGILState_Check)
    first, *others = (ctypes.cast(function, ctypes.c_void_p).value for function in called)
    return Cell(first, 0, *others, number)


def calls(path: Path) -> bool:
    """Return whether the function of a library calls what it is told to.

    Args:
        path: of the library.

    Raises:
        OSError: it cannot be loaded.
    """
    library = ctypes.CDLL(str(path))
    function: Any = getattr(library, SYMBOL, None)
    if function is None:
        return False
    seen: list[tuple[int, int]] = []

    def python(given: Any) -> None:
        seen.append((given.contents.count, given.contents.places))
        cell.state = DONE

    callback = CALLBACK(python)
    cell = cell_of(callback, 0)
    inputs = (ctypes.c_void_p * 1)(ctypes.addressof(cell))
    function.argtypes, function.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_int
    return bool(function(3, ctypes.addressof(inputs)) == 0 and seen == [(3, ctypes.addressof(inputs))])

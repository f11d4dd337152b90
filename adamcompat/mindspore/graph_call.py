"""Call Python from a graph of MindSpore, with the memory of the graph's own Tensors.

MindSpore's operators for Python functions hand over copies. A Custom operator of a library gets the addresses of what
the graph itself reads and writes; here the library's function calls Python, in a thread
of its own.

The callback runs while the graph does, so that it must not ask MindSpore for anything: a Tensor's `data_ptr`, for one,
waits until the graph has ended.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Protocol
from weakref import WeakValueDictionary

import mindspore
import numpy as np
from mindspore import Tensor, context, ops
from mindspore.ops import functional as F  # noqa: N812 - its name everywhere
from mindspore.ops import signature
from mindspore.train import serialization
from numpy.typing import NDArray

from adamcompat.interrupts import Uninterrupted
from adamcompat.mindspore.library import CALLBACK, DONE, FAILED, SYMBOL, Cell, Library, cell_of

_library = Library()
_READ = signature.make_sig("read", signature.sig_rw.RW_READ)
_WRITE = signature.make_sig("written", signature.sig_rw.RW_WRITE)


class Called(Protocol):
    """Name what a graph calls."""

    def ready(self) -> bool:
        """Return whether a graph that is compiled now may call it.

        Raises:
            ValueError: the number of threads asked for, or the state of the optimizer, makes no sense.
        """

    def __call__(self, addresses: NDArray[np.int64]) -> None:
        """Make a step in the memory at these addresses, one for each input of the operator after its first."""


_known: WeakValueDictionary[int, Called] = WeakValueDictionary()
_numbers = itertools.count(1)


@CALLBACK  # type: ignore[untyped-decorator]
def _run(given: Any) -> None:
    """Make the step that the first input names, and leave in its cell whether it is done.

    Args:
        given: how many inputs and outputs there are, and where their addresses are.
    """
    count, places = given.contents.count, given.contents.places
    addresses = np.frombuffer((ctypes.c_int64 * count).from_address(places), np.int64)
    cell = Cell.from_address(int(addresses[0]))
    try:
        # It matters only where the library calls in the thread of somebody who holds the interpreter's lock.
        with Uninterrupted():
            _known[cell.number](addresses[1:-1])
            cell.state = DONE
    except BaseException as error:
        if cell.state != DONE:
            cell.state = FAILED
            # MindSpore's own exception knows a number only.
            with suppress(Exception):
                sys.stderr.write(f"adamcompat: a step failed in a graph: {type(error).__name__}: {error}\n")


class GraphCall:
    """Make the operator through which a graph calls something.

    Args:
        called: the operator holds it.
        read: how many inputs of the operator are read before those that are written.
        written: how many are written: Parameters.
        read_then: how many are read after these.

    Attributes:
        number: of what is called, for `may_call`.
        operator: takes `cell` and then all inputs; what it returns says only that the call is over.
        cell: see `library.Cell`.
    """

    def __init__(self, called: Called, read: int, written: int, read_then: int) -> None:
        self.number = next(_numbers)
        _known[self.number] = called
        self.cell = Tensor(np.frombuffer(bytes(cell_of(_run, self.number)), np.int64).copy())
        path = _library.path()
        # MindSpore compiles a part of a graph again when it knows the types in it, and then asks the library for them.
        self.operator = ops.Custom(f"{path}:{SYMBOL}", out_shape=[1], out_dtype=mindspore.float32, func_type="aot")
        for name, value in {
            "side_effect_mem": True,
            "cpp_infer_shape": True,
            "cpp_infer_type": True,
            "reg_op_name": SYMBOL,
        }.items():
            self.operator.add_prim_attr(name, value)
        # A graph may outlive its optimizer: it holds its operators.
        self.operator.adamcompat_called = called
        # As in MindSpore's own optimizers: a graph keeps the order of all that reads or writes these.
        self.operator.set_signatures((_READ,) * (1 + read) + (_WRITE,) * written + (_READ,) * read_then)


def graph_call(called: Called, read: int, written: int, read_then: int) -> GraphCall | None:
    """Return the operator through which a graph calls something, or None where graphs cannot; see `GraphCall`.

    Args:
        called: the operator holds it.
        read: how many inputs of the operator are read before those that are written.
        written: how many are written: Parameters.
        read_then: how many are read after these.
    """
    if _library.path() is None:
        return None
    try:
        return GraphCall(called, read, written, read_then)
    except TypeError:
        # MS_CUSTOM_AOT_WHITE_LIST names another folder.
        return None


@ops.constexpr(check=False)  # type: ignore[untyped-decorator]
def may_call(number: int) -> bool:
    """Return whether the graph that is being compiled may call something; MindSpore asks while it compiles.

    Args:
        number: of a `GraphCall`; 0 stands for none.

    Raises:
        ValueError: as `Called.ready`.
    """
    called = _known.get(number)
    return called is not None and _in_this_process() and _library.path() is not None and called.ready()


def are_dense(given: Any, dtypes: Any) -> Any:
    """Return whether inputs are dense Tensors of some dtypes, in the Python that MindSpore's compiler understands.

    Args:
        given: the tuple of inputs. An input that Python computes in the graph has no type before the graph runs.
        dtypes: a regular expression for the name of each dtype.
    """
    types = F.typeof(given)
    if F.isconstant(types):
        return _have_types(types, dtypes)
    return False


@ops.constexpr(check=False)  # type: ignore[untyped-decorator]
def _have_types(types: Any, dtypes: str) -> bool:
    # As MindSpore writes the type of a tuple: equal types that follow one another are counted.
    one = rf"(Ref\[)?Tensor\[({dtypes})\]\]?(\*\d+)?"
    return re.fullmatch(rf"Tuple\[{one}(, ?{one})*\]", str(types)) is not None


def _in_this_process() -> bool:
    """Return whether a graph runs in this process, in its memory, and is not kept for another one."""
    kept = (
        context.get_context("enable_compile_cache")
        or os.environ.get("MS_COMPILER_CACHE_ENABLE") == "1"
        or _is_exported()
    )
    parallel = context.get_auto_parallel_context("parallel_mode")
    return (
        not kept
        and context.get_context("device_target") == "CPU"
        and parallel in (context.ParallelMode.STAND_ALONE, context.ParallelMode.DATA_PARALLEL)
    )


def _is_exported() -> bool:
    """Return whether the graph that is being compiled is for a file; MindSpore says so nowhere else."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == serialization.__name__ and "export" in frame.f_code.co_name:
            return True
        frame = frame.f_back
    return False


def numbers_at(addresses: Sequence[int]) -> list[float]:
    """Return the float32 numbers at some addresses."""
    return [ctypes.c_float.from_address(address).value for address in addresses]

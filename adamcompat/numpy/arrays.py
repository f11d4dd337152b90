"""Arrays as parameters and gradients: which are accepted, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

DTYPES = tuple(np.dtype(kind) for kind in (np.float16, np.float32, np.float64))


class Parameter:
    """An array with a name, to be updated in place.

    Args:
        data: a writable float16, float32 or float64 array. It is referenced, not copied.
        name: what name filters look at, for example ``"dense.weight"``.

    Raises:
        TypeError: `data` is not an array, or its dtype is not supported.
        ValueError: `data` is read-only or overlaps itself.

    Attributes:
        grad: the gradient, which PyTorch's calling convention looks for here; None where there is none.

    >>> weight = np.zeros((2, 2), np.float32)
    >>> parameter = Parameter(weight, name="dense.weight")
    >>> parameter.name, parameter.shape, parameter.data is weight
    ('dense.weight', (2, 2), True)
    """

    __slots__ = ("_data", "grad", "name")

    # How often a Parameter was given another array: optimizers look at theirs again when this has changed.
    assignments: ClassVar[int] = 0

    def __init__(self, data: Array, name: str | None = None) -> None:
        check_parameter(data, repr(name) if name else "the array")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"a parameter's name must be text, got {type(name).__name__}")
        self._data = data
        self.name = name
        self.grad: Array | RowSparse | None = None

    @property
    def data(self) -> Array:
        """The array. Optimizers follow when another one of its shape and dtype is assigned."""
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        check_parameter(value, repr(self.name) if self.name else "the array")
        self._data = value
        Parameter.assignments += 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array."""
        return self.data.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the array itself, or a copy where `dtype` or `copy` asks for one."""
        if copy:
            return np.array(self.data, dtype=dtype)
        return np.asarray(self.data, dtype=dtype)

    def __repr__(self) -> str:
        return f"Parameter(name={self.name!r}, shape={self.shape}, dtype={self.dtype})"


Variable: TypeAlias = Array | Parameter


class RowSparse:
    """A gradient that holds some rows only; the others are zero.

    Repeated rows add up. With the hyperparameter `use_lazy` of MindSpore's style, rows that are not
    listed keep their values and moments; otherwise they see a gradient of zero.

    Args:
        indices: row numbers, one-dimensional integers of at least 0; repetition is allowed.
        values: one row for each index: ``values.shape[0] == len(indices)``.

    Raises:
        TypeError: `indices` are not integers, or `values` not real numbers.
        ValueError: `indices` is not one-dimensional or the lengths differ.

    >>> gradient = RowSparse([2, 0, 2], np.ones((3, 4), np.float32))
    >>> gradient.dense((5, 4))[:, 0]
    array([1., 0., 2., 0., 0.], dtype=float32)
    """

    __slots__ = ("indices", "values")

    def __init__(self, indices: ArrayLike, values: ArrayLike) -> None:
        rows, data = np.asarray(indices), real_array(values, "RowSparse values")
        if rows.size == 0:
            rows = rows.astype(np.intp)
        if rows.dtype.kind not in "iu":
            raise TypeError(f"RowSparse indices must be whole numbers, got dtype {rows.dtype}")
        if rows.ndim != 1 or data.ndim < 1 or len(data) != len(rows):
            raise ValueError(
                f"RowSparse needs one row of values for each index; got indices of shape {rows.shape} "
                f"and values of shape {data.shape}"
            )
        self.indices = rows.astype(np.intp)
        self.values = data

    def merged(self, shape: tuple[int, ...], name: str, dtype: np.dtype[Any]) -> tuple[NDArray[np.intp], Array]:
        """Return each row number once, sorted, and the sum of its rows.

        Args:
            shape: of the parameter that the gradient belongs to.
            name: of that parameter, for errors.
            dtype: in which rows are added up, in the order in which they were given.

        Returns:
            The row numbers, and the sums, of shape ``(number of rows, *shape[1:])`` and dtype `dtype`.

        Raises:
            ValueError: rows have another shape than the parameter's, or the parameter lacks one of the row numbers.
        """
        if not shape or self.values.shape[1:] != shape[1:]:
            raise ValueError(
                f"the gradient of {name} has rows of shape {self.values.shape[1:]}, but the parameter has "
                f"shape {shape}; give values of shape {(len(self.indices), *shape[1:])}"
            )
        if self.indices.size and (self.indices.min() < 0 or self.indices.max() >= shape[0]):
            bad = self.indices.min() if self.indices.min() < 0 else self.indices.max()
            raise ValueError(f"the gradient of {name} names row {bad}, but rows run from 0 to {shape[0] - 1}")
        unique, inverse = np.unique(self.indices, return_inverse=True)
        values = self.values.astype(dtype, copy=False)
        if len(unique) == len(self.indices):
            return unique, values[np.argsort(self.indices)]
        sums = np.zeros((len(unique), *shape[1:]), dtype)
        with np.errstate(all="ignore"):
            np.add.at(sums, inverse.reshape(-1), values)
        return unique, sums

    def dense(self, shape: tuple[int, ...]) -> Array:
        """Return the gradient as an array of `shape`, of the dtype of its values.

        Raises:
            ValueError: rows have another shape, or `shape` has fewer rows than a row number asks for.
        """
        indices, values = self.merged(shape, "the parameter", self.values.dtype)
        out = np.zeros(shape, self.values.dtype)
        out[indices] = values
        return out

    def __repr__(self) -> str:
        return f"RowSparse(indices of {len(self.indices)} rows, values of shape {self.values.shape})"


def real_array(value: object, what: str) -> Array:
    """Return a value as an array of real numbers of the machine's byte order; whole numbers become float64.

    Args:
        value: a float16, float32 or float64 array, an array of integers, or nested lists of such numbers.
        what: names the value in errors.

    Raises:
        TypeError: the value is None or a masked array, or holds anything else.
    """
    if value is None:
        raise TypeError(f"{what} is None; pass zeros if it has none")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{what} is a masked array; pass value.filled(0) or value.data")
    array = np.asarray(value)
    if array.dtype.kind in "iu":
        return array.astype(np.float64)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise TypeError(f"{what} must hold float16, float32 or float64 numbers, got dtype {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_parameter(array: object, name: str) -> None:
    """Refuse a parameter that cannot be updated in place.

    Args:
        array: the parameter; anything but a writable float16, float32 or float64 array is refused.
        name: names it in errors.

    Raises:
        TypeError: it is no NumPy array or a masked one, or has another dtype or byte order.
        ValueError: it is read-only, or some of its elements share memory.
    """
    if not isinstance(array, np.ndarray):
        hint = "numpy.array(value)" if isinstance(array, (np.generic, float, int, list, tuple)) else "a numpy.ndarray"
        raise TypeError(
            f"{name} must be a NumPy array, which is updated in place; got {type(array).__name__}: use {hint}"
        )
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; pass its .data")
    if array.dtype not in DTYPES:
        hint = "another byte order" if array.dtype.newbyteorder("=") in DTYPES else f"dtype {array.dtype}"
        raise TypeError(f"{name} has {hint}; expected float16, float32 or float64: convert it with .astype()")
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only and cannot be updated in place; pass a copy or set its writeable flag")
    if _overlaps_itself(array):
        raise ValueError(f"{name} has elements that share memory (strides {array.strides}); pass a copy")


def _overlaps_itself(array: Array) -> bool:
    extent = array.itemsize
    axes = sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True) if size > 1)
    for stride, size in axes:
        if stride < extent:
            return array.size > 0
        extent = stride * (size - 1) + extent
    return False


def address_of(array: Array) -> int:
    """Return the address of an array's first element."""
    address: int = array.__array_interface__["data"][0]
    return address


def bounds(array: Array) -> tuple[int, int]:
    """Return the first address of an array's memory and the one after its last; equal where it has no elements."""
    start = address_of(array)
    if array.size == 0:
        return start, start
    low = high = start
    for stride, size in zip(array.strides, array.shape, strict=True):
        if stride < 0:
            low += stride * (size - 1)
        else:
            high += stride * (size - 1)
    return low, high + array.itemsize


def identity(array: Array) -> tuple[int, tuple[int, ...], tuple[int, ...], str]:
    """Return a key that two arrays share only where they are views of the same elements, and so the same parameter."""
    return address_of(array), array.shape, array.strides, array.dtype.str


def check_apart(arrays: Sequence[Array], names: Sequence[str], error: type[Exception]) -> None:
    """Refuse parameters that share memory.

    Args:
        arrays: the parameters, of any shape and layout.
        names: what errors call each of them.
        error: the exception to raise.

    Raises:
        Exception: of the type `error`, where two parameters share an element.
    """
    spans = sorted((*bounds(array), index) for index, array in enumerate(arrays) if array.size)
    reach = 0
    open_spans: list[tuple[int, int]] = []
    for low, high, index in spans:
        if low < reach:
            for end, other in open_spans:
                if low < end and np.shares_memory(arrays[index], arrays[other]):
                    raise error(
                        f"{names[other]} and {names[index]} share memory, so one update would disturb the other; "
                        f"pass each parameter once, or copies"
                    )
            open_spans.append((high, index))
        else:
            open_spans = [(high, index)]
        reach = max(reach, high)

"""Know whether PyTorch's tensors are what and where they were, at the price of a few calls for all of them.

What PyTorch has for its compiled graphs answers fastest. Where a release of it lacks that, Python asks each tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adamcompat.executors import compiled


def same_objects(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether two lists hold the same objects; tensors are not compared by value."""
    return len(one) == len(other) and all(map(is_, one, other))


def alike(tensors: Sequence[Any]) -> Callable[..., bool]:
    """Return a function that tells whether the same number of objects look like these tensors.

    It compares types, dtypes, devices, shapes, strides, whether a gradient is required, and whether a tensor stands for
    its memory negated or for zeros without memory. It keeps no tensor. Where PyTorch has the check that its compiled
    graphs make before they run, that is one call; in Python it takes several for each tensor.

    Args:
        tensors: the known ones, of the layout `torch.strided`.

    >>> known = alike([torch.ones(2)])
    >>> known(torch.zeros(2)), known(torch.ones(3)), known(torch.ones(2, dtype=torch.int32))
    (True, False, False)
    """
    guards = _guards()
    if not hasattr(guards, "TensorGuards"):
        looks = list(map(_look, tensors))
        return lambda *others: list(map(_look, others)) == looks
    shapes, strides = [list(one.shape) for one in tensors], [list(one.stride()) for one in tensors]
    made = guards.TensorGuards(*tensors, dynamic_dims_sizes=shapes, dynamic_dims_strides=strides)
    check: Callable[..., bool] = made.check
    return check


def _look(tensor: Any) -> tuple[Any, ...]:
    if not isinstance(tensor, torch.Tensor):
        return (type(tensor),)
    if tensor.layout != torch.strided:
        return (tensor.layout,)
    kind = type(tensor), tensor.dtype, tensor.device, tensor.requires_grad
    return *kind, tensor.shape, tensor.stride(), tensor.is_neg(), torch._is_zerotensor(tensor)


def _guards() -> Any:
    """Return what PyTorch's compiled graphs check before they run."""
    return getattr(getattr(torch._C, "_dynamo", None), "guards", None)


def addresses_of(tensors: Sequence[Any]) -> NDArray[np.int64]:
    """Return the address of the first element of each tensor.

    Raises:
        RuntimeError: a tensor has none.
    """
    return np.fromiter(map(torch.Tensor.data_ptr, tensors), np.int64, len(tensors))


def ids_of(tensors: Sequence[Any]) -> NDArray[np.int64]:
    """Return the address of the object that each tensor is in Python."""
    return np.fromiter(map(id, tensors), np.int64, len(tensors))


def locator() -> Callable[[NDArray[np.int64]], NDArray[np.int64]] | None:
    """Return a function that returns for the objects of tensors what `addresses_of` returns for these, in one call.

    Where `addresses_of` would raise, the process ends. So it may be asked only of tensors that look, as `alike` finds,
    like some whose addresses are known.

    Returns:
        The function; None where there is no compiled code, or this PyTorch has no function that it can call.

    Raises:
        ValueError, ModuleNotFoundError: the environment asks for an executor that is not there.

    >>> tensor = torch.ones(2)
    >>> find = locator()
    >>> find is None or find(ids_of([tensor])).item() == tensor.data_ptr()
    True
    """
    executor, function = compiled(), getattr(_guards(), "_torchinductor_pyobject_tensor_data_ptr", None)
    if executor is None or function is None:
        return None
    locate = executor.locate

    def find(objects: NDArray[np.int64]) -> NDArray[np.int64]:
        places = np.empty(len(objects), np.int64)
        locate(function, objects, places)
        return places

    return find


class Uncopied(list[Any]):
    """Hold what stands on tensors of this process; every copy of it is empty.

    >>> import copy
    >>> copy.deepcopy(Uncopied([1]))
    []
    """

    def __reduce__(self) -> tuple[type[Uncopied], tuple[()]]:
        return Uncopied, ()


class Still:
    """Hold tensors and how they look, to compare with what they are later.

    Args:
        tensors: they are held.

    Raises:
        RuntimeError: a tensor has no address.
        ValueError, ModuleNotFoundError: the environment asks for an executor that is not there.

    >>> tensor = torch.ones(2)
    >>> still = Still([tensor])
    >>> still.unchanged()
    True
    >>> tensor.data = torch.ones(2)
    >>> still.unchanged()
    False
    """

    __slots__ = ("_alike", "_find", "_objects", "_places", "_tensors")

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._tensors = tuple(tensors)
        self._places = addresses_of(tensors)
        self._alike = alike(tensors) if tensors else None
        self._find = locator()
        self._objects = ids_of(tensors)

    def unchanged(self) -> bool:
        """Return whether all tensors look as they did, and lie where they did."""
        if self._alike is not None and not self._alike(*self._tensors):
            return False
        places = self._find(self._objects) if self._find is not None else addresses_of(self._tensors)
        return bool((places == self._places).all())

"""Convert PyTorch's tensors to NumPy's arrays and back, and read the settings of its optimizers' groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adamcompat.hyperparameters import settle_decay
from adamcompat.mapping import lens
from adamcompat.mapping.model import Dialect
from adamcompat.state.files.safetensors_file import dtype_of
from adamcompat.state.live import plain_numbers
from adamcompat.state.terms import StateError
from adamcompat.torch.arrays import number_of

Array = NDArray[Any]


def numpy_dtype(tensor: Any, where: str = "a tensor") -> np.dtype[Any]:
    """Return NumPy's dtype for that of a tensor.

    Args:
        tensor: of PyTorch.
        where: what to call the tensor in errors.

    Raises:
        StateError: NumPy has no such dtype; float8, for example.

    >>> numpy_dtype(torch.ones(2))
    dtype('float32')
    """
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        dtype = dtype_of(name, where)
        # Other libraries give NumPy further dtypes, which PyTorch's tensors do not go to.
        if dtype.isbuiltin != 1 and name != "bfloat16":
            raise TypeError(name)
        return dtype
    except TypeError:
        raise StateError(f"{where} has dtype {name}, which NumPy does not have") from None


def array_of(tensor: Any, where: str = "a tensor") -> Array:
    """Return the elements of a tensor; where it lies in main memory, they share it.

    Args:
        tensor: of PyTorch, on any device.
        where: what to call the tensor in errors.

    Raises:
        StateError: the tensor cannot be read as an array.

    >>> array_of(torch.ones(2, requires_grad=True))
    array([1., 1.], dtype=float32)
    """
    dtype = numpy_dtype(tensor, where)
    try:
        plain = tensor.detach().cpu()
        if tensor.dtype == torch.bfloat16:
            return np.asarray(plain.contiguous().view(torch.int16).numpy()).view(dtype)
        return np.asarray(plain.numpy())
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise StateError(f"{where} ({type(tensor).__name__}) cannot be read as an array: {error}") from None


def tensor_of(array: Array) -> Any:
    """Return a tensor with an array's elements.

    Args:
        array: of numbers; its memory is not shared.

    >>> tensor_of(np.ones(2, np.float32))
    tensor([1., 1.])
    """
    copy = np.array(array, order="C")
    if copy.dtype.name == "bfloat16":
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


def settings(groups: Sequence[Mapping[str, Any]], dialect: Dialect) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the hyperparameters that all groups share, and those in which they differ.

    Args:
        groups: of an optimizer, or as its `state_dict()` has them.
        dialect: whose names the groups have.

    Returns:
        Canonical names to numbers and truth values; and the canonical names of those that are not the same everywhere.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> group = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.0}
    >>> settings([group, group | {"lr": 0.2}], MAPPING.dialects["torch"])
    ({'beta1': 0.9, 'beta2': 0.99, 'l2_weight_decay': 0.0}, ('learning_rate',))
    """
    return shared([_of_group(group, dialect) for group in groups])


def shared(each: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values that are the same in several groups, and the names of those that are not.

    Args:
        each: canonical names to values, for each group.

    >>> shared([{"a": 1, "b": 2}, {"a": 1, "b": 3}])
    ({'a': 1}, ('b',))
    """
    names = dict.fromkeys(name for values in each for name in values)
    differing = tuple(name for name in names if any(values.get(name) != each[0].get(name) for values in each))
    return {name: each[0][name] for name in names if name not in differing}, differing


def _of_group(group: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    native = {
        fact.name: lens.each(fact, group[fact.name], number_of)
        for fact in dialect.accepted
        if fact.name in group and fact.name != _parameters(dialect)
    }
    values = lens.to_canonical(dialect, native)
    settle_decay(values, {})
    return plain_numbers(values)


def _parameters(dialect: Dialect) -> str:
    fact = dialect.named("parameters")
    assert fact is not None
    return fact.name


def members(groups: Sequence[Mapping[str, Any]], dialect: Dialect) -> list[Any]:
    """Return what stands for the parameters of all groups, in order: tensors, or their positions in a file.

    Args:
        groups: of an optimizer, or as its `state_dict()` has them.
        dialect: whose names the groups have.
    """
    return [one for group in groups for one in group[_parameters(dialect)]]


def given_names(groups: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Return the names of all parameters, where the optimizer was made with named ones; else None.

    Args:
        groups: of an optimizer, or as its `state_dict()` has them.
    """
    named = [group.get("param_names") for group in groups]
    if any(names is None for names in named):
        return None
    return [str(name) for names in named for name in names or ()]

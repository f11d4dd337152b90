"""Take PyTorch's tensors in main memory as NumPy arrays over the same memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adamcompat.numpy.arrays import RowSparse

Array = NDArray[Any]

# What can be updated; bfloat16 is updated in copies of float32, for NumPy does not have it.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# torch.compile leaves a function of these out of what it traces; PyTorch's own optimizers are decorated so, too.
untraced: Any = getattr(torch, "_disable_dynamo", torch.compiler.disable)


def in_memory(tensor: Any) -> bool:
    """Return whether the shared kernel can update a parameter where it lies.

    >>> in_memory(torch.ones(2)), in_memory(torch.ones(2, device="meta"))
    (True, False)
    """
    return bool(tensor.device.type == "cpu" and tensor.layout == torch.strided)


def check_parameter(tensor: Any, error: type[Exception]) -> None:
    """Refuse a parameter that no step can update.

    Args:
        tensor: of PyTorch; anything but float16, bfloat16, float32 and float64 is refused.
        error: the exception to raise.

    Raises:
        Exception: of the type `error`, where the tensor is complex or holds no floating-point numbers.
    """
    if tensor.dtype.is_complex:
        raise error(f"a parameter of {tensor.dtype} is not updated here; pass torch.view_as_real(parameter)")
    if tensor.dtype not in FLOATS:
        raise error(f"a parameter must hold float16, bfloat16, float32 or float64 numbers, got {tensor.dtype}")


def check_memory(gradients: Sequence[Any]) -> None:
    """Refuse gradients of which nothing is there to read: NumPy would make up their numbers.

    Args:
        gradients: tensors; anything else is somebody else's to refuse.

    Raises:
        RuntimeError: the storage of one was resized to nothing, or it stands for zeros without memory.
    """
    for one in gradients:
        if isinstance(one, torch.Tensor) and in_memory(one) and one.numel() and not one.data_ptr():
            raise RuntimeError(f"a gradient of shape {tuple(one.shape)} has no memory; compute it anew, or clone it")


def turned(tensor: Any, like: Any = None) -> Any:
    """Return a tensor with its axes in the order in which the elements of another one lie in memory.

    A channels_last tensor becomes a contiguous one so, which one pass updates. The first axis stays where it is, or
    nothing is done.

    Args:
        tensor: a tensor of PyTorch.
        like: the other one, of the same shape; left out, the tensor itself.

    >>> turned(torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)).is_contiguous()
    True
    """
    like = tensor if like is None else like
    if like.is_contiguous():
        return tensor
    order = sorted(range(like.ndim), key=lambda axis: (-like.stride(axis), axis))
    return tensor.permute(order) if order[0] == 0 else tensor


class _Memory:
    """Let NumPy make an array over the memory of a tensor; `Tensor.numpy` would forbid its storage to be resized.

    Args:
        tensor: in main memory, of one of NumPy's dtypes. It is held, and so is its memory until somebody resizes it.
    """

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(tensor.shape),
            "typestr": np.dtype(str(tensor.dtype).removeprefix("torch.")).str,
            "data": (tensor.data_ptr(), False),
            "strides": tuple(stride * tensor.element_size() for stride in tensor.stride()),
        }


def view_of(tensor: Any) -> Array:
    """Return an array over the memory of a tensor in main memory; for the order of its axes see `turned`.

    Raises:
        RuntimeError: it stands for its memory negated, or has none.
    """
    plain = turned(tensor.detach())
    if plain.is_neg() or not plain.numel():
        array: Array = plain.numpy()
        return array
    if not plain.data_ptr():
        raise RuntimeError(f"a tensor of shape {tuple(plain.shape)} has no memory; give its storage its size back")
    return np.asarray(_Memory(plain))


def gradient_of(gradient: Any, like: Any) -> Any:
    """Return a gradient as an array with its axes as `view_of` has its parameter's, or as `RowSparse`.

    Args:
        gradient: a tensor on any device, of any layout.
        like: the parameter that it belongs to.

    Raises:
        TypeError: it is complex, or no tensor.
        ValueError: it has another shape than its parameter.

    >>> gradient_of(torch.ones(2, dtype=torch.bfloat16), torch.ones(2))
    array([1., 1.], dtype=float32)
    """
    if not isinstance(gradient, torch.Tensor) or gradient.dtype.is_complex:
        raise TypeError(f"a gradient must be a tensor of real numbers, got {_kind(gradient)}")
    if gradient.shape != like.shape:
        raise ValueError(f"a gradient has shape {tuple(gradient.shape)}, but its parameter {tuple(like.shape)}")
    plain = gradient.detach()
    if plain.layout == torch.sparse_coo and plain.sparse_dim() == 1 and like.is_contiguous():
        rows = plain.coalesce()
        return RowSparse(rows.indices()[0].cpu().numpy(), _readable(rows.values()).numpy())
    return turned(_readable(plain.to_dense() if plain.layout != torch.strided else plain), like).numpy()


def _kind(value: Any) -> str:
    return str(value.dtype) if isinstance(value, torch.Tensor) else type(value).__name__


def _readable(tensor: Any) -> Any:
    """Return a tensor that NumPy can read: in main memory, of one of NumPy's dtypes, with conjugation and sign done."""
    plain = tensor.cpu().resolve_conj().resolve_neg()
    return plain.float() if plain.dtype == torch.bfloat16 else plain


def zeros_like(tensor: Any) -> Any:
    """Return zeros of a tensor's shape, dtype and device, with the same order of elements in memory."""
    return torch.zeros_like(tensor.detach(), memory_format=torch.preserve_format)


def number_of(value: Any) -> Any:
    """Return the number in a tensor of one element; return anything else as it is."""
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


def steps_of(value: Any) -> int:
    """Return a number of steps as an int; PyTorch keeps it as a tensor of one element or as a number.

    Raises:
        ValueError: it is no whole number of at least 0.
    """
    number = np.asarray(number_of(value)).item()
    if not (0 <= number < np.inf and number == int(number)):
        raise ValueError(f"a number of steps must be a whole number of at least 0, got {number}")
    return int(number)

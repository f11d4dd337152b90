"""Provide TensorFlow's, MindSpore's and PyTorch's calls of Adam on NumPy arrays."""

from adamcompat.numpy import adapters
from adamcompat.numpy.adapters import *  # noqa: F403
from adamcompat.numpy.arrays import Parameter, RowSparse

__all__ = ["Parameter", "RowSparse"]
__all__ += adapters.__all__

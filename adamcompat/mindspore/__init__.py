"""Provide Adam for MindSpore: drop-ins that keep its state and checkpoints, and the calls of Keras and PyTorch."""

from adamcompat.mindspore import requirements  # noqa: F401, I001 - says what is missing before it fails
from adamcompat.mindspore import adapters
from adamcompat.mindspore.adapters import *  # noqa: F403

__all__ = [*adapters.__all__]

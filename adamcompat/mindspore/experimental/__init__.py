"""Drop-ins for mindspore.experimental.optim: PyTorch's signature, as MindSpore has it."""

from adamcompat.mindspore.experimental import adapters
from adamcompat.mindspore.experimental.adapters import *  # noqa: F403

__all__ = [*adapters.__all__]

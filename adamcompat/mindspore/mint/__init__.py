"""Drop-ins for mindspore.mint.optim, which update on a CPU, too."""

from adamcompat.mindspore.mint import adapters
from adamcompat.mindspore.mint.adapters import *  # noqa: F403

__all__ = [*adapters.__all__]

"""Any framework's Adam on PyTorch's tensors: optimizers of PyTorch, and drop-ins for its own."""

from importlib.util import find_spec

from adamcompat.extras import how_to_install

if find_spec("torch") is None:
    raise ModuleNotFoundError(f"this needs PyTorch, which is not installed: {how_to_install('torch')}", name="torch")

from adamcompat.torch import adapters
from adamcompat.torch.adapters import *  # noqa: F403

__all__ = [*adapters.__all__]

"""Say what PyTorch's part of each tool needs; there are no classes of ours for its tensors yet."""

from importlib.util import find_spec

from adamcompat.extras import how_to_install

if find_spec("torch") is None:
    raise ModuleNotFoundError(f"this needs PyTorch, which is not installed: {how_to_install('torch')}", name="torch")

"""Check what this folder needs, with an error that says what to install."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from adamcompat.extras import how_to_install

for _name, _title in (("mindspore", "MindSpore"), ("numba", "Numba")):
    if find_spec(_name) is None:
        raise ModuleNotFoundError(f"adamcompat.mindspore needs {_title}: {how_to_install('mindspore')}", name=_name)
if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
    raise ImportError(
        f"MindSpore is compiled against NumPy 1 and crashes with NumPy {np.__version__}: pip install 'numpy<2'"
    )

import mindspore as ms  # noqa: E402 - it may crash the process before this line

from adamcompat.mapping.model import release  # noqa: E402

# MindSpore 2.7.0 does not say where the values of a new tensor lie.
if release(ms.__version__) < (2, 7, 1):
    raise ImportError(
        f"adamcompat.mindspore needs MindSpore 2.7.1 or newer, and this is {ms.__version__}: "
        f"pip install 'mindspore>=2.7.1' 'numpy<2'"
    )

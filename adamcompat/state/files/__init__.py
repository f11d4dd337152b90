"""Read Adam's state from files tensor by tensor, and write it to files as a whole or not at all.

>>> import os, tempfile
>>> import numpy as np
>>> from adamcompat.state import AdamState
>>> from adamcompat.state.files import read, write
>>> moments = {"weight": np.ones(3, np.float32)}
>>> with tempfile.TemporaryDirectory() as folder:
...     path = os.path.join(folder, "state.safetensors")
...     write(path, AdamState(step=7, first_moment=moments, second_moment=moments))
...     read(path)
AdamState(step 7, 1 parameter, 3 elements, float32)
"""

from adamcompat.state.files.convert import Conversion, convert
from adamcompat.state.files.formats import Document, open_document, read, write

__all__ = ["Conversion", "Document", "convert", "open_document", "read", "write"]

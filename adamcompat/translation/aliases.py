"""Read a user's own file of aliases: classes of other libraries, as dialects that are known here or extend one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from adamcompat.extras import how_to_install
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.names import Catalogue


def load(path: str | Path) -> Catalogue:
    """Return the classes that are known with a file of aliases.

    Args:
        path: the file; docs/translate.md shows one.

    Raises:
        ValueError: with file and line, for a mistake in it; a file that cannot be read.
        ModuleNotFoundError: PyYAML is missing.
    """
    if find_spec("yaml") is None:
        raise ModuleNotFoundError(f"aliases need PyYAML: {how_to_install('aliases')}", name="yaml")
    from adamcompat.mapping.loader import extend

    try:
        return Catalogue(extend(path, MAPPING))
    except OSError as problem:
        raise ValueError(f"{path}: {problem.strerror or problem}") from None

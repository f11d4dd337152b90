"""Read a user's own file of aliases: classes of other libraries, as known dialects or as ones that extend them."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from adamcompat.extras import how_to_install
from adamcompat.kinds import path_of
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.names import KNOWN, Catalogue


def known(aliases: str | Path | None) -> Catalogue:
    """Return the classes that are known, those of a file of aliases among them.

    Args:
        aliases: the file, of which docs/translate.md shows one; None means no more classes than adamcompat's mapping.

    Raises:
        TypeError: `aliases` is no path.
        ValueError: the file has a mistake, of which the text names file and line; or it cannot be read.
        ModuleNotFoundError: PyYAML is missing.

    >>> "keras.optimizers.Adam" in known(None).classes
    True
    """
    if aliases is None:
        return KNOWN
    path = path_of(aliases, "aliases")
    try:
        status = path.stat()
        return _read(path, status.st_mtime_ns, status.st_size)
    except OSError as problem:
        raise ValueError(f"{aliases}: {problem.strerror or problem}") from None


@lru_cache(maxsize=4)
def _read(path: Path, *state: int) -> Catalogue:
    """Read a file, once for each state that it is in.

    Args:
        path: the file.
        state: numbers that differ once the file has changed.
    """
    if find_spec("yaml") is None:
        raise ModuleNotFoundError(f"aliases need PyYAML: {how_to_install('aliases')}", name="yaml")
    from adamcompat.mapping.loader import extend

    return Catalogue(extend(path, MAPPING))

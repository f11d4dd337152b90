"""Keep what Numba compiles in the user's folder of caches, so that no later process compiles it again.

A file holds one function for one list of types. Its name follows from all that its code depends on, and it appears as a
whole: processes of any version may read and write at once. Numba's own cache counts its files in an index, and of two
processes that write it at once one may find the other's function under its number. It also keeps code beside the
package, where a user often may not write, and imports all that could be needed to compile before it loads anything.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from adamcompat.caches import disk_errors_ignored, user_folder
from adamcompat.mapping.model import release

# Code of so many versions, or of changed sources, is kept: that which was used last.
VERSIONS = 8
_SUM = hashlib.sha256().digest_size
# What a user may ask of Numba that makes other code of the same function: slower, larger, or with other sums.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "USING_SVML")
# The newest Numba of which it is known that code can be loaded without all that could be needed to compile.
_KNOWN = (0, 68)


def folders() -> list[Path]:
    """Return where code may lie, in the order in which it is looked for.

    That is the folder that NUMBA_CACHE_DIR names, where it is set; the user's; and, for whoever cannot write there, one
    beside the package's own compiled modules.
    """
    given = numba.config.CACHE_DIR
    beside = Path(__file__).parent / "__pycache__"
    found = [Path(given) / "adamcompat" if given else None, user_folder(), beside]
    return [folder for folder in found if folder is not None]


class Stored:
    """Load and save the code of one function: Numba asks for it before it compiles, and gives it afterwards.

    Args:
        name: of the function.
        version: a hash of the sources that are compiled, and of all else that the code follows from except the types
            of arguments and the processor.
    """

    def __init__(self, name: str, version: str) -> None:
        self._name, self._version = name, version

    @property
    def cache_path(self) -> str:
        """Return the first folder, for Numba's statistics."""
        return str(folders()[0])

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the code for some types, or None where there is none that can be used.

        Args:
            signature: the types of the arguments.
            context: Numba's own, of the processor.
        """
        depends = self._depends(signature, context)
        for path in self._paths(depends):
            found = _load_or_none(path, depends, context)
            if found is not None:
                return found
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep code in the first folder that can be written to; where there is none, the next process compiles again.

        Args:
            signature: the types of the arguments.
            compiled: what Numba has compiled for them.
        """
        if compiled.library.has_dynamic_globals:
            # Addresses of this process.
            return
        # It takes longer to import than all that is needed to load code.
        from adamcompat.files import write_bytes

        depends = self._depends(signature, compiled.target_context)
        content = dumps((depends, compiled._reduce()))
        for path in self._paths(depends):
            with disk_errors_ignored():
                new = not path.parent.exists()
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_bytes(path, hashlib.sha256(content).digest() + content)
                if new:
                    _forget_old(path.parent.parent)
                return

    def flush(self) -> None:
        """Forget nothing: Numba calls this for a function that is compiled anew, whose code would be the same."""

    def _depends(self, signature: Any, context: Any) -> tuple[Any, ...]:
        """Return all that the code follows from.

        That is the function, the types of its arguments, Numba's settings, and the triple, the name and the features of
        the processor.
        """
        settings = tuple([str(getattr(numba.config, name, None)) for name in _SETTINGS])
        return self._name, self._version, tuple(map(str, signature)), settings, context.codegen().magic_tuple()

    def _paths(self, depends: tuple[Any, ...]) -> Iterator[Path]:
        file = f"{self._name}-{hashlib.sha256(repr(depends).encode()).hexdigest()[:32]}.bin"
        for folder in folders():
            yield folder / f"numba-{self._version[:16]}" / file


def _load_or_none(path: Path, depends: tuple[Any, ...], context: Any) -> Any:
    """Return the code in a file, or None where it is not all there or is no such code.

    What another wrote, or what a disk did to it, is no reason for a step to fail: Numba compiles then.

    Raises:
        Exception: what another thread, or the handler of a signal, has raised in the meantime. An error of the system's
            is taken for the disk's.
    """
    try:
        return _load(path, depends, context)
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            return None
        raised = error
    try:
        if _load(path, depends, context) is None:
            return None
    except Exception:
        return None
    # A file that is wrong would be so again.
    raise raised


def _load(path: Path, depends: tuple[Any, ...], context: Any) -> Any:
    # Whoever reads a FIFO waits for its other end, and what a device holds may have no end.
    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[_SUM:]).digest() != content[:_SUM]:
        return None
    known, reduced = pickle.loads(content[_SUM:])
    if known != depends:
        return None
    _make_ready(context)
    found = CompileResult._rebuild(context, *reduced)
    with disk_errors_ignored():
        os.utime(path.parent)
    return found


def _make_ready(context: Any) -> None:
    """Provide what code calls: the functions of Numba's runtime, whose addresses are looked up when it is loaded."""
    # A build between versions has no number.
    if (0,) < release(numba.__version__)[:2] <= _KNOWN:
        rtsys.initialize(context)
    else:
        context.refresh()


def _forget_old(folder: Path) -> None:
    """Remove the code of all versions but those that were used last."""
    with disk_errors_ignored():
        versions = [(found.stat().st_mtime, found) for found in folder.glob("numba-*")]
        for _, old in sorted(versions, reverse=True)[VERSIONS:]:
            shutil.rmtree(old, ignore_errors=True)


def keep(dispatcher: Any, digest: str) -> Any:
    """Let the code of a function be kept, and return the function.

    Args:
        dispatcher: the function, under `numba.njit` without a cache.
        digest: a hash of the sources that are compiled.
    """
    if not hasattr(dispatcher, "enable_caching"):
        # NUMBA_DISABLE_JIT is set.
        return dispatcher
    if not (hasattr(CompileResult, "_reduce") and hasattr(CompileResult, "_rebuild")):
        # A version of Numba that is other inside keeps the code in its own way.
        dispatcher.enable_caching()
        return dispatcher
    about = (digest, numba.__version__, llvmlite.__version__, platform.python_implementation(), sys.version)
    version = hashlib.sha256(repr(about).encode()).hexdigest()
    dispatcher._cache = Stored(dispatcher.py_func.__name__, version)
    return dispatcher

"""Run a program as ``python`` would, with our optimizers under the frameworks' names."""

from __future__ import annotations

import builtins
import io
import runpy
import sys
import zipfile
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, TracebackType

from adamcompat.installation.manager import install, installed

_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


def run_script(path: str, *arguments: str, report: bool = False, corrections: bool = False) -> int:
    """Run a file, or a folder or zip archive with a ``__main__.py``.

    Args:
        path: the program.
        arguments: the arguments that the program finds in ``sys.argv[1:]``.
        report: print at the end which names were ours, and whether they were used.
        corrections: mend the silent faults of the originals.

    Returns:
        0, or 1 or 2 where there is nothing to run. The exception of a program that fails or exits comes through.
    """
    if not path or not Path(path).exists():
        sys.stderr.write(f"adamcompat run: can't open {path!r}: no such file or folder\n")
        return 2
    if Path(path).is_dir() and not any(Path(path).glob("__main__.*")):
        sys.stderr.write(f"adamcompat run: can't find '__main__' module in {path!r}\n")
        return 1
    sys.argv[:] = [path, *arguments]
    if Path(path).is_dir() or zipfile.is_zipfile(path) or path.endswith(".pyc"):
        return _run(lambda: runpy.run_path(path, run_name="__main__"), report, corrections)
    _start_path_with(str(Path(path).resolve().parent))
    return _run(lambda: _exec(str(Path(path).absolute())), report, corrections)


def run_module(name: str, *arguments: str, report: bool = False, corrections: bool = False) -> int:
    """Run a module, as ``python -m`` does.

    Args:
        name: the dotted name of the module, or of a package with a module ``__main__``.
        arguments: the arguments that the program finds in ``sys.argv[1:]``.
        report: print at the end which names were ours, and whether they were used.
        corrections: mend the silent faults of the originals.

    Returns:
        0, or 1 where there is no such module. The exception of a program that fails or exits comes through.
    """
    sys.argv[:] = [name, *arguments]
    _start_path_with(str(Path.cwd()))
    # Only the first part: what is imported before the names are ours keeps copies of the originals.
    if not name or find_spec(name.partition(".")[0]) is None:
        sys.stderr.write(f"adamcompat run: no module named {name}\n")
        return 1
    return _run(lambda: runpy.run_module(name, run_name="__main__", alter_sys=True), report, corrections)


def _start_path_with(folder: str) -> None:
    """Let imports look first where python would; unless it was told not to (-P, -I)."""
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path[0] = folder


def _exec(path: str) -> None:
    """Run a file as ``__main__``, which it stays until the process ends: its threads may outlive it."""
    module = sys.modules["__main__"] = ModuleType("__main__")
    loader = SourceFileLoader("__main__", path)
    vars(module).update(__file__=path, __cached__=None, __builtins__=builtins, __loader__=loader)
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, vars(module))


def _run(program: Callable[[], object], report: bool, corrections: bool) -> int:
    install(corrections=corrections)
    sys.excepthook = _without_our_frames(sys.excepthook)
    try:
        program()
    finally:
        if report:
            sys.stdout.flush()
            sys.stderr.write(f"{installed().report}\n")
    return 0


def _without_our_frames(hook: _Hook) -> _Hook:
    """Let a traceback begin with the program, as python's does."""

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        frames = []
        while trace is not None:
            frames.append(trace)
            trace = trace.tb_next
        starts = [i for i, frame in enumerate(frames) if frame.tb_frame.f_code is _run.__code__]
        if starts:
            frames = frames[starts[-1] :]
        while frames and frames[0].tb_frame.f_globals.get("__name__") in (__name__, "runpy"):
            del frames[0]
        first = frames[0] if frames else None
        hook(kind, error.with_traceback(first), first)

    return excepthook

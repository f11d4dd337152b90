"""Programs in processes of their own, without the seconds that each would need to import a framework.

A server imports the framework once and does nothing with it. For each program it forks: the program runs in a process
that has imported the framework, and in which nothing else has happened.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """A process that runs programs in its forks.

    Args:
        modules: what it imports.
        environment: the variables that it is started with; an import may look at them.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        # Not by its path: the folders of this one have the names of frameworks.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes", *modules],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip

    def run(self, **program: Any) -> int:
        """Run a program and return its exit status.

        Args:
            program: what `_become` takes, and the `timeout` in seconds.

        Raises:
            RuntimeError: the server has ended, as it does when it cannot import its modules.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(program) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            self._said.seek(0)
            raise RuntimeError(f"the server ended with {status}:\n{self._said.read()[-3000:]}")
        return int(answer)


@functools.cache
def _server(modules: tuple[str, ...], environment: tuple[tuple[str, str], ...]) -> Server:
    return Server(modules, dict(environment))


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    imported: tuple[str, ...] = (),
    folder: Path | None = None,
    timeout: float = 240,
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, as `subprocess.run` does with text and captured output.

    Args:
        arguments: those of Python: `-c` and code, or `-m`, a module and its arguments.
        environment: all of its variables.
        imported: modules that may have been imported before the program begins; none: nothing has.
        folder: where it runs; None: where this process is.
        timeout: in seconds.
    """
    if not imported or not hasattr(os, "fork"):
        return subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=folder, timeout=timeout,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    # The name of the test, which pytest leaves there, needs no server of its own.
    of_all = {name: value for name, value in environment.items() if name != "PYTEST_CURRENT_TEST"}
    server = _server(imported, tuple(sorted(of_all.items())))
    with tempfile.TemporaryDirectory() as written:
        streams = [str(Path(written, name)) for name in ("out", "err")]
        status = server.run(
            arguments=list(arguments), environment=dict(environment), streams=streams,
            folder=str(folder or Path.cwd()), timeout=timeout,
        )  # fmt: skip
        out, err = (Path(stream).read_text(encoding="utf-8") for stream in streams)
    return subprocess.CompletedProcess([sys.executable, *arguments], status, out, err)


def _become(arguments: list[str], environment: dict[str, str], streams: list[str], folder: str) -> None:
    """Be the program from here on.

    Args:
        arguments: those of Python, as for `run`.
        environment: all variables.
        streams: the files that standard output and standard error go to.
        folder: the working directory.
    """
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in enumerate([os.devnull, *streams]):
        opened = os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    kind, program, *rest = arguments
    # As Python begins its path: with the working directory.
    sys.path[0] = "" if kind == "-c" else folder
    sys.argv[:] = ["-c" if kind == "-c" else program, *rest]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        exec(compile(program, "<string>", "exec"), vars(main))


def _waited(child: int, timeout: float) -> int:
    """Return the exit status of a child as `subprocess` gives it; kill it when it takes too long."""
    deadline = time.monotonic() + timeout
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def serve(modules: Sequence[str]) -> None:
    """Import modules, then run what is asked for on standard input, until that is closed.

    Args:
        modules: what to import.
    """
    # What an import prints is no answer.
    answers: IO[str] = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in modules:
        import_module(module)
    # Else each program would look through all of it when it ends.
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        timeout = asked.pop("timeout")
        with warnings.catch_warnings():
            # NumPy's threads end where a process forks, and begin again in both.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            answers.close()
            _become(**asked)
            return
        answers.write(f"{_waited(child, timeout)}\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1:])

#!/usr/bin/env python3
"""Time of imports, commands and the first step of a process: absolute, each in fresh processes.

scripts/bench startup
scripts/bench startup --json docs/figures/speed-startup.json     for scripts/plots.py speed

Imports and steps are timed within their process, where NumPy is imported before; commands are whole processes. All
take turns, after one round that is not counted: it writes the bytecode, and the code that Numba compiles.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import measuring
from measuring import Case, Times, output, seconds

ROOT = Path(__file__).resolve().parent.parent
MODE = "fresh process"
TIMED = "import time, numpy; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
STEP = """
import time, numpy
from adamcompat import TFStyleAdam
weight = numpy.ones(100, "f4")
optimizer = TFStyleAdam()
start = time.perf_counter()
optimizer.apply_gradients([(numpy.ones(100, "f4"), weight)])
print(time.perf_counter() - start)
"""
IMPORTS = ("from adamcompat import TFStyleAdam", "import adamcompat")
# As the entry point calls it.
COMMAND = "import sys; from adamcompat.cli import main; sys.exit(main())"
COMMANDS = {
    "translate": ("tf.keras.optimizers.Adam(lr=1e-5)", "--to", "mindspore"),
    "table": ("--from", "tf26", "--to", "mindspore"),
}
COMPILED, UNCOMPILED = "first NumPy step, compiled code on disk", "first NumPy step, nothing compiled"


def fresh(code: str, *arguments: str, cache_folder: str) -> str:
    """What code prints in a process of its own, in the checkout.

    Args:
        code: run by Python.
        arguments: of its command line.
        cache_folder: where compiled code is kept.
    """
    folders = ("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")
    environment = os.environ | dict.fromkeys(folders, cache_folder)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return output([sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment)


def inside(code: str, cache_folder: str) -> float:
    """The seconds that code prints."""
    return float(fresh(code, cache_folder=cache_folder))


def whole(command: str, cache_folder: str) -> float:
    """Seconds of a command's process."""
    return seconds(lambda: fresh(COMMAND, command, *COMMANDS[command], cache_folder=cache_folder))


def works() -> Mapping[str, Callable[[str], float]]:
    """How each is measured, given a folder for compiled code."""
    return (
        {f"{statement}, after numpy": partial(inside, TIMED.format(statement)) for statement in IMPORTS}
        | {f"adamcompat {command}": partial(whole, command) for command in COMMANDS}
        | {COMPILED: partial(inside, STEP)}
    )


@cache
def samples(rounds: int) -> dict[str, list[float]]:
    """Seconds of each, one after the other in every round."""
    found: dict[str, list[float]] = {work: [] for work in works()}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for work, measure in works().items():
                taken = measure(folder)
                if number:
                    found[work].append(taken)
    return found


def uncompiled(rounds: int) -> Times:
    """Seconds of a first step that Numba compiles."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found.append(inside(STEP, folder))
    return Times(found)


def cases(quick: bool = False) -> Iterator[Case]:
    """Everything that is measured."""
    rounds = 3 if quick else 21

    def of(work: str) -> Times:
        return Times(samples(rounds)[work])

    for work in works():
        yield Case(work, MODE, partial(of, work))
    yield Case(UNCOMPILED, MODE, partial(uncompiled, 1 if quick else 3))


def main() -> int:
    """Print the table; exit status 1 when a target is missed."""
    given = measuring.options(__doc__, "startup").parse_args()
    return measuring.run("startup", cases(given.quick), given)


if __name__ == "__main__":
    sys.exit(main())

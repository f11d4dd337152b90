"""Carry a large state from file to file: peak memory, and the rate beside copying the file.

Run it as `scripts/bench state`; `--parameters` for another number of parameters. Exit status 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import measuring
import numpy as np
from measuring import Case, Times, output, seconds

from adamcompat.state import AdamState

# The shares of the parameters that the tensors have: one large table, and the rest of a network.
SHARES = (0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05)


class Ones:
    """A tensor that takes no memory until it is asked for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def __array__(
        self, dtype: object = None, copy: bool | None = None
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.full(self.shape, 0.5, np.float32)


def shapes(parameters: int, *, transposed: bool) -> dict[str, tuple[int, int]]:
    found = {f"layer{i}/kernel": (int(parameters * share) // 1000, 1000) for i, share in enumerate(SHARES)}
    if transposed:
        return {name.replace("/kernel", ".weight"): (b, a) for name, (a, b) in found.items()}
    return found


def made(parameters: int, *, mindspore: bool, step: int) -> AdamState:
    tensors = {name: Ones(shape) for name, shape in shapes(parameters, transposed=mindspore).items()}
    return AdamState(
        step=step,
        first_moment=tensors,
        second_moment=tensors,
        parameters=tensors,
        hyperparameters={"beta1": 0.9, "beta2": 0.999},
        convention="mindspore" if mindspore else "tensorflow",
    )


def measured(source: Path, like: Path | None, target: Path) -> tuple[float, float]:
    """Seconds of a conversion to a new file, and the peak memory of its process in bytes."""
    target.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--one", str(source), str(like or ""), str(target)]
    taken, peak = output(command).split()
    return float(taken), float(peak)


def one(source: str, like: str, target: str) -> None:
    from adamcompat.state.files import convert, open_document

    def carry() -> None:
        conversion = convert(
            open_document(source),
            target,
            like=open_document(like) if like else None,
            layout="dense" if like else None,
        )
        for _ in conversion.norms():
            pass
        conversion.carry_out()

    print(seconds(carry), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def copy(source: Path, target: Path) -> None:
    """Copy to a new file that is as durable as a conversion."""
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def copied(source: Path, target: Path) -> float:
    """Seconds of a copy."""
    target.unlink(missing_ok=True)
    return seconds(lambda: copy(source, target))


@cache
def conversions(parameters: int, repeat: int, where: str | None) -> dict[bool, tuple[Times, Times]]:
    """Time beside a copy, and memory beyond what the largest tensor takes; within a layout, and to another one.

    Args:
        parameters: how many.
        repeat: how often each is measured.
        where: the folder in which files are made; None: a temporary one.
    """
    from adamcompat.state.files import mindspore, safetensors_file, write

    largest = max(a * b for a, b in shapes(parameters, transposed=False).values()) * 4
    found = {}
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        source, like, target = (folder / f"{part}.safetensors" for part in ("source", "like", "target"))
        write(source, made(parameters, mindspore=False, step=9))
        # As MindSpore writes it, without a checksum.
        fresh = mindspore.tensors_of(made(parameters, mindspore=True, step=0), None)
        safetensors_file.write(like, fresh, lambda sums: {"format": "ms"})
        for other in (None, like):
            # By turns: a disk is not equally fast at all times.
            pairs = [(*measured(source, other, target), copied(source, folder / "copy")) for _ in range(repeat)]
            times, peaks, copies = map(list, zip(*pairs, strict=True))
            note = f"{parameters:.1e} parameters, largest tensor {largest / 1e6:,.0f} MB"
            # Of memory the largest peak counts.
            found[other is not None] = Times(times, copies, note), Times([max(peaks) - 1.5 * largest], note=note)
    return found


def cases(
    quick: bool = False, parameters: int | None = None, repeat: int | None = None, where: str | None = None
) -> Iterator[Case]:
    """Everything that is measured.

    Args:
        quick: fewer parameters and repetitions, where these are not given.
        parameters: how many.
        repeat: how often each conversion is made.
        where: the folder in which files are made; None: a temporary one.
    """
    given = parameters or (10**7 if quick else 10**8), repeat or (1 if quick else 3), where

    def part(transposed: bool, number: int) -> Times:
        return conversions(*given)[transposed][number]

    for transposed, work in enumerate(("same layout", "Keras's layout to MindSpore's")):
        yield Case(work, "time / copying the file", partial(part, bool(transposed), 0))
        yield Case(work, "peak memory beyond 1.5 largest tensors", partial(part, bool(transposed), 1))


def main() -> int:
    """Print the table; exit status 1 when a target is missed."""
    parser = measuring.options(__doc__, "state")
    parser.add_argument("--parameters", type=float, help="default: 1e8, quick 1e7")
    parser.add_argument("--repeat", type=int, help="default: 3, quick 1")
    parser.add_argument("--folder", help="where the files are made; default: a temporary one")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(*given.one)
        return 0
    parameters = None if given.parameters is None else int(given.parameters)
    return measuring.run("state", cases(given.quick, parameters, given.repeat, given.folder), given)


if __name__ == "__main__":
    sys.exit(main())

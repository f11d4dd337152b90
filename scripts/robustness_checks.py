"""What is done to each runtime by scripts/robustness.py: written once, for anything that makes steps."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.faults import Points, alike, at_every_point, fail, from_a_handler


class Seen(NamedTuple):
    """What was done, what was seen, and whether it is as it must be."""

    done: str
    seen: str
    right: bool


class Training(Protocol):
    """Tensors that begin equal, with one gradient for all, and their optimizer."""

    def step(self) -> None:
        """Make one step."""

    def tensors(self) -> list[Any]:
        """Every parameter, then every moment, as arrays."""

    def count(self) -> int:
        """How many steps the optimizer has made."""


Make = Callable[[int, int], Training]
"""Makes a training of so many tensors of so many elements."""


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def same(one: Training, other: Training) -> bool:
    pairs = zip(one.tensors(), other.tensors(), strict=True)
    return one.count() == other.count() and all(np.array_equal(a, b) for a, b in pairs)


def long_run(make: Make, seconds: float) -> Seen:
    """As many steps as the time allows; a leak of some bytes a step would show."""
    training = make(8, 64)
    start = time.monotonic()
    while time.monotonic() - start < seconds / 5:
        training.step()
    before, first = resident(), training.count()
    while time.monotonic() - start < seconds:
        training.step()
    grown = resident() - before
    finite = all(np.isfinite(tensor).all() for tensor in training.tensors())
    return Seen(
        f"{training.count():,} steps of eight tensors",
        f"memory grew by {max(grown, 0):.1f} MB after the first {first:,}; every weight is finite",
        grown < 4 and finite,
    )


def interrupts(make: Make, count: int) -> Seen:
    """Ctrl-C at arbitrary moments: a step has happened or it has not."""
    training = make(8, 20_000)
    for _ in range(3):
        training.step()
    # Whoever runs this in the background of a shell has it ignore Ctrl-C.
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
    previous = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    hit, whole = 0, True
    try:
        for attempt in range(count):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-3 + 2e-5 * attempt)
                while True:
                    training.step()
            except KeyboardInterrupt:
                hit += 1
            tensors = training.tensors()
            parameters, moments = tensors[:8], tensors[8:]
            for kind in (parameters, moments[0::2], moments[1::2]):
                whole = whole and all(np.array_equal(tensor, kind[0]) for tensor in kind)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.signal(signal.SIGINT, heeded)
    plain = make(8, 20_000)
    for _ in range(training.count()):
        plain.step()
    whole = whole and same(training, plain)
    return Seen(
        f"{hit} interrupts (Ctrl-C) in {training.count():,} steps of eight tensors",
        "parameters, moments and the step count agree after each" if whole else "a step was half-applied",
        whole and hit == count,
    )


def faults(paths: Mapping[str, Callable[[], Any]], files: tuple[str, ...], quick: bool, every: int = 1) -> Seen:
    """An exception, and a signal whose handler raises, at every line, or every so many, of a step of each kind."""
    tries = half = 0
    lines = "every line" if every == 1 else f"every {every}th line"
    for act in (fail, from_a_handler(signal.SIGTERM), from_a_handler(signal.SIGALRM)):
        for make in paths.values():
            found = at_every_point(make, Points(act, files), stride=29 if quick else every, equal=alike)
            tries, half = tries + found.tries, half + found.half
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    return Seen(
        f"{tries:,} steps of {len(paths)} kinds, interrupted at {lines} by an exception, SIGTERM and SIGALRM",
        f"{half} half-applied: each was made whole or not at all" if not half else f"{half} half-applied",
        half == 0,
    )


def threads(make: Make, rounds: int) -> Seen:
    """Thirty-two threads at once, each with an optimizer of its own."""

    def train(training: Training) -> None:
        for _ in range(rounds):
            training.step()

    apart, alone = [make(4, 20_000) for _ in range(32)], make(4, 20_000)
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(train, apart))
    train(alone)
    right = all(same(training, alone) for training in apart)
    return Seen(
        f"32 threads, each with its own optimizer, {rounds} steps each",
        "each tensor bit for bit as from one thread" if right else "bits differ",
        right,
    )


def ended(child: int, seconds: float) -> int | None:
    """The exit status of a child; None where it had to be killed, for it did not end."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def fork(make: Make, count: int) -> tuple[int, int, bool]:
    """Fork while training: how many children made a whole step, how many hung; whether the parent went on."""
    training, plain = make(2, 500_000), make(2, 500_000)
    for _ in range(3):
        training.step()
        plain.step()
    whole = hung = 0
    for _ in range(count):
        plain.step()
        child = os.fork()
        if child == 0:
            try:
                training.step()
                os._exit(0 if same(training, plain) else 1)
            finally:
                os._exit(2)
        training.step()
        status = ended(child, 10)
        whole += status == 0
        hung += status is None
    return whole, hung, same(training, plain)


def digest(tensors: Sequence[Any]) -> str:
    """What tells two ends of a training apart."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(np.ascontiguousarray(tensor).tobytes())
    return found.hexdigest()


def kills(script: str, kind: str, folder: Path, last: int, count: int, what: str) -> Seen:
    """kill -9 while steps are made and checkpoints written, then resume: as if nothing had happened.

    Args:
        script: a program that trains to step `last` when called with `kind`, a path and `last`. It
            goes on from what it finds there, says "ready" before its first step, and ends with its digest.
    """

    def run(path: Path, delay: float | None) -> str | None:
        process = subprocess.Popen(
            [sys.executable, script, kind, str(path), str(last)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            process.kill()
            process.communicate()
            return "it could not resume"
        try:
            return process.communicate(timeout=delay)[0].strip()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None

    straight, killed, found = run(folder / "straight", None), 0, None
    for attempt in range(count):
        found = run(folder / "killed", 0.3 + 0.037 * attempt)
        if found is not None:
            break
        killed += 1
    found = found or run(folder / "killed", None)
    right = bool(straight) and found == straight and killed > 0
    return Seen(
        f"{killed} times kill -9 in {last} steps with {what} after each, then resume",
        "the run ends with the bits of the uninterrupted one, state included" if right else f"it differs: {found}",
        right,
    )

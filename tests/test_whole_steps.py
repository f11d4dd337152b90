"""A step of the NumPy runtime happens whole or not at all, whatever interrupts it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, RowSparse, TFStyleAdam
from adamcompat.interrupts import Uninterrupted
from adamcompat.whole import whole as finish
from tests.faults import STRIDE, Points, Taken, Training, Tried, at_every_point, fail, from_a_handler, same

# A fault in a generator that is being closed is swallowed by Python.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]
EVERYTHING: dict[str, Any] = {
    "amsgrad": True,
    "clipnorm": 0.5,
    "use_ema": True,
    "ema_overwrite_frequency": 2,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.1,
    "loss_scale_factor": 4.0,
}


class OnNumPy:
    """Arrays of several layouts and dtypes, and an optimizer."""

    def __init__(self, optimizer: Any, arrays: list[Array], gradients: list[Any]) -> None:
        self.optimizer, self.arrays, self.gradients = optimizer, arrays, gradients
        self.step()

    def step(self) -> None:
        if isinstance(self.optimizer, TFStyleAdam):
            self.optimizer.apply_gradients(list(zip(self.gradients, self.arrays, strict=True)))
        else:
            self.optimizer(tuple(self.gradients))

    def state(self) -> list[Array]:
        engine = self.optimizer._engine
        kept = [array.copy() for slot in engine.slots for array in slot.kept.values()]
        return [*kept, engine.iterations.copy(), *([engine.powers.copy()] if engine.powers is not None else [])]


def draws(shapes: list[tuple[int, ...]], dtypes: list[Any]) -> tuple[list[Array], list[Any]]:
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    return arrays, [np.asarray(rng.standard_normal(s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]


def plain(**options: Any) -> Training:
    return OnNumPy(TFStyleAdam(0.1, **options), *draws([(5,), (3, 4), (5000,), ()], [np.float32] * 4))


def mixed(**options: Any) -> Training:
    kinds = [np.float32, np.float64, np.float16, np.float32]
    return OnNumPy(TFStyleAdam(0.1, **options), *draws([(5,), (3, 4), (20_000,), (7,)], kinds))


def strided(**options: Any) -> Training:
    arrays, gradients = draws([(3, 4), (40, 500), (6,)], [np.float32] * 3)
    arrays[0], arrays[1] = np.asfortranarray(arrays[0]), np.ascontiguousarray(arrays[1].T).T
    return OnNumPy(TFStyleAdam(0.1, **options), arrays, gradients)


def large(**options: Any) -> Training:
    """In three threads, where code is compiled and so many are asked for."""
    return OnNumPy(TFStyleAdam(0.1, **options), *draws([(200_000,), (9,), (70_000,)], [np.float32] * 3))


def rows(**options: Any) -> Training:
    arrays, gradients = draws([(50, 3000), (4,)], [np.float32] * 2)
    gradients[0] = RowSparse(np.arange(0, 40, 2), np.ones((20, 3000), np.float32))
    return OnNumPy(MindSporeStyleAdam(arrays, 0.1, **options), arrays, gradients)


def running_products(**options: Any) -> Training:
    arrays, gradients = draws([(9,), (3, 16), (2, 3)], [np.float32, np.float32, np.float64])
    chosen = [{"params": [arrays[0]], "lr": 0.2}, {"params": arrays[1:], "grad_centralization": True}]
    return OnNumPy(MindSporeStyleAdam(chosen, 0.1, numerics="mindspore", **options), arrays, gradients)


PATHS: dict[str, Callable[[], Training]] = {
    "plain": plain,
    "plain, everything": lambda: plain(**EVERYTHING),
    "mixed": mixed,
    "mixed, global norm": lambda: mixed(global_clipnorm=0.5, use_ema=True),
    "strided": strided,
    "strided, everything": lambda: strided(**EVERYTHING),
    "rows": rows,
    "lazy rows": lambda: rows(use_lazy=True, weight_decay=0.1),
    "running products": lambda: running_products(weight_decay=0.1, loss_scale=2.0),
    "large": large,
    "large, everything": lambda: large(**EVERYTHING),
}


# Of the points of a step every third, each time other ones: all of them take minutes.


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, executor: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Training]:
    if request.param.startswith("large") and executor == "numpy":
        pytest.skip("without Numba nothing runs in threads")
    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "3")
    return PATHS[request.param]


def whole(found: Tried, least: int) -> None:
    assert found.half == 0, f"{found.half} of {found.tries} interrupted steps were half-applied"
    assert found.tries >= least


def test_an_exception_at_every_line(path: Callable[[], Training]) -> None:
    whole(at_every_point(path, Points(fail), stride=STRIDE), 80 // STRIDE)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGALRM])
def test_a_signal_at_every_line(path: Callable[[], Training], number: int) -> None:
    previous = signal.getsignal(number)
    try:
        arrive = from_a_handler(number)
        whole(at_every_point(path, Points(arrive), first=1 + number % 7, stride=7 * STRIDE), max(1, 80 // STRIDE // 7))
    finally:
        signal.signal(number, previous)


@pytest.mark.parametrize("name", ["large", "large, everything"])
def test_an_exception_in_another_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    from adamcompat.executors import launch

    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "3")
    # Threads are traced from their start, so each step needs new ones.
    whole(at_every_point(PATHS[name], Points(fail), workers=True, before=launch.POOL.forget), 3)


def test_a_handler_that_is_taken_within_a_step_leads_to_the_programs() -> None:
    """Who asks for the handler within a step gets ours; what he chains to it, or puts back, must not be lost."""
    with Taken() as taken:
        with Uninterrupted():
            taken.rate()
        taken.send()
        # Within a step it still waits for its end.
        with Uninterrupted():
            os.kill(os.getpid(), signal.SIGALRM)
            assert taken.heard == ["mine", "the program's", "the program's"]
        assert taken.heard == ["mine", *["the program's"] * 3]


@pytest.mark.parametrize("failing", [range(1), range(1, 2), range(9)], ids=["first", "second", "all"])
@pytest.mark.parametrize("name", ["large", "large, everything"])
def test_a_thread_that_cannot_start(name: str, failing: range, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    from adamcompat.executors import launch

    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "3")
    training, undisturbed = PATHS[name](), PATHS[name]()
    launch.POOL.forget()
    start, starts = threading.Thread.start, iter(range(1000))

    def refuse(self: threading.Thread) -> None:
        if next(starts) in failing:
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            training.step()
    assert next(starts) > 1
    for _ in range(3):
        training.step()
    for _ in range(6):
        undisturbed.step()
    assert same(training.state(), undisturbed.state())


@pytest.mark.parametrize("times", [1, 2, 20])
def test_what_is_interrupted_again_and_again_is_finished(times: int) -> None:
    done: list[str] = []
    errors = iter([KeyboardInterrupt(str(number)) for number in range(times)])

    def write() -> None:
        for error in errors:
            raise error
        done.append("written")

    with pytest.raises(KeyboardInterrupt, match="0"):
        finish([write, lambda: done.append("counted")])
    assert done == ["written", "counted"]


def launches(kind: type[Any]) -> list[int]:
    """Return the addresses of all objects of a class; not by isinstance, which asks proxies of what is gone."""
    gc.collect()
    return [id(one) for one in gc.get_objects() if type(one) is kind]


def test_nothing_waits_for_threads_that_never_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is queued for a thread would keep the step's memory, step after step."""
    pytest.importorskip("numba")
    from adamcompat.executors import launch

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "3")
    training = large()
    launch.POOL.forget()
    # What other tests left behind is no matter of this one.
    before = launches(launch.Launch)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        training.step()
    assert len(launches(launch.Launch)) <= len(before)


SHORT_OF_MEMORY = """
import gc, resource, sys
import numpy as np
from adamcompat import MindSporeStyleAdam, RowSparse, TFStyleAdam
from adamcompat.interrupts import Uninterrupted
from tests.faults import same
from tests.test_whole_steps import EVERYTHING, OnNumPy, draws

def many(**options):
    return OnNumPy(TFStyleAdam(0.1, **options), *draws([(3, 4), (30_000,), (20_000,), (5,)], ["f4"] * 4))

def lazy():
    arrays, gradients = draws([(50, 3000), (40, 500)], ["f4"] * 2)
    gradients = [RowSparse(np.arange(0, 40, 2), np.ones((20, array.shape[1]), "f4")) for array in arrays]
    return OnNumPy(MindSporeStyleAdam(arrays, 0.1, use_lazy=True), arrays, gradients)

def used():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

tries = failed = half = 0
for make in (many, lambda: many(**EVERYTHING), lazy):
    training, plain = make(), make()
    old = plain.state()
    plain.step()
    new = plain.state()
    for more in range(0, 1 << 21, 1 << 15):
        gc.collect()
        resource.setrlimit(resource.RLIMIT_AS, (used() + more, -1))
        try:
            training.step()
        except MemoryError:
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        tries += 1
        found = training.state()
        if same(found, new):
            old = new
            plain.step()
            new = plain.state()
        elif not same(found, old):
            half += 1
            break
print(tries, failed, half)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_memory_that_runs_out(executor: str) -> None:
    # Every array of a block is asked of the system, which refuses; what was freed before does not help.
    memory = {"MALLOC_MMAP_THRESHOLD_": "8192", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"}
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHORT_OF_MEMORY],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **memory, "PYTHONPATH": str(ROOT), "ADAMCOMPAT_NUM_THREADS": "1"},
    )
    assert found.returncode == 0, found.stderr
    tries, failed, half = map(int, found.stdout.split())
    assert half == 0 and tries > 100 and failed > 5


def test_a_setting_that_makes_no_sense_is_found_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    arrays, gradients = draws([(5,), (300_000,)], [np.float64, np.float32])
    training = OnNumPy(TFStyleAdam(0.1), arrays, gradients)
    before = training.state()
    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="whole number of at least 1, got 'many'"):
        training.step()
    assert same(training.state(), before)

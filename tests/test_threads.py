"""Several threads, forks, and interrupts."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import adamcompat.numpy
from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam
from adamcompat.executors import launch

SIZE = 300_000
THREADS = 32


def ones(size: int = SIZE) -> NDArray[Any]:
    return np.ones(size, np.float32)


def test_32_threads_step_optimizers_of_their_own(executor: str) -> None:
    weights = [ones() for _ in range(THREADS)]

    def work(weight: NDArray[Any]) -> None:
        optimizer = TFStyleAdam(0.1)
        for _ in range(3):
            optimizer.apply_gradients([(ones(), weight)])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, weights))
    alone = ones()
    work(alone)
    for weight in weights:
        np.testing.assert_array_equal(weight, alone)


@pytest.mark.parametrize("helps", [True, False])
def test_a_thread_does_the_pieces_that_others_leave(monkeypatch: pytest.MonkeyPatch, helps: bool) -> None:
    pytest.importorskip("numba")
    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "3")
    monkeypatch.setattr(launch, "PIECE", 10_000)
    done: dict[int, list[int]] = {}
    real, own = launch.Launch._run, threading.get_ident()

    def run(self: Any, piece: int) -> None:
        if helps or threading.get_ident() == own:
            done.setdefault(threading.get_ident(), []).append(piece)
            real(self, piece)

    monkeypatch.setattr(launch.Launch, "_run", run)
    weights, alone = ones(), ones()
    TFStyleAdam(0.1).apply_gradients([(ones(), weights)])
    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "1")
    pieces = sorted({piece for each in done.values() for piece in each})
    TFStyleAdam(0.1).apply_gradients([(ones(), alone)])
    np.testing.assert_array_equal(weights, alone)
    # Four for each thread. This one goes through all of them from the first, and others from the last.
    assert pieces == list(range(12)) and done[own][:12] == pieces
    others = [list(each) for thread, each in done.items() if thread != own]
    assert all(each[:12] == pieces[::-1][: len(each)] for each in others)
    assert helps or len(done) == 1


def test_32_threads_step_one_optimizer_that_locks(executor: str) -> None:
    weight, alone = ones(), ones()
    shared, single = MindSporeStyleAdam([weight], use_locking=True), MindSporeStyleAdam([alone])
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: shared((ones(),)), range(THREADS)))
    for _ in range(THREADS):
        single((ones(),))
    assert int(shared.global_step[0]) == THREADS
    np.testing.assert_array_equal(weight, alone)


@pytest.mark.parametrize("style", ["TFStyleAdam", "MindSporeStyleAdam", "TorchStyleAdam"])
def test_threads_that_share_an_optimizer_lose_no_step(style: str, executor: str) -> None:
    weights = []
    for threads in (1, 4):
        parameter = Parameter(ones(50_000))
        parameter.grad = ones(50_000)
        optimizer: Any = TFStyleAdam(0.001)
        if style != "TFStyleAdam":
            optimizer = getattr(adamcompat.numpy, style)([parameter], 0.001)

        def step(_: int, own: Any = optimizer, parameter: Parameter = parameter) -> None:
            if style == "TFStyleAdam":
                own.apply_gradients([(parameter.grad, parameter)])
            elif style == "MindSporeStyleAdam":
                own((parameter.grad,))
            else:
                own.step()

        step(0)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(step, range(80)))
        weights.append(parameter.data)
    np.testing.assert_array_equal(weights[0], weights[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_makes_steps_while_another_thread_of_its_parent_makes_one() -> None:
    """The thread that holds the lock is not in the child."""
    inside, over = threading.Event(), threading.Event()
    parent = os.getpid()

    def rate() -> float:
        if os.getpid() == parent and threading.current_thread() is not threading.main_thread():
            inside.set()
            over.wait(20)
        return 0.1

    weight = ones(3)
    optimizer = TFStyleAdam(rate)
    optimizer.apply_gradients([(ones(3), weight)])
    thread = threading.Thread(target=lambda: optimizer.apply_gradients([(ones(3), weight)]))
    thread.start()
    assert inside.wait(20)
    child = os.fork()
    if child == 0:
        made = threading.Thread(target=lambda: optimizer.apply_gradients([(ones(3), weight)]), daemon=True)
        made.start()
        made.join(20)
        os._exit(int(made.is_alive()))
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert int(optimizer.iterations) == 2


@pytest.mark.parametrize("style", ["TFStyleAdam", "MindSporeStyleAdam", "TorchStyleAdam"])
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_has_a_lock_of_its_own(way: str, style: str) -> None:
    parameter = Parameter(ones(3))
    optimizer = TFStyleAdam() if style == "TFStyleAdam" else getattr(adamcompat.numpy, style)([parameter])
    copied = copy.deepcopy(optimizer) if way == "deepcopy" else pickle.loads(pickle.dumps(optimizer))
    assert copied._lock() is not optimizer._lock()
    with copied._lock(), copied._lock():
        pass


def test_the_lock_is_real() -> None:
    weight = ones(3)
    locking, free = MindSporeStyleAdam([weight], use_locking=True), MindSporeStyleAdam([weight])
    assert locking._guard() is locking._guard()
    with ThreadPoolExecutor(2) as pool:
        with locking._guard():
            waiting = pool.submit(locking, (ones(3),))
            pool.submit(free, (ones(3),)).result(timeout=10)
            done, _ = wait([waiting], timeout=0.2)
            assert not done
            assert int(locking.global_step[0]) == 0
        waiting.result(timeout=10)
    assert int(free.global_step[0]) == int(locking.global_step[0]) == 1


@pytest.mark.parametrize("threads", ["1", "2", "5", "16"])
@pytest.mark.parametrize("numerics", ["canonical", "mindspore"])
def test_the_number_of_threads_changes_no_bit(threads: str, numerics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    shapes = [(1,), (777_777,), (3, 5), (400_003,), (0,)]
    start = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    gradients = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    results = []
    for count in ("1", threads):
        monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", count)
        arrays = [array.copy() for array in start]
        optimizer = MindSporeStyleAdam(arrays, 0.1, numerics=numerics)
        for _ in range(2):
            optimizer(tuple(gradients))
        results.append(arrays)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", ["2", "5"])
@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 1.0},
        {"global_clipnorm": 1.0},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2, "global_clipnorm": 1.0, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_reductions_and_other_state_do_not_depend_on_threads_or_executor(
    options: dict[str, Any], threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    shapes = [(1,), (333_333,), (3, 5), (0,), (), (90, 1001)]
    start: list[NDArray[Any]] = [np.asarray(rng.standard_normal(shape), np.float32) for shape in shapes]
    gradients: list[list[NDArray[Any]]] = [
        [np.asarray(rng.standard_normal(shape), np.float32) for shape in shapes] for _ in range(4)
    ]
    results = []
    for executor, count in (("numpy", "1"), ("numba", "1"), ("numba", threads)):
        monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", executor)
        monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", count)
        arrays = [array.copy() for array in start]
        optimizer = TFStyleAdam(0.1, **options)
        for step in gradients:
            optimizer.apply_gradients(zip(step, arrays, strict=True))
        results.append([*arrays, *optimizer.variables])
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_threads_need_is_imported_before_a_step_and_for_several_threads_only(threads: int) -> None:
    code = f"""
    import sys, numpy
    from adamcompat.executors.launch import Launch
    Launch(lambda *_: None, (), (), 10, {threads}, numpy.dtype("f4"))
    print(*sorted({{"queue", "concurrent.futures.thread"}} & set(sys.modules)))
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == (["concurrent.futures.thread", "queue"] if threads > 1 else [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_after_use_works() -> None:
    code = """
    import os, numpy
    from adamcompat import TFStyleAdam
    os.environ["ADAMCOMPAT_NUM_THREADS"] = "4"
    weight, gradient = numpy.ones(2_000_000, "f4"), numpy.ones(2_000_000, "f4")
    optimizer = TFStyleAdam(0.1)
    optimizer.apply_gradients([(gradient, weight)])
    child = os.fork()
    optimizer.apply_gradients([(gradient, weight)])
    right = bool(abs(weight - 0.8).max() < 1e-5)
    if child == 0:
        os._exit(0 if right else 7)
    assert right and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], check=True, timeout=120)


INTERRUPTED = """
import contextlib, os, signal, sys
import numpy as np
from adamcompat import TFStyleAdam

def ones(size=50_000):
    return np.ones(size, np.float32)

def make():
    return TFStyleAdam(0.1, use_ema=True, clipnorm=1e9)

# An interrupted import leaves modules behind that are half there, and LLVM does not survive an exception while it
# compiles, so let Numba be imported and everything compiled first; the second step compiles, too.
first, pairs = make(), [(ones(), ones()) for _ in range(8)]
for _ in range(3):
    first.apply_gradients(pairs)
weights, gradients, optimizer = [ones() for _ in range(8)], [ones() for _ in range(8)], make()
fired = 0

def fire(number, frame):
    '''Raise as Ctrl-C does, but only out of a step: an alarm that comes late must not hit this program itself.'''
    global fired
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "apply_gradients":
        frame = frame.f_back
    if frame is not None:
        fired += 1
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
signal.signal(signal.SIGINT, fire)
for attempt in range(60):
    before = int(optimizer._engine.iterations)
    signal.setitimer(signal.ITIMER_REAL, 0.0001 * (attempt + 1))
    with contextlib.suppress(KeyboardInterrupt):
        optimizer.apply_gradients(zip(gradients, weights))
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert int(optimizer._engine.iterations) in (before, before + 1)
    for weight in weights[1:]:
        np.testing.assert_array_equal(weight, weights[0])
plain, single = ones(), make()
for _ in range(int(optimizer._engine.iterations)):
    single.apply_gradients([(gradients[0], plain)])
np.testing.assert_array_equal(plain, weights[0])
print(fired)
"""


def test_an_interrupt_waits_for_the_end_of_the_step(executor: str) -> None:
    """Ctrl-C in the middle of a step must not leave it half-applied."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 5

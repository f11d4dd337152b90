"""Steps of few elements, which compiled code makes in one call, are those of the general way to the bit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, RowSparse, TFStyleAdam
from adamcompat.executors import VARIABLE, compiled, likeness
from adamcompat.executors.likeness import Likeness
from adamcompat.numpy.batch import Memory
from tests.faults import same

pytest.importorskip("numba")

Array = NDArray[Any]
# Small ones are copied, and large ones read where they are.
SHAPES: list[tuple[int, ...]] = [(4,), (3, 5), (), (0,), (6000,), (90, 50)]
Change = Callable[[Any, int], object]


def drawn(seed: int, shapes: list[tuple[int, ...]], dtype: Any = np.float32) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


class Run:
    """An optimizer with its arrays."""

    def __init__(self, make: Callable[[list[Array]], Any], shapes: list[tuple[int, ...]], dtype: Any) -> None:
        self.arrays = drawn(0, shapes, dtype)
        self.optimizer = make(self.arrays)

    def step(self, gradients: list[Any]) -> None:
        if isinstance(self.optimizer, TFStyleAdam):
            self.optimizer.apply_gradients(zip(gradients, self.arrays, strict=True))
        else:
            self.optimizer(tuple(gradients))

    def state(self) -> list[Array]:
        engine = self.optimizer._engine
        kept = [array.copy() for slot in engine.slots for array in slot.kept.values()]
        return [*kept, engine.iterations.copy(), *([engine.powers.copy()] if engine.powers is not None else [])]

    @property
    def at_once(self) -> bool:
        """Whether a call of compiled code has made a step at once."""
        layout = self.optimizer._engine._layout
        return layout is not None and layout.at_once and layout.sole._last is not None


def both(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[list[Array]], Any],
    *,
    gradients: Callable[[int], list[Any]] | None = None,
    change: Change = lambda optimizer, step: None,
    dtype: Any = np.float32,
) -> Run:
    """Make some steps by one call each, and by NumPy alone and from scratch; what they leave must be the same.

    Args:
        monkeypatch: of the test.
        make: makes an optimizer of arrays.
        gradients: makes those of a step; None: new arrays for each step.
        change: is called with the optimizer and the number of the step before each.
        dtype: of the arrays.

    Returns:
        What compiled code has done.
    """
    runs = []
    for executor in ("numba", "numpy"):
        monkeypatch.setenv(VARIABLE, executor)
        runs.append(run := Run(make, SHAPES, dtype))
        for step in range(5):
            if executor == "numpy":
                # A copy remembers nothing of the last step but what an optimizer keeps.
                run = copy.deepcopy(run)
                runs[-1] = run
            if step:
                change(run.optimizer, step)
            run.step(gradients(step) if gradients is not None else drawn(step + 1, SHAPES, dtype))
    assert same(runs[0].state(), runs[1].state())
    return runs[0]


def tf(**options: Any) -> Callable[[list[Array]], Any]:
    return lambda arrays: TFStyleAdam(0.1, **options)


def ms(**options: Any) -> Callable[[list[Array]], Any]:
    return lambda arrays: MindSporeStyleAdam(arrays, 0.1, **options)


def grouped(arrays: list[Array]) -> Any:
    groups = [{"params": arrays[:2], "lr": 0.2, "weight_decay": 0.3}, {"params": arrays[2:]}]
    return MindSporeStyleAdam(groups, 0.1, numerics="mindspore")


SIMPLE = {
    "tf": tf(),
    "keras 3": tf(numerics="keras3"),
    "amsgrad": tf(amsgrad=True),
    "torch": tf(numerics="torch"),
    "stages": tf(clipvalue=0.5, weight_decay=0.1, loss_scale_factor=4.0),
    "a schedule that stages read": lambda arrays: TFStyleAdam([0.1, 0.2, 0.3, 0.4, 0.5], weight_decay=0.1),
    "a schedule": lambda arrays: TFStyleAdam(lambda step: 0.1 / (1 + step)),
    "ms": ms(),
    "nesterov": ms(use_nesterov=True),
    "running products": ms(numerics="mindspore"),
    "groups": grouped,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SIMPLE)
def test_a_step_at_once_has_the_bits_of_any_other(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert both(monkeypatch, SIMPLE[name], dtype=dtype).at_once


OTHERS: dict[str, dict[str, Any]] = {
    "average": {"use_ema": True, "ema_overwrite_frequency": 2},
    "accumulation": {"gradient_accumulation_steps": 2},
    "norm": {"clipnorm": 0.5},
    "global norm": {"global_clipnorm": 0.5},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_needs_more_than_one_call_is_not_made_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not both(monkeypatch, tf(**OTHERS[name])).at_once


def unaligned(array: Array) -> Array:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype)
    memory[:] = array.ravel()
    return memory.reshape(array.shape)


FORMS: dict[str, Callable[[Array], Any]] = {
    "another dtype": lambda g: g.astype(np.float64),
    "half the bytes": lambda g: g.astype(np.float16),
    "another byte order": lambda g: g.astype(g.dtype.newbyteorder()),
    "whole numbers": lambda g: g.astype(np.int32),
    "Fortran's order": lambda g: np.array(g, order="F"),
    "every second": lambda g: np.repeat(g, 2, axis=-1)[..., ::2] if g.ndim else g,
    "backwards": lambda g: g[::-1] if g.ndim else g,
    "unaligned": unaligned,
    "read-only": lambda g: np.frombuffer(g.tobytes(), g.dtype).reshape(g.shape),
    "lists": lambda g: g.tolist(),
    "rows": lambda g: RowSparse(np.arange(len(g)), g) if g.ndim else g,
    "another class": lambda g: g.view(type("Own", (np.ndarray,), {})),
    "its dtype by itself": lambda g: pickle.loads(pickle.dumps(g)),
}


@pytest.mark.parametrize("which", [slice(None), slice(1, 2), slice(4, None)], ids=["all", "small", "large"])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_any_form_may_come_later(form: str, which: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(step: int) -> list[Any]:
        made: list[Any] = drawn(step + 1, SHAPES)
        if step in (2, 3):
            made[which] = [FORMS[form](g) if g.size else g for g in made[which]]
        return made

    assert both(monkeypatch, tf(), gradients=gradients).at_once


@pytest.mark.parametrize("size", [8, 6000])
def test_gradients_in_memory_that_is_written_are_read_before(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for executor in ("numba", "numpy"):
        monkeypatch.setenv(VARIABLE, executor)
        base = np.random.default_rng(0).standard_normal(size + 1).astype(np.float32)
        optimizer = TFStyleAdam(0.1)
        for step in range(4):
            gradient = base[:-1] if step > 1 else drawn(step, [(size,)])[0]
            optimizer.apply_gradients([(gradient, base[1:])])
        found.append(base)
    np.testing.assert_array_equal(found[0], found[1])


WRONG: dict[str, tuple[Any, type[Exception]]] = {
    "longer": (np.ones(5, np.float32), ValueError),
    "shorter": (np.ones(3, np.float32), ValueError),
    "one axis more": (np.ones((4, 1), np.float32), ValueError),
    "one axis less": (np.ones((), np.float32), ValueError),
    "masked": (np.ones(4, np.float32).view(np.ma.MaskedArray), TypeError),
    "complex": (np.ones(4, np.complex64), TypeError),
    "as many bytes": (np.ones(4, "m8[s]"), TypeError),
    "text": ("four", TypeError),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_refused_later_too(name: str) -> None:
    gradient, error = WRONG[name]
    run = Run(ms(), [(2,), (4,)], np.float32)
    run.step(drawn(1, [(2,), (4,)]))
    before = run.state()
    assert run.at_once
    with pytest.raises(error):
        run.step([np.ones(2, np.float32), gradient])
    assert same(run.state(), before)


def test_what_is_taken_from_a_tuple() -> None:
    arrays = [np.ones(4, np.float32), np.ones((2, 3), np.float32), np.ones(5000, np.float32)]
    place = np.zeros(4, np.float32)
    addresses = np.zeros((3, 8), np.int64)
    written = Memory(arrays)

    def taken(*gradients: Any) -> bool:
        addresses[:, 1] = place.ctypes.data, 0, 0
        return Likeness(arrays, [True, False, False]).take(compiled(), gradients, addresses, written)  # type: ignore[arg-type]

    good = drawn(1, [array.shape for array in arrays])
    assert taken(*good)
    np.testing.assert_array_equal(place, good[0])
    assert addresses[1:, 1].tolist() == [one.ctypes.data for one in good[1:]]
    assert taken(arrays[0], *good[1:]), "what is copied may lie anywhere"
    assert not taken(*good[:2]) and not taken(*good, good[0]) and not taken()
    for i, one in enumerate(good):
        for other in (unaligned(one), one.view(np.matrix), one.astype(np.float64), one.view(np.int32), one[..., ::-1]):
            assert not taken(*good[:i], other, *good[i + 1 :])
    assert not taken(good[0], arrays[1], good[2])
    assert not taken(good[0], good[1], arrays[2])


def test_where_objects_lie_otherwise_nothing_is_taken_from_tuples(monkeypatch: pytest.MonkeyPatch) -> None:
    assert likeness._KNOWN and likeness._are_known()
    monkeypatch.setattr(likeness, "_KNOWN", False)
    module = compiled()
    assert module is not None
    assert not Likeness([np.ones(4)], [False]).take(module, (np.ones(4),), np.zeros((1, 8), np.int64), Memory([]))
    assert both(monkeypatch, tf()).at_once


def assigned(name: str, *values: Any) -> Change:
    return lambda optimizer, step: setattr(optimizer, name, values[step % len(values)])


CHANGES: dict[str, tuple[Callable[[list[Array]], Any], Change]] = {
    "rate": (tf(), assigned("learning_rate", 0.2, 0.3)),
    "rate of none": (tf(), assigned("learning_rate", 0.0)),
    "beta_1": (tf(), assigned("beta_1", 0.5, 0.8)),
    "beta_2": (tf(), assigned("beta_2", 0.9, 0.99)),
    "epsilon": (tf(), assigned("epsilon", 1e-3, 0.1)),
    "decay": (tf(weight_decay=0.1), assigned("weight_decay", 0.2, None)),
    "clipping": (tf(), assigned("clipvalue", 0.1, None)),
    "norm": (tf(), assigned("clipnorm", None, 0.1)),
    "nesterov": (ms(), assigned("use_nesterov", True, False)),
    "scale": (ms(), assigned("loss_scale", 2.0, 1.0)),
    "running products": (ms(numerics="mindspore"), assigned("beta1", 0.5, 0.8)),
    "counter": (tf(), assigned("iterations", 100)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_settings_may_change_between_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, change = CHANGES[name]
    assert both(monkeypatch, make, change=change).at_once


def test_a_beta_may_be_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(arrays: list[Array]) -> Any:
        left = iter([0.5, 0.6, 0.7, 0.8, 0.9] * 9)
        return TFStyleAdam(0.1, beta_1=lambda: next(left))

    assert both(monkeypatch, make).at_once


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
@pytest.mark.parametrize("make", [tf(), ms(numerics="mindspore")], ids=["tf", "ms"])
def test_a_copy_counts_for_itself(make: Callable[[list[Array]], Any], duplicate: Callable[[Any], Any]) -> None:
    run = Run(make, SHAPES, np.float32)
    run.step(drawn(1, SHAPES))
    before = run.state()
    other = duplicate(run)
    other.step(drawn(2, SHAPES))
    assert other.at_once and same(run.state(), before)
    run.step(drawn(2, SHAPES))
    assert same(run.state(), other.state())


@pytest.mark.parametrize("name", ["iterations", "powers"])
def test_a_counter_and_products_that_lie_elsewhere_are_written_there(name: str) -> None:
    run, plain = (Run(ms(numerics="mindspore"), SHAPES, np.float32) for _ in range(2))
    for step in range(3):
        engine = run.optimizer._engine
        setattr(engine, name, getattr(engine, name).copy())
        for one in (run, plain):
            one.step(drawn(step, SHAPES))
        assert same(run.state(), plain.state())


def test_a_counter_ends_as_numpy_ends() -> None:
    """A counter that is full begins at its least number, as NumPy's integers do."""
    run = Run(ms(), SHAPES, np.float32)
    run.optimizer._engine.iterations[...] = np.iinfo(np.int32).max
    run.step(drawn(1, SHAPES))
    assert run.at_once and run.optimizer._engine.iterations.tolist() == [np.iinfo(np.int32).min]


def test_what_is_trained_elsewhere_is_written_back() -> None:
    run = Run(ms(), SHAPES, np.float32)
    written: list[int] = []
    run.optimizer._engine.write_back = lambda: written.append(int(run.optimizer.global_step[0]))
    for step in range(3):
        run.step(drawn(step, SHAPES))
    # Before the step is counted.
    assert written == [0, 1, 2]


def test_tensors_that_are_cut_have_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numerics have tails, each part of a tensor has its own, and a row of its own in the table."""
    states = []
    for taken in (True, False):
        monkeypatch.setattr(likeness, "_KNOWN", taken)
        run = Run(ms(numerics="mindspore"), SHAPES, np.float32)
        run.optimizer._engine.shares = lambda size: [size // 3, size - size // 3]
        for step in range(3):
            run.step(drawn(step, SHAPES))
        layout = run.optimizer._engine._layout
        assert len(layout.sole._table.kinds) == 2 * len(SHAPES)
        states.append(run.state())
    assert same(*states)

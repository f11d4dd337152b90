"""The first eager steps: none traces or compiles before others saved the time for it; all have the bits of Keras."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import tensorflow as tf

from adamcompat.tensorflow import Adam, AdamW, first_steps, in_place, update
from tests.tensorflow.tf_helpers import differing, run_python, trajectory

pytestmark = [pytest.mark.frameworks, pytest.mark.slow]

SHAPES = [(70, 70), (64,), (10, 10, 50), (70, 70), (5,), (3, 7)]
# The costs of a formula, a program and a trace. Something is saved from the second step on, or lost.
NEVER, FREE = inf, -1e9
FORMS = {
    "operations": (NEVER, NEVER, NEVER),
    "formula": (FREE, NEVER, NEVER),
    "programs": (NEVER, FREE, NEVER),
    "everything": (FREE, FREE, FREE),
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    cost = dict(zip(("FORMULA", "COMPILING", "TRACING"), FORMS[request.param], strict=True))
    for name, value in {"WAITS": True, "_ready": set(), **cost}.items():
        monkeypatch.setattr(first_steps, name, value)
    monkeypatch.setattr(update, "SMALL", 1_000)
    monkeypatch.setattr(update, "WORTH_COMPILING", 10_000)
    monkeypatch.setattr(update, "_threads", lambda: 3)
    return str(request.param)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The forms of an update that a test used."""
    found: set[str] = set()

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            found.add(name)
            return real(*args, **kwargs)

        return function

    monkeypatch.setattr(update, "within", noted("programs", first_steps.within))
    monkeypatch.setattr(in_place, "prepare", noted("formula", in_place.prepare))
    return found


@pytest.mark.parametrize(
    "kind, original, options",
    [
        (Adam, keras.optimizers.Adam, {}),
        (Adam, keras.optimizers.Adam, {"amsgrad": True, "global_clipnorm": 0.5}),
        (AdamW, keras.optimizers.AdamW, {"weight_decay": 0.3, "learning_rate": 0.03}),
        (AdamW, keras.optimizers.AdamW, {"learning_rate": lambda: keras.optimizers.schedules.CosineDecay(0.01, 5)}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_every_form_has_the_bits_of_keras(
    form: str, called: set[str], kind: Any, original: Any, options: dict[str, Any], dtype: str
) -> None:
    ours, stock = (trajectory(one, options, shapes=SHAPES, dtype=dtype, steps=8) for one in (kind, original))
    assert differing(ours, stock) == 0
    # XLA compiles none for float16; where a step can be traced at once, no other form is needed.
    programs = set() if dtype == "float16" else {"programs"}
    assert called == {"formula": {"formula"}, "programs": programs}.get(form, set())


def test_every_form_has_the_bits_of_tf_keras() -> None:
    run_python(
        """
        from tests.tensorflow.test_first_steps import FREE, NEVER
        import numpy as np, tensorflow as tf, tf_keras
        from adamcompat.tensorflow import Adam, first_steps, update

        update.SMALL, update.WORTH_COMPILING, update._threads = 1_000, 10_000, lambda: 3
        first_steps.TRACING = NEVER
        rng = np.random.default_rng(0)
        shapes = [(70, 70), (64,), (10, 10, 50), (70, 70), (5,)]
        start = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
        gradients = [[rng.standard_normal(shape, dtype=np.float32) for shape in shapes] for _ in range(6)]

        def weights(kind):
            variables, optimizer = [tf.Variable(one) for one in start], kind()
            for each in gradients:
                optimizer.apply_gradients(zip(map(tf.constant, each), variables))
            return [one.numpy() for one in variables]

        stock = weights(tf_keras.optimizers.Adam)
        for first_steps.FORMULA, first_steps.COMPILING in ((NEVER, NEVER), (FREE, NEVER), (NEVER, FREE)):
            first_steps._ready.clear()
            for ours, theirs in zip(weights(Adam), stock):
                np.testing.assert_array_equal(ours, theirs)
            assert len(first_steps._ready) == (first_steps.FORMULA < 0) + 2 * (first_steps.COMPILING < 0)
        """,
        TF_USE_LEGACY_KERAS="1",
    )


class Training:
    """AdamW on two large and two small variables."""

    def __init__(self, **options: Any) -> None:
        self.variables = [tf.Variable(tf.ones(shape)) for shape in ((70, 70), (80, 80), (5,), (6,))]
        self.optimizer = AdamW(weight_decay=0.1, **options)

    def step(self) -> None:
        self.optimizer.apply_gradients([(tf.ones(one.shape), one) for one in self.variables])

    def state(self) -> list[Any]:
        return [np.array(one) for one in (*self.variables, *(one.value for one in self.optimizer.variables))]


@pytest.mark.parametrize("form", ["programs", "formula", "operations"], indirect=True)
@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("averages", [False, True])
def test_a_step_that_fails_between_two_variables_is_whole(
    form: str, failing: int, averages: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written in place cannot be undone: the step is finished. With averages to come, all is undone."""
    broken, other = Training(use_ema=averages), Training(use_ema=averages)
    for _ in range(4):
        broken.step()
        other.step()
    before, calls, real = broken.state(), list[int](), first_steps.FirstSteps.once

    def once(self: Any, targets: Any, apply: Callable[[], Any], operations: int) -> None:
        def counted() -> Any:
            calls.append(operations)
            if len(calls) == failing:
                raise MemoryError("of one")
            return apply()

        real(self, targets, counted, operations)

    monkeypatch.setattr(first_steps.FirstSteps, "once", once)
    with pytest.raises(MemoryError, match="of one"):
        broken.step()
    monkeypatch.undo()
    other.step()
    undone = averages or failing == 1
    assert differing(broken.state(), before if undone else other.state()) == 0
    # The small variables come first, as one part. A part is made again where it failed, and no other.
    kinds = [2, 2, 2] if form == "operations" else [2, 1, 1]
    assert calls == kinds[:failing] + ([] if undone else kinds[failing - 1 :])


def test_a_variable_that_memory_lacks_for_stays_as_it_is() -> None:
    run_python(
        """
        import resource
        import numpy as np, tensorflow as tf
        from adamcompat.tensorflow import Adam

        variable = tf.Variable(np.ones(10_000_000, np.float32))
        gradient, optimizer = tf.constant(np.ones(10_000_000, np.float32)), Adam()
        optimizer.build([variable])
        Adam().apply_gradients([(tf.ones(3), tf.Variable(tf.ones(3)))])
        with open("/proc/self/status") as status:
            used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize"))
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 50 * 2**20, before[1]))
        try:
            optimizer.apply_gradients([(gradient, variable)])
        except tf.errors.ResourceExhaustedError:
            pass
        else:
            raise AssertionError("there was enough")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        state = [np.array(one)[:3].tolist() for one in (variable, *optimizer._momentums, *optimizer._velocities)]
        assert state == [[1.0] * 3, [0.0] * 3, [0.0] * 3], state
        assert int(optimizer.iterations) == 0
        optimizer.apply_gradients([(gradient, variable)])
        """,
        fresh=True,
    )


def test_variables_without_elements(form: str) -> None:
    shapes = [(0,), (3,), (0, 4), (70, 70), (5,)]
    ours, stock = (trajectory(one, {}, shapes=shapes, steps=4) for one in (Adam, keras.optimizers.Adam))
    assert differing(ours, stock) == 0


def test_a_maximum_keeps_what_is_no_number(form: str) -> None:
    def trained(kind: Any) -> list[Any]:
        variables, optimizer = [tf.Variable(tf.ones(shape)) for shape in SHAPES], kind(amsgrad=True)
        for step in range(6):
            gradients = [np.full(shape, 0.5, np.float32) for shape in SHAPES]
            if step == 3:
                gradients[0][1, 2] = np.inf
            optimizer.apply_gradients(zip(map(tf.constant, gradients), variables, strict=True))
        return [np.isnan(one) for one in (*variables, *optimizer.variables)]

    for ours, stock in zip(trained(Adam), trained(keras.optimizers.Adam), strict=True):
        np.testing.assert_array_equal(ours, stock)


def test_a_first_step_takes_no_more_memory_than_that_of_keras() -> None:
    program = """
        import keras, numpy as np, tensorflow as tf
        from adamcompat.tensorflow import Adam

        def line(name):
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith(name))

        def step(shapes):
            variables = [tf.Variable(np.ones(shape, np.float32)) for shape in shapes]
            gradients = [tf.constant(np.ones(shape, np.float32)) for shape in shapes]
            optimizer = KIND()
            optimizer.build(variables)
            with open("/proc/self/clear_refs", "w") as peak:
                peak.write("5")
            before = line("VmRSS")
            optimizer.apply_gradients(zip(gradients, variables))
            return (line("VmHWM") - before) / 1024

        step([(3,)])
        print(step([(512, 512), (512,)] * 12), step([(10_000_000,)]))
    """
    both = (run_python(program.replace("KIND", kind), fresh=True) for kind in ("Adam", "keras.optimizers.Adam"))
    many, one = zip(*(map(float, each.split()) for each in both), strict=True)
    # 38 MB are updated. What tracing takes, and what the allocator cuts up, is not of a size with them.
    assert many[0] <= many[1] + 20
    assert one[0] <= one[1] + 1


@pytest.mark.parametrize("form", ["programs", "formula"], indirect=True)
def test_values_read_before_a_step_stay(form: str, called: set[str]) -> None:
    variable = tf.Variable(np.linspace(-1, 1, 12_000, dtype=np.float32))
    optimizer = Adam()
    for _ in range(4):
        gradient = tf.convert_to_tensor(variable)
        kept = gradient.numpy().copy()
        optimizer.apply_gradients([(gradient, variable)])
        np.testing.assert_array_equal(gradient, kept)
    assert called == {form}


def stepwise(kind: Any, step: Callable[[Any, list[Any], list[Any]], None], dtype: str = "float32") -> list[Any]:
    """Return weights and state after each of some steps, which are made with gradients of a dtype."""
    rng = np.random.default_rng(1)
    variables = [keras.Variable(rng.standard_normal(shape), dtype="float32") for shape in SHAPES]
    optimizer, found = kind(), []
    for _ in range(6):
        step(optimizer, [tf.constant(rng.standard_normal(shape), dtype) for shape in SHAPES], variables)
        found += [np.array(one) for one in (*variables, *optimizer.variables)]
    return found


def plain_step(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def taped_step(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(gradients)
        plain_step(optimizer, gradients, variables)


def pushed_step(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    with tf.autodiff.ForwardAccumulator(gradients[0], tf.ones_like(gradients[0])):
        plain_step(optimizer, gradients, variables)


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("kind, original", [(Adam, keras.optimizers.Adam), (AdamW, keras.optimizers.AdamW)])
def test_every_form_takes_gradients_of_another_dtype(
    form: str, monkeypatch: pytest.MonkeyPatch, kind: Any, original: Any, dtype: str, blocks: bool
) -> None:
    monkeypatch.setattr(update, "_threads", lambda: 1 if blocks else 1000)
    ours, stock = (stepwise(one, plain_step, dtype) for one in (kind, original))
    assert differing(ours, stock) == 0


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("step", [taped_step, pushed_step])
def test_every_form_may_be_recorded(form: str, monkeypatch: pytest.MonkeyPatch, step: Any, blocks: bool) -> None:
    monkeypatch.setattr(update, "_threads", lambda: 1 if blocks else 1000)
    # Programs serve other optimizers, whose variables are gone.
    stepwise(AdamW, plain_step)
    ours, stock = (stepwise(one, step) for one in (AdamW, keras.optimizers.AdamW))
    assert differing(ours, stock) == 0


def test_every_form_updates_variables_of_another_device() -> None:
    run_python(
        """
        import tensorflow as tf

        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
        from tests.tensorflow.test_first_steps import FORMS, AdamW, differing, first_steps, keras, np, update

        update.SMALL, update.WORTH_COMPILING, update._threads = 1_000, 9_000, lambda: 3
        # A program for each of them: those of one shape are on different devices.
        shapes = [(70, 70), (70, 70), (10, 10, 50), (80, 80), (5,), (6,)]

        def weights(kind, graph):
            variables, optimizer = [], kind(weight_decay=0.1)
            for index, shape in enumerate(shapes):
                with tf.device(f"CPU:{index % 2}"):
                    variables.append(keras.Variable(np.full(shape, index, np.float32)))
            optimizer.build(variables)
            step = lambda: optimizer.apply_gradients([(tf.sin(one + 1.0), one) for one in variables])
            step = tf.function(step) if graph else step
            for _ in range(6):
                step()
            return [np.array(one) for one in (*variables, *optimizer.variables)]

        stock = weights(keras.optimizers.AdamW, False)
        assert differing(weights(AdamW, True), weights(keras.optimizers.AdamW, True)) == 0
        for first_steps.FORMULA, first_steps.COMPILING, first_steps.TRACING in FORMS.values():
            first_steps._ready.clear()
            assert differing(weights(AdamW, False), stock) == 0
            if first_steps.COMPILING < 0 < first_steps.TRACING:
                assert len(first_steps._ready) == 6
        """
    )


@pytest.mark.parametrize("form", ["programs"], indirect=True)
@pytest.mark.parametrize("rate", [0.01, keras.optimizers.schedules.CosineDecay(0.01, 5)], ids=["number", "schedule"])
def test_programs_of_first_steps_are_those_of_a_traced_step(
    form: str, rate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = update._compiled, list[tuple[Any, ...]]()

    def recorded(*key: Any) -> Any:
        program = real(*key)

        def called(row: Any, values: Any, decay: Any, *rest: Any) -> Any:
            if not tf.executing_eagerly():
                calls.append((key, decay is not None))
            return program(row, values, decay, *rest)

        return called

    monkeypatch.setattr(update, "_compiled", cache(recorded))
    variables = [tf.Variable(tf.ones(shape)) for shape in SHAPES]
    optimizer, found = AdamW(rate, weight_decay=0.1), []
    for cost in (NEVER, FREE):
        monkeypatch.setattr(first_steps, "TRACING", cost)
        calls.clear()
        for _ in range(4):
            optimizer.apply_gradients([(tf.ones(one.shape), one) for one in variables])
        found.append(set(calls))
    assert found[0] == found[1]
    assert len(found[0]) == 2 and all(decays for _, decays in found[0])


def test_a_plain_step_saves_the_share_of_its_own_time() -> None:
    kind = first_steps.Kind(1)
    assert [kind.end(seconds) for seconds in (3.0, 1.0, 2.0)] == pytest.approx(
        [0.0, first_steps.SHARE - 1, first_steps.SHARE - 2]
    )


@pytest.mark.parametrize("traced", [False, True])
def test_only_a_step_without_its_traced_function_is_put_off(traced: bool) -> None:
    first = first_steps.FirstSteps()
    first.begin()
    assert not first.puts_off
    assert first.put_off(first_steps.Kind(1), traced=traced) is not traced
    assert first.puts_off is not traced


def test_programs_of_one_step_are_paid_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are compiled after all of them were asked for."""
    values = {
        "WAITS": True,
        "_ready": set(),
        "TRACING": inf,
        "COMPILING": 1_000,
        "unit": lambda: 0.001,
        "perf_counter": lambda: 0.0,
    }
    for name, value in values.items():
        monkeypatch.setattr(first_steps, name, value)
    first, kind = first_steps.FirstSteps(), first_steps.Kind(2)
    kind.last, kind.original = 0.0, 1.5 / first_steps.SHARE
    first.begin()
    assert first.put_off(kind, traced=False)
    # One takes a second, and there are one and a half.
    assert [first.program(name) for name in ("one", "other", "one")] == [True, False, True]
    assert kind.missing == {"other"}


def test_a_program_is_paid_for_each_dtype_of_gradients(form: str) -> None:
    for dtype in ("float32", "float64"):
        stepwise(Adam, plain_step, dtype)
    assert len(first_steps._ready) == {"formula": 2, "programs": 4}.get(form, 0)


def test_nothing_is_compiled_where_functions_run_eagerly(form: str) -> None:
    tf.config.run_functions_eagerly(True)
    try:
        ours, stock = (trajectory(one, {}, shapes=SHAPES, steps=5) for one in (Adam, keras.optimizers.Adam))
    finally:
        tf.config.run_functions_eagerly(False)
    assert differing(ours, stock) == 0
    assert len(first_steps._ready) == (form == "formula")


COSTS = st.floats(0.1, 100)


@given(
    steps=st.lists(COSTS, min_size=40, max_size=40),
    rows=st.integers(1, 200),
    programs=st.integers(0, 20),
    by=st.floats(0.01, 1),
    spent=st.floats(0.1, 1),
)
def test_steps_together_take_at_most_the_share(
    steps: list[float], rows: int, programs: int, by: float, spent: float
) -> None:
    """On a clock of its own: plain steps of any length, and what is traced or compiled makes them shorter.

    Args:
        steps: how long each takes if it is plain.
        rows: of the optimizer.
        programs: what may be compiled.
        by: what a traced step takes of a plain one.
        spent: what tracing and compiling take of what they may take.
    """
    now = 0.0
    patch = pytest.MonkeyPatch()
    patch.setattr(first_steps, "WAITS", True)
    patch.setattr(first_steps, "_ready", set())
    patch.setattr(first_steps, "unit", lambda: 0.001)
    patch.setattr(first_steps, "perf_counter", lambda: now)
    first, kind, traced = first_steps.FirstSteps(), first_steps.Kind(rows), False
    taken, allowed, least = 0.0, 0.0, min(steps[1:])
    try:
        for count, length in enumerate(steps):
            start, last = now, kind.last
            first.begin()
            pause = 0.0
            if not first.put_off(kind, traced=traced):
                pause += 0 if traced else 0.001 * spent * (first_steps.TRACING + first_steps.TOGETHER * rows)
                traced, length = True, least * by
            else:
                for number in range(programs):
                    new = number not in first_steps._ready
                    if first.program(number):
                        pause += new * 0.001 * spent * first_steps.COMPILING
                        now = start + pause
                        length = min(length, least)
            now = start + length + pause
            first.end()
            if count:
                taken += now - start
                allowed += kind.original
            # What is not known in advance: this step itself may take longer than the last.
            if pause:
                assert last is not None
                assert taken <= first_steps.SHARE * allowed + max(0.0, length - last) + 1e-6
    finally:
        patch.undo()

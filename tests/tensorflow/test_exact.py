"""The default repeats the bits of the members of keras.optimizers; fused=True those of TensorFlow 2.6."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import Adam, AdamW, MindSporeStyleAdam, terms, update
from adamcompat.tensorflow.operations import PLAIN
from tests.tensorflow.tf_helpers import SHAPES, differing, trajectory

pytestmark = pytest.mark.frameworks


def schedule() -> Any:
    return keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)


CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "amsgrad": {"amsgrad": True},
    "weight_decay": {"weight_decay": 0.01},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "ema": {"use_ema": True, "ema_overwrite_frequency": 3},
    "loss_scale": {"loss_scale_factor": 7.0},
    "accumulation": {"gradient_accumulation_steps": 3},
    "schedule": {"learning_rate": schedule},
    "hyperparameters": {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.91, "epsilon": 1e-3},
    "together": {"amsgrad": True, "weight_decay": 0.03, "clipnorm": 0.3, "use_ema": True},
}
# What else surrounds the update is Keras's own, and XLA contracts it where it likes.
EXACT_IN_XLA = ("default", "amsgrad", "clipvalue", "ema", "hyperparameters")
# Where XLA carries Keras itself further than that from what Keras does without it.
KERAS_DIFFERS_IN_XLA = ("ema", "hyperparameters", "together")


MEMBERS: dict[str, tuple[Any, Any]] = {
    "Adam": (Adam, keras.optimizers.Adam),
    "AdamW": (AdamW, keras.optimizers.AdamW),
}
# AdamW's step is Adam's with a decay, which the first of these has because it is the default.
OF_ADAMW = ("default", "weight_decay", "accumulation", "schedule", "together")


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize(
    ("member", "case"), [*(("Adam", case) for case in CASES), *(("AdamW", case) for case in OF_ADAMW)]
)
def test_same_bits_as_keras(member: str, case: str, mode: str) -> None:
    ours, original = MEMBERS[member]
    stock = trajectory(original, CASES[case], mode=mode)
    assert differing(trajectory(ours, CASES[case], mode=mode), stock) == 0


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"fused": True, "amsgrad": True}], ids=str)
def test_adamw_is_adam_with_its_decay(options: dict[str, Any]) -> None:
    decay = next(fact.default for fact in MAPPING.dialects["keras3_adamw"].parameters if fact.name == "weight_decay")
    found = [
        trajectory(kind, more | options, shapes=SHAPES[:3], steps=10)
        for kind, more in ((AdamW, {}), (Adam, {"weight_decay": decay}), (Adam, {}))
    ]
    assert differing(found[0], found[1]) == 0
    assert differing(found[0], found[2]) > 0


def furthest(a: list[Any], b: list[Any]) -> float:
    """The largest difference, relative to the larger of 1 and the element."""
    return max(float(np.max(abs(x - y) / np.maximum(1, abs(y)))) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("member", "case"), [*(("Adam", case) for case in CASES), ("AdamW", "default")])
def test_jit_compile(member: str, case: str) -> None:
    drop_in, original = MEMBERS[member]

    def run(kind: Any, mode: str) -> list[Any]:
        return trajectory(kind, CASES[case], mode=mode, shapes=[(7,), (70, 70), ()])

    ours, stock = run(drop_in, "jit"), run(original, "eager")
    if case in EXACT_IN_XLA and member == "Adam":
        assert differing(ours, stock) == 0
    stock_in_xla = run(original, "jit")
    assert furthest(ours, stock) <= max(2.4e-7, furthest(stock_in_xla, stock))
    if case not in KERAS_DIFFERS_IN_XLA:
        assert furthest(ours, stock_in_xla) <= 2.4e-7


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Small lists compiled as large ones are: the shapes that were, and whether in blocks."""
    monkeypatch.setattr(update, "WORTH_COMPILING", 10_000)
    monkeypatch.setattr(update, "SMALL", 1_000)
    monkeypatch.setattr(update, "BLOCK", 1_000)
    monkeypatch.setattr(update, "_threads", lambda: 3)
    real, calls = update._compiled, []

    def recorded(*key: Any) -> Any:
        calls.append((key[0], key[-1]))
        return real(*key)

    real.cache_clear()
    monkeypatch.setattr(update, "_compiled", recorded)
    yield calls
    real.cache_clear()


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}])
@pytest.mark.parametrize("mode, dtype", [("eager", "float32"), ("function", "float32"), ("eager", "float64")])
def test_large_lists_go_through_xla_with_the_same_bits(
    mode: str, dtype: str, options: dict[str, Any], compiled: list[Any]
) -> None:
    shapes = [(70, 70), (20, 600), (64,), (64,), (70, 70), (10, 10, 50)]
    ours = trajectory(Adam, options, mode=mode, shapes=shapes, dtype=dtype)
    # The largest is more than a third of all.
    assert set(compiled) == {((70, 70), True), ((20, 600), False), ((10, 10, 50), True)}
    stock = trajectory(keras.optimizers.Adam, options, mode=mode, shapes=shapes, dtype=dtype)
    assert differing(ours, stock) == 0


def no_numbers(kind: Any, mode: str) -> list[Any]:
    """Return where weights and state are NaN or infinite after an infinite gradient."""
    variable = tf.Variable(tf.ones((130, 130)))
    optimizer = kind([variable])

    def step(gradient: Any) -> None:
        optimizer.apply_gradients([(gradient, variable)])

    run = step if mode == "eager" else tf.function(step, jit_compile=mode == "jit")
    for count in range(6):
        gradient = np.full((130, 130), 0.5, np.float32)
        gradient[1, 2] = np.inf if count == 3 else 0.5
        run(tf.constant(gradient))
    found = [np.asarray(one) for one in (variable, *optimizer.variables)]
    return [pattern for one in found for pattern in (np.isnan(one), np.isinf(one))]


@pytest.mark.parametrize("mode", ["eager", "function", "jit"])
def test_a_maximum_of_no_number_is_as_in_keras(mode: str, compiled: list[Any]) -> None:
    """XLA's maximum loses a NaN, in Keras's compiled steps too, and nowhere else."""
    ours, stock = (
        no_numbers(lambda variables, kind=kind: kind(amsgrad=True), mode) for kind in (Adam, keras.optimizers.Adam)
    )
    assert bool(compiled) is (mode != "jit")
    for own, other in zip(ours, stock, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("numerics", ["keras3", "mindspore"])
def test_a_maximum_of_no_number_is_the_same_in_every_mode(numerics: str) -> None:
    eager, *others = (
        no_numbers(lambda variables: MindSporeStyleAdam(variables, use_amsgrad=True, numerics=numerics), mode)
        for mode in ("eager", "function", "jit")
    )
    assert any(one.any() for one in eager)
    for other in others:
        for own, theirs in zip(eager, other, strict=True):
            np.testing.assert_array_equal(own, theirs)


@pytest.mark.parametrize("size", [500, 1_000, 1_001, 5_999])
def test_blocks_of_every_length(size: int, compiled: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "SMALL", 100)
    shapes = [(size,), *[(6_000,)] * 3]
    ours = trajectory(Adam, {}, shapes=shapes, steps=10)
    assert set(compiled) == {((size,), True), ((6_000,), True)}
    assert differing(ours, trajectory(keras.optimizers.Adam, {}, shapes=shapes, steps=10)) == 0


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_blocks_are_written_in_place(amsgrad: bool, decays: bool, compiled: list[Any]) -> None:
    """XLA would copy whole arrays for each block if it saw no order among a block's results."""
    size = 3_500
    variable, m, v, vhat = (tf.Variable(tf.zeros(size)) for _ in range(4))
    row = terms.Row(variable, tf.zeros(size), m, v, vhat if amsgrad else None)
    values = terms.Scalars(*[tf.constant(0.1)] * 4)

    function = update._compiled((size,), tf.float32, amsgrad, True)
    decay = terms.Decay(tf.constant(0.1), tf.constant(0.2)) if decays else None
    lowered = function.experimental_get_compiler_ir(row, values, decay, tf.constant(-0.0), tf.constant(False))
    code = lowered("optimized_hlo")
    assert re.search(rf"= f32\[{size}\]\S* fusion\(", code)
    assert not re.search(rf"= f32\[{size}\]\S* copy\(", code)


@pytest.mark.parametrize("graph", [False, True])
def test_values_read_before_a_step_stay(graph: bool, compiled: list[Any]) -> None:
    """The step writes in place; here the gradient is what the variable's own memory holds."""

    def run(kind: Any) -> tuple[Any, Any]:
        variables = [tf.Variable(np.linspace(-1, 1, 6_000, dtype=np.float32)) for _ in range(3)]
        optimizer = kind(0.1)
        optimizer.build(variables)

        def step() -> None:
            optimizer.apply_gradients([(variable.read_value(), variable) for variable in variables])

        call, before = tf.function(step) if graph else step, []
        for _ in range(4):
            before.append(variables[0].read_value())
            call()
        return [value.numpy() for value in before], variables[0].numpy()

    (ours, last), (stock, last_of_stock) = run(Adam), run(keras.optimizers.Adam)
    assert ((6_000,), True) in compiled
    assert differing(ours, stock) == differing([last], [last_of_stock]) == 0
    assert differing(ours, [last] * 4) > 4 * 6_000


def test_the_barrier_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it XLA contracts, and the comparison above would fail."""
    monkeypatch.setattr(update, "barred", lambda zero: PLAIN)
    shapes = [(4099,)]
    ours = trajectory(Adam, {}, mode="jit", shapes=shapes)
    assert differing(ours, trajectory(keras.optimizers.Adam, {}, shapes=shapes)) > 0


@pytest.mark.parametrize(("member", "dtype"), [("Adam", "float16"), ("Adam", "float64"), ("AdamW", "float16")])
@pytest.mark.parametrize("mode", ["eager", "function"])
def test_other_dtypes(member: str, dtype: str, mode: str) -> None:
    ours, stock = (
        trajectory(kind, {"learning_rate": 0.01}, mode=mode, dtype=dtype, steps=20) for kind in MEMBERS[member]
    )
    assert differing(ours, stock) == 0


def legacy_trajectory(options: dict[str, Any]) -> list[Any]:
    rng = np.random.default_rng(1)
    shapes = [(7,), (3, 5), (130, 40)]
    variables = [tf.Variable(rng.standard_normal(shape), dtype=tf.float32) for shape in shapes]
    optimizer = tf_keras.optimizers.legacy.Adam(**options)
    for _ in range(50):
        draws = [rng.standard_normal(shape) * 10 ** rng.uniform(-4, 1) for shape in shapes]
        gradients = [tf.constant(draw, tf.float32) for draw in draws]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"learning_rate": 0.02, "beta_1": 0.8, "epsilon": 1e-4}])
def test_fused_is_tensorflow_26(mode: str, options: dict[str, Any]) -> None:
    ours = trajectory(Adam, {**options, "fused": True}, mode=mode, steps=50, shapes=[(7,), (3, 5), (130, 40)])
    assert differing(ours[:3], legacy_trajectory(options)) == 0


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}])
def test_fused_under_jit_compile(options: dict[str, Any]) -> None:
    ours = trajectory(Adam, {**options, "fused": True}, mode="jit", steps=50, shapes=[(7,), (3, 5), (130, 40)])
    for a, b in zip(ours, legacy_trajectory(options), strict=False):
        np.testing.assert_allclose(a, b, rtol=0, atol=2.4e-7)


@pytest.mark.parametrize("fused", [None, True])
def test_hyperparameters_are_attributes_that_act_at_once(fused: bool | None) -> None:
    def run(kind: Any, **options: Any) -> Any:
        variable = tf.Variable([1.0, -2.0, 3.0])
        optimizer = kind(**options)
        for step in range(6):
            if step == 3:
                optimizer.learning_rate = 0.1
                optimizer.beta_1, optimizer.beta_2, optimizer.epsilon, optimizer.clipvalue = 0.5, 0.8, 1e-2, 0.1
            optimizer.apply_gradients([(tf.constant([0.3, 0.2, -0.1]) * (step + 1), variable)])
        return variable.numpy()

    np.testing.assert_allclose(run(Adam, fused=fused), run(keras.optimizers.Adam), atol=0 if fused is None else 1e-6)


def test_a_subclass_with_its_own_step_is_called() -> None:
    class Frozen(Adam):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.seen = getattr(self, "seen", 0) + 1

    variable = tf.Variable([1.0])
    optimizer = Frozen()
    for _ in range(3):
        optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    assert optimizer.seen == 3 and variable.numpy() == [1.0]


def test_a_variable_given_twice_is_updated_twice_as_in_keras() -> None:
    def run(kind: Any) -> Any:
        variable, optimizer = tf.Variable([1.0, 2.0]), kind()
        optimizer.build([variable])
        for _ in range(3):
            optimizer.apply_gradients([(tf.constant([1.0, 2.0]), variable), (tf.constant([3.0, 1.0]), variable)])
        return variable.numpy()

    np.testing.assert_array_equal(run(Adam), run(keras.optimizers.Adam))

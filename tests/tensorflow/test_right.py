"""What keras.optimizers.Adam gets wrong without a word: it fails here, and ours does not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adamcompat.tensorflow import Adam, AdamW, legacy, v1
from tests.tensorflow.test_acceptance import TwoAdam
from tests.tensorflow.tf_helpers import run_python

pytestmark = pytest.mark.frameworks
STOCK = keras.optimizers.Adam
CORRECTED = {"corrections": True}
FORMS: list[dict[str, Any]] = [
    CORRECTED,
    {"amsgrad": True, **CORRECTED},
    {"fused": True},
    {"clipnorm": 1.0, **CORRECTED},
    {"use_ema": True, **CORRECTED},
]


def rows(variable: Any, indices: list[int], values: list[list[float]]) -> Any:
    return tf.IndexedSlices(tf.constant(values), tf.constant(indices), variable.shape)


def two_steps(kind: Any, gradient: Any, **options: Any) -> Any:
    variable, optimizer = tf.Variable(tf.ones((3, 2))), kind(0.1, **options)
    for _ in range(2):
        optimizer.apply_gradients([(gradient(variable), variable)])
    return variable.numpy()


def repeated(variable: Any) -> Any:
    return rows(variable, [0, 0, 2], [[1.0, 3.0], [2.0, -1.0], [0.5, 0.5]])


def summed(variable: Any) -> Any:
    return tf.constant([[3.0, 2.0], [0.0, 0.0], [0.5, 0.5]])


@pytest.mark.parametrize("options", FORMS, ids=lambda options: next(iter(options)))
def test_rows_given_twice_are_added_up(options: dict[str, Any]) -> None:
    np.testing.assert_allclose(two_steps(Adam, repeated, **options), two_steps(Adam, summed, **options), rtol=1e-6)


def test_rows_given_twice_in_a_function_and_under_xla() -> None:
    for jit in (False, True):
        variable, optimizer = tf.Variable(tf.ones((3, 2))), Adam(0.1, corrections=True)
        optimizer.build([variable])

        @tf.function(jit_compile=jit)  # type: ignore[untyped-decorator]
        def step() -> None:
            optimizer.apply_gradients([(repeated(variable), variable)])  # noqa: B023

        step()
        step()
        np.testing.assert_allclose(variable.numpy(), two_steps(Adam, summed), rtol=1e-6)


def test_keras_squares_rows_before_adding_them() -> None:
    assert abs(two_steps(STOCK, repeated) - two_steps(STOCK, summed)).max() > 0.01


def test_unique_rows_have_keras_bits() -> None:
    def unique(variable: Any) -> Any:
        return rows(variable, [2, 0], [[1.0, 3.0], [2.0, -1.0]])

    for options in ({}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}):
        np.testing.assert_array_equal(two_steps(Adam, unique, **options), two_steps(STOCK, unique, **options))


def test_indices_may_be_tuples() -> None:
    def plain(variable: Any) -> Any:
        return tf.IndexedSlices(tf.constant([[1.0, 3.0], [2.0, -1.0]]), (0, 0), (3, 2))

    expected = two_steps(Adam, lambda v: tf.constant([[3.0, 2.0], [0.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(two_steps(Adam, plain, corrections=True), expected, rtol=1e-6)


def test_loss_scale_with_rows() -> None:
    with pytest.raises(TypeError):
        two_steps(STOCK, repeated, loss_scale_factor=8.0)
    ours = two_steps(Adam, repeated, loss_scale_factor=8.0, corrections=True)
    np.testing.assert_array_equal(ours, two_steps(Adam, summed, loss_scale_factor=8.0))


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"amsgrad": True}])
@pytest.mark.parametrize("mode", ["eager", "function", "jit"])
def test_bfloat16_variables_move(mode: str, options: dict[str, Any]) -> None:
    def run(kind: Any, **more: Any) -> float:
        variable = tf.Variable(tf.fill([5], tf.constant(0.1, tf.bfloat16)))
        optimizer = kind(0.01, **more)
        optimizer.build([variable])

        def step() -> None:
            optimizer.apply_gradients([(tf.ones(5, tf.bfloat16), variable)])

        call = step if mode == "eager" else tf.function(step, jit_compile=mode == "jit")
        for _ in range(3):
            call()
        return float(variable.numpy()[0])

    assert abs(run(Adam, **options) - 0.07) < 0.002
    assert not abs(run(STOCK) - 0.07) < 0.002


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("ours", "stock", "first", "second"),
    [
        (Adam, STOCK, "beta_1", "beta_2"),
        (TwoAdam, tf_keras.optimizers.Adam, "beta_1", "beta_2"),
        (legacy.Adam, tf_keras.optimizers.legacy.Adam, "beta_1", "beta_2"),
        (v1.AdamOptimizer, tf.compat.v1.train.AdamOptimizer, "beta1", "beta2"),
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_bfloat16_variables_that_train_with_the_original_have_its_bits(
    sparse: bool, ours: Any, stock: Any, first: str, second: str, graph: bool
) -> None:
    def run(kind: Any) -> Any:
        variables = [tf.Variable(tf.fill([4, 1], tf.constant(0.1, tf.bfloat16))), tf.Variable([1.0, 2.0])]
        optimizer = kind(0.01, **{first: 0.8, second: 0.99})
        if hasattr(optimizer, "build"):
            optimizer.build(variables)

        def step() -> None:
            narrow = tf.constant([[0.3], [-2.0], [0.1], [1.0]], tf.bfloat16)
            rows = tf.IndexedSlices(narrow[:2], tf.constant([1, 3]), tf.constant([4, 1]))
            pairs = [(rows if sparse else narrow, variables[0]), (tf.constant([0.3, -0.1]), variables[1])]
            optimizer.apply_gradients(pairs)

        call = tf.function(step) if graph else step
        for _ in range(5):
            call()
        return [variable.numpy().astype(np.float32) for variable in variables]

    for one, other in zip(run(ours), run(stock), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("options", [{}, {"fused": True}])
@pytest.mark.parametrize("graph", [False, True])
def test_callable_betas(graph: bool, options: dict[str, Any]) -> None:
    def run(beta1: Any, beta2: Any) -> Any:
        variable, optimizer = tf.Variable([1.0, 2.0]), Adam(0.1, beta1, beta2, **options)
        optimizer.build([variable])

        def step(gradient: Any) -> None:
            optimizer.apply_gradients([(gradient, variable)])

        call = tf.function(step) if graph else step
        for count in range(4):
            call(tf.constant([0.5, -0.1 * count]))
        return variable.numpy()

    np.testing.assert_array_equal(run(lambda: 0.8, lambda: 0.95), run(0.8, 0.95))
    with pytest.raises((TypeError, ValueError)):
        STOCK(beta_1=lambda: 0.8).apply_gradients([(tf.constant([1.0]), tf.Variable([1.0]))])


def test_callable_betas_are_asked_every_step() -> None:
    asked: list[float] = []

    def beta() -> float:
        asked.append(0.8)
        return asked[-1]

    variable, optimizer = tf.Variable([1.0]), Adam(beta_1=beta)
    for _ in range(4):
        optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    assert len(asked) >= 4


def after_copy(kind: Any, duplicate: Any, **options: Any) -> tuple[Any, Any]:
    """The variable after two more steps with the optimizer, and with its copy."""
    variable = tf.Variable([1.0, 2.0])
    optimizer = kind(0.1, **options)
    for count in range(3):
        optimizer.apply_gradients([(tf.constant([0.5, -0.1 * count]), variable)])
    other = tf.Variable(variable)
    twin = duplicate(optimizer)
    for count in range(2):
        optimizer.apply_gradients([(tf.constant([2.0, 0.3 * count]), variable)])
        twin.apply_gradients([(tf.constant([2.0, 0.3 * count]), other)])
    return variable.numpy(), other.numpy()


def pickled(optimizer: Any) -> Any:
    return pickle.loads(pickle.dumps(optimizer))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
@pytest.mark.parametrize(
    "options", [{}, {"amsgrad": True}, {"use_ema": True, "ema_overwrite_frequency": 2}, {"weight_decay": 0.1}]
)
def test_copies_keep_their_state(duplicate: Any, options: dict[str, Any]) -> None:
    original, copied = after_copy(Adam, duplicate, **options)
    np.testing.assert_array_equal(original, copied)


def test_copies_of_keras_lose_their_state() -> None:
    try:
        original, copied = after_copy(STOCK, pickled)
    except Exception:  # noqa: BLE001, RUF100
        return
    assert (original != copied).any()


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_copies_keep_schedules_exclusions_and_attributes(kind: Any) -> None:
    optimizer = kind(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), weight_decay=0.5, fused=True)
    variables = [tf.Variable([1.0]), tf.Variable([1.0])]
    optimizer.exclude_from_weight_decay(var_list=[variables[0]])
    optimizer.apply_gradients([(tf.constant([0.0]), variable) for variable in variables])
    twin = pickled(pickled(optimizer))
    assert type(twin) is kind and twin.fused is True and twin.iterations.numpy() == 1
    fresh = [tf.Variable([1.0]), tf.Variable([1.0])]
    twin.apply_gradients([(tf.constant([0.0]), variable) for variable in fresh])
    assert fresh[0].numpy() == [1.0] and fresh[1].numpy() < [1.0]
    assert twin.iterations.numpy() == 2


def test_a_copy_refuses_other_variables() -> None:
    optimizer = Adam()
    optimizer.apply_gradients([(tf.constant([1.0]), tf.Variable([1.0]))])
    with pytest.raises(ValueError, match="copy of one for other variables"):
        copy.deepcopy(optimizer).apply_gradients([(tf.ones(2), tf.Variable([1.0, 2.0]))])


SESSION = """
import os, warnings
import tensorflow as tf
from adamcompat.tensorflow import Adam, AdamW
tf.compat.v1.disable_eager_execution()
for kind in {kinds}:
    weight = tf.Variable([1.0])
    optimizer = kind(0.1)
    try:
        optimizer.build([weight])
        optimizer.apply_gradients([(tf.constant([1.0]), weight)])
    except RuntimeError as error:
        print("refused", error)
    else:
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            print("accepted", session.run(weight))
"""


@pytest.mark.parametrize("settings", [{}, {"TF_USE_LEGACY_KERAS": "1"}], ids=["keras", "tf_keras"])
def test_a_session_is_refused_instead_of_updating_nothing(settings: dict[str, Any]) -> None:
    refused = run_python(SESSION.format(kinds="Adam, AdamW"), **settings).strip().splitlines()
    for line, name in zip(refused, ("Adam", "AdamW"), strict=True):
        assert line.startswith(f"refused adamcompat.tensorflow.{name} needs eager") and "v1.AdamOptimizer" in line
    stock = "tf.keras.optimizers.Adam, tf.keras.optimizers.AdamW"
    assert run_python(SESSION.format(kinds=stock), **settings).count("accepted [1.]") == 2


ERRORS: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, "here it is 'learning_rate'", {"lr": 0.1}),
    (ValueError, "here it is 'beta_1'", {"beta1": 0.5}),
    (ValueError, "no parameter 'foo'", {"foo": 1}),
    (ValueError, "write 1.0", {"learning_rate": 1}),
    (ValueError, "exclude each other", {"clipnorm": 1.0, "clipvalue": 1.0}),
    (ValueError, "gradient_accumulation_steps", {"gradient_accumulation_steps": 1}),
    (ValueError, r"ema_momentum must lie in \[0, 1\]", {"use_ema": True, "ema_momentum": 1.5}),
    (TypeError, "ema_momentum must be a number", {"use_ema": True, "ema_momentum": "much"}),
    (ValueError, r"must lie in \[1, inf\)", {"use_ema": True, "ema_overwrite_frequency": -1}),
    # What is blamed is what the original stumbles over, not what would be odd elsewhere.
    (ValueError, "exclude each other", {"beta_1": 1.5, "clipnorm": 1.0, "clipvalue": 1.0}),
    (ValueError, "fused must be", {"fused": "yes"}),
    (ValueError, "corrections must be", {"corrections": "yes"}),
]


@pytest.mark.parametrize(("error", "text", "options"), ERRORS)
def test_errors_name_the_fix(error: type[Exception], text: str, options: dict[str, Any]) -> None:
    for kind in (Adam, AdamW):
        with pytest.raises(error, match=text):
            kind(**options)


def test_adamw_needs_its_decay() -> None:
    """As in the original, with its words."""
    with pytest.raises(ValueError, match="weight_decay must be a number, got None") as caught:
        AdamW(weight_decay=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a float") as stock:
        keras.optimizers.AdamW(weight_decay=None)
    assert str(stock.value) in str(caught.value)


@pytest.mark.usefixtures("nothing_said")
@pytest.mark.filterwarnings("error")
def test_the_decay_that_keras_ignores_is_ignored_with_the_way_out() -> None:
    with pytest.warns(UserWarning, match=r"decay=0.1: Keras 3 ignores it.*InverseTimeDecay\(learning_rate, decay_s"):
        optimizer = Adam(0.5, decay=0.1)
    assert optimizer.get_config() == Adam(0.5, decay=0.2, name=optimizer.name).get_config()
    Adam(decay=None)
    Adam(decay=0.0)
    with pytest.warns(UserWarning, match=r"InverseTimeDecay\(.*\) instead$"):
        AdamW(0.5, decay=0.1)


def test_gradients_that_cannot_be_applied() -> None:
    variable, optimizer = tf.Variable([1.0]), Adam()
    with pytest.raises(ValueError, match="inside the GradientTape"):
        optimizer.apply_gradients([(None, variable)])
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply_gradients([])
    optimizer.apply_gradients([(tf.constant([1.0], tf.float64), variable)])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply_gradients([(tf.constant([1.0]), tf.Variable([1.0]))])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        Adam().apply_gradients([(None, tf.Variable([1.0])), (tf.constant([1.0]), variable)])


def test_many_optimizers_that_decay_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """TensorFlow warns of one function that is traced for each of them."""
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        for size in range(1, 13):
            variables = [tf.Variable(tf.ones([size])) for _ in range(2)]
            optimizer = AdamW(0.01)
            for _ in range(4):
                optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in variables])
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records if "retracing" in record.getMessage()] == []

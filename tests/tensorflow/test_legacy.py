"""adamcompat.tensorflow.legacy.Adam against tf_keras's and what TensorFlow 2.6.5 recorded."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adamcompat.tensorflow import Adam
from adamcompat.tensorflow.legacy import Adam as LegacyAdam
from adamcompat.tensorflow.v1 import AdamOptimizer
from tests.tensorflow.tf_helpers import ROOT

pytestmark = pytest.mark.frameworks
STOCK = tf_keras.optimizers.legacy.Adam


@cache
def golden() -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(ROOT / "tests/data/tf26_shared.npz") as file:
        arrays = dict(file)
    return arrays, json.loads(bytes(arrays["meta"]))


def cases(sparse: bool, v1: bool) -> list[str]:
    return [
        name
        for name, case in golden()[1]["cases"].items()
        if bool(case.get("sparse")) == sparse and case["api"].endswith("AdamOptimizer") == v1
    ]


def arguments(case: str, schedules: Any) -> dict[str, Any]:
    found = dict(golden()[1]["cases"][case]["kwargs"])
    rate = found.get("learning_rate")
    if isinstance(rate, dict):
        rate = dict(rate)
        found["learning_rate"] = getattr(schedules, rate.pop("schedule"))(**rate)
    return found


def dense_steps() -> Iterator[tuple[int, list[Any]]]:
    arrays, meta = golden()
    for step in range(meta["steps"]):
        yield step + 1, [tf.constant(arrays[f"grad/{i}"][step]) for i in range(3)]


def check_dense(case: str, optimizer: Any, *, spacings: float) -> None:
    arrays, meta = golden()
    variables = [tf.Variable(arrays[f"x0/{i}"]) for i in range(3)]
    for step, gradients in dense_steps():
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if step in meta["keep"]:
            for i, variable in enumerate(variables):
                expected = arrays[f"{case}/{step}/{i}"]
                limit = spacings * np.spacing(np.abs(expected).max())
                np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("case", cases(sparse=False, v1=False))
def test_golden(case: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The `lr` argument is deprecated")
        optimizer = LegacyAdam(**arguments(case, tf_keras.optimizers.schedules))
    check_dense(case, optimizer, spacings=2)


@pytest.mark.parametrize("case", cases(sparse=False, v1=True))
def test_golden_v1(case: str) -> None:
    check_dense(case, AdamOptimizer(**arguments(case, None)), spacings=2)


# Not the schedules: those are Keras 3's, and round their own way.
@pytest.mark.parametrize("case", ["default", "lr", "betas", "eps_large", "eps_1e-3", "eps_tiny", "amsgrad"])
def test_golden_fused(case: str) -> None:
    check_dense(case, Adam(**arguments(case, None), fused=True), spacings=2)


@pytest.mark.parametrize("kind", ["legacy", "fused"])
@pytest.mark.parametrize("case", cases(sparse=True, v1=False))
def test_golden_sparse(case: str, kind: str) -> None:
    arrays, meta = golden()
    options = arguments(case, None)
    optimizer = LegacyAdam(**options) if kind == "legacy" else Adam(**options, fused=True)
    variable = tf.Variable(arrays["sparse/x0"])
    for step in range(meta["steps"]):
        values, indices = arrays["sparse/values"][step], arrays["sparse/indices"][step]
        gradient = tf.IndexedSlices(tf.constant(values), tf.constant(indices), variable.shape)
        optimizer.apply_gradients([(gradient, variable)])
        if step + 1 in meta["keep"]:
            expected = arrays[f"{case}/{step + 1}"]
            limit = 2 * np.spacing(np.abs(expected).max())
            np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=limit)


@pytest.mark.parametrize(
    "options",
    [{}, {"amsgrad": True}, {"decay": 0.1}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"beta_1": lambda: 0.8}],
    ids=lambda options: next(iter(options), "default"),
)
def test_same_bits_as_tf_keras(options: dict[str, Any]) -> None:
    def run(kind: Any) -> Any:
        variables = [tf.Variable([1.0, -2.0, 3.0]), tf.Variable([[0.5], [2.0]])]
        optimizer = kind(0.01, **options)
        for step in range(30):
            gradients = [tf.constant([0.3, 0.2, -0.1]) * (step + 1), tf.constant([[4.0], [-1.0]])]
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return [*(v.numpy() for v in variables), *optimizer.get_weights()]

    for a, b in zip(run(LegacyAdam), run(STOCK), strict=True):
        np.testing.assert_array_equal(a, b)


def test_works_in_a_session() -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("w", initializer=[1.0])
        train = LegacyAdam(0.1).apply_gradients([(tf.constant([1.0]), variable)])
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(train)
        assert session.run(variable)[0] == pytest.approx(0.9)


@pytest.mark.parametrize(("kind", "moves"), [(STOCK, False), (LegacyAdam, True)])
@pytest.mark.parametrize("sparse", [False, True])
def test_bfloat16_variables_move(kind: Any, moves: bool, sparse: bool) -> None:
    variable, optimizer = tf.Variable(tf.ones((2, 1), tf.bfloat16) * 0.1), kind(0.01)
    ones = tf.ones((2, 1), tf.bfloat16)
    for _ in range(3):
        gradient = tf.IndexedSlices(ones, tf.constant([0, 1]), variable.shape) if sparse else ones
        optimizer.apply_gradients([(gradient, variable)])
    assert (float(variable.numpy()[0, 0]) < 0.08) == moves


@pytest.mark.parametrize(("writer", "reader"), [(STOCK, LegacyAdam), (LegacyAdam, STOCK)])
def test_checkpoints_both_ways(writer: Any, reader: Any, tmp_path: Path) -> None:
    def start(kind: Any) -> Any:
        variable, optimizer = tf.Variable([1.0, 2.0]), kind(0.1)
        return variable, optimizer, tf.train.Checkpoint(variable=variable, optimizer=optimizer)

    gradient = tf.constant([0.3, -0.2])
    variable, optimizer, checkpoint = start(writer)
    optimizer.apply_gradients([(gradient, variable)])
    path = checkpoint.write(str(tmp_path / "state"))
    optimizer.apply_gradients([(2 * gradient, variable)])
    expected = variable.numpy()
    variable, optimizer, checkpoint = start(reader)
    checkpoint.read(path)
    optimizer.apply_gradients([(2 * gradient, variable)])
    np.testing.assert_array_equal(variable.numpy(), expected)


def test_errors_name_the_fix() -> None:
    with pytest.raises(TypeError, match="here it is 'beta_1'"):
        LegacyAdam(beta1=0.5)
    with pytest.raises(ValueError, match=r"clipnorm must lie in \[0, inf\), got -0.5"):
        LegacyAdam(clipnorm=-0.5, beta_1=-0.5)
    with pytest.raises(ValueError, match="'clipnorm' and 'global_clipnorm' exclude each other"):
        LegacyAdam(clipnorm=0.5, global_clipnorm=0.5)
    with pytest.raises(ValueError, match="'clipvalue' and 'gradient_transformers' exclude each other"):
        LegacyAdam(clipvalue=0.5, gradient_transformers=[lambda pairs: pairs])
    with pytest.raises(TypeError, match="decay must be a number, got 'much'"):
        LegacyAdam(1, decay="much")
    variable = tf.Variable([1.0])
    with pytest.raises(ValueError, match="inside the GradientTape"):
        LegacyAdam().apply_gradients([(None, variable)])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"tf.cast\(gradient, tf.float32\)"):
        LegacyAdam().apply_gradients([(tf.constant([1.0], tf.float64), variable)])
    with pytest.warns(UserWarning, match="deprecated"):
        assert LegacyAdam(lr=0.5).get_config()["learning_rate"] == 0.5


@pytest.mark.parametrize("epsilon", [None, 0, 0.0, 1e-3])
def test_an_epsilon_of_nothing_is_keras_own(epsilon: Any) -> None:
    def run(kind: Any) -> Any:
        variable, optimizer = tf.Variable([1.0, 2.0]), kind(0.1, epsilon=epsilon)
        for _ in range(3):
            optimizer.apply_gradients([(tf.constant([1e-4, 2e-3]), variable)])
        return variable.numpy(), optimizer.get_config()["epsilon"]

    before = tf_keras.backend.epsilon()
    try:
        for own in (before, 1e-2):
            tf_keras.backend.set_epsilon(own)
            (ours, here), (stock, there) = run(LegacyAdam), run(STOCK)
            assert here == there == (epsilon or own)
            np.testing.assert_array_equal(ours, stock)
    finally:
        tf_keras.backend.set_epsilon(before)


def doubled(pairs: Any) -> Any:
    return [(2 * gradient, variable) for gradient, variable in pairs]


def cast(pairs: Any) -> Any:
    return [(tf.cast(gradient, variable.dtype), variable) for gradient, variable in pairs]


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"gradient_aggregator": doubled}, tf.float32),
        ({"gradient_transformers": [doubled, doubled]}, tf.float32),
        ({"gradient_aggregator": doubled, "clipnorm": 0.1}, tf.float32),
        ({"gradient_aggregator": None, "gradient_transformers": None}, tf.float32),
        # What mends the dtype of a gradient comes before the update.
        ({"gradient_transformers": [cast]}, tf.float64),
    ],
)
def test_functions_on_gradients(options: dict[str, Any], dtype: Any) -> None:
    def run(kind: Any) -> Any:
        variable, optimizer = tf.Variable([1.0, 2.0]), kind(0.1, epsilon=1.0, **options)
        for _ in range(3):
            optimizer.apply_gradients([(tf.constant([0.3, 0.2], dtype), variable)])
        optimizer.minimize(lambda: tf.reduce_sum(variable**2), [variable])
        return variable.numpy()

    np.testing.assert_array_equal(run(LegacyAdam), run(STOCK))


def test_keras_3_refuses_it_with_the_way_out() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"adamcompat\.tensorflow\.Adam\(fused=True\).*TF_USE_LEGACY_KERAS=1"):
        model.compile(LegacyAdam(), "mse")
    assert "TF_USE_LEGACY_KERAS" not in repr(STOCK())


def test_a_loop_over_a_keras_3_model() -> None:
    def run(kind: Any, **options: Any) -> Any:
        variables = [keras.Variable([1.0, 2.0]), keras.Variable(np.ones((2, 3), "f"))]
        optimizer = kind(0.1, **options)
        for count in range(3):
            optimizer.apply_gradients([(tf.fill(variable.shape, 0.5 + count), variable) for variable in variables])
        return np.concatenate([np.ravel(variable) for variable in variables])

    np.testing.assert_array_equal(run(LegacyAdam), run(Adam, fused=True))
    with pytest.raises(AttributeError):
        run(STOCK)


def names_in_eager(optimizer: Any, gradient: Any) -> list[str]:
    variable = tf.Variable([1.0, 2.0], name="w")
    optimizer.apply_gradients([(gradient, variable)])
    return names_of(optimizer)


def names_in_a_scope(optimizer: Any, gradient: Any) -> list[str]:
    with tf.name_scope("outer"):
        return names_in_eager(optimizer, gradient)


def names_in_a_function(optimizer: Any, gradient: Any) -> list[str]:
    variable = tf.Variable([1.0, 2.0], name="w")

    def step() -> None:
        optimizer.apply_gradients([(gradient, variable)])

    tf.function(step)()
    return names_of(optimizer)


def names_of(optimizer: Any) -> list[str]:
    variables = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    return [getattr(variable, "path", variable.name) for variable in variables]


@pytest.mark.parametrize("name", [None, "Mine"])
@pytest.mark.parametrize("names", [names_in_eager, names_in_a_scope, names_in_a_function])
@pytest.mark.parametrize(
    ("original", "ours"),
    [
        (keras.optimizers.Adam, Adam),
        (STOCK, LegacyAdam),
        (tf.compat.v1.train.AdamOptimizer, AdamOptimizer),
    ],
)
def test_variables_have_the_names_that_the_original_gives(original: Any, ours: Any, names: Any, name: Any) -> None:
    def made_by(cls: Any) -> list[str]:
        keras.utils.clear_session(free_memory=False)  # names that are given once are given again
        tf_keras.backend.clear_session()
        found: list[str] = names(cls() if name is None else cls(name=name), tf.constant([1.0, 2.0]))
        return found

    assert len(made_by(original)) > 2
    assert made_by(ours) == made_by(original)


@pytest.mark.parametrize(("original", "ours"), [(STOCK, LegacyAdam), (tf.compat.v1.train.AdamOptimizer, AdamOptimizer)])
def test_variables_have_the_names_that_the_original_gives_in_a_graph(original: Any, ours: Any) -> None:
    def names(optimizer: Any) -> list[str]:
        with tf.Graph().as_default(), tf.name_scope("outer"):
            variable = tf.Variable([1.0, 2.0], name="w")
            for scope in ("one", "two"):
                with tf.name_scope(scope):
                    optimizer.apply_gradients([(tf.constant([1.0, 2.0]), variable)])
            return names_of(optimizer)

    assert names(ours()) == names(original())

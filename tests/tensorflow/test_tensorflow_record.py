"""Recording TensorFlow's and Keras's optimizers, ours and the originals, without a trace in the training."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adamcompat import compare, record
from adamcompat.recording import read
from adamcompat.tensorflow import Adam, MindSporeStyleAdam, legacy, v1
from tests.tensorflow.tf_helpers import run_python

pytestmark = pytest.mark.frameworks
pytest.importorskip("safetensors")

RNG = np.random.default_rng(5)
X = RNG.standard_normal((64, 6)).astype(np.float32)
Y = RNG.standard_normal((64, 2)).astype(np.float32)
STEPS = 12

KINDS: dict[str, Callable[[], Any]] = {
    "keras3": lambda: keras.optimizers.Adam(0.02, weight_decay=0.01, global_clipnorm=1.0),
    "tf_keras": lambda: tf_keras.optimizers.Adam(0.02, amsgrad=True),
    "tf26": lambda: tf_keras.optimizers.legacy.Adam(0.02, decay=0.1),
    "tf1": lambda: tf.compat.v1.train.AdamOptimizer(0.02),
    "adamcompat.tensorflow.Adam": lambda: Adam(0.02, clipnorm=0.5),
    "adamcompat.tensorflow.legacy.Adam": lambda: legacy.Adam(0.02),
    "adamcompat.tensorflow.v1.AdamOptimizer": lambda: v1.AdamOptimizer(0.02, use_nesterov=True),
}


def custom_loop(optimizer: Any, path: Path | None, traced: bool) -> list[Any]:
    """A training loop with a tape; returns the weights."""
    rng = np.random.default_rng(1)
    shapes = {"hidden/kernel": (6, 8), "hidden/bias": (8,), "out/kernel": (8, 2)}
    variables = [tf.Variable(rng.standard_normal(s).astype(np.float32), name=n) for n, s in shapes.items()]
    recorder = record(optimizer, path) if path is not None else None
    if hasattr(optimizer, "build"):
        optimizer.build(variables)

    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            hidden = tf.nn.tanh(x @ variables[0] + variables[1])
            loss = tf.reduce_mean((hidden @ variables[2] - y) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run = tf.function(step) if traced else step
    for i in range(STEPS):
        run(tf.constant(X[i : i + 8]), tf.constant(Y[i : i + 8]))
    if recorder is not None:
        recorder.close()
    return [variable.numpy() for variable in variables]


def equal(one: list[Any], other: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("name", KINDS)
def test_the_training_has_the_same_bits_and_the_replay_too(name: str, traced: bool, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    recorded = custom_loop(KINDS[name](), path, traced)
    assert equal(recorded, custom_loop(KINDS[name](), None, traced))
    found = read(path)
    assert (found.steps, found.start, found.driver) == (STEPS, 0, name)
    assert equal([array[-1] for array in found.parameters], recorded)
    assert found.hyperparameters is not None
    assert found.hyperparameters["learning_rate"] == 0.02
    assert compare("recorded", name, gradients=path).pairs[0].spacings == 0


def test_mindspores_call(tmp_path: Path) -> None:
    def train(path: Path | None) -> list[Any]:
        variables = [tf.Variable(X[:3], name="a"), tf.Variable(X[3], name="gamma")]
        optimizer = MindSporeStyleAdam(variables, 0.05, weight_decay=0.1, numerics="mindspore")
        recorder = record(optimizer, path) if path is not None else None
        for _ in range(5):
            optimizer(tuple(tf.convert_to_tensor(variable) for variable in variables))
        if recorder is not None:
            recorder.close()
        return [variable.numpy() for variable in variables]

    assert equal(train(tmp_path / "x"), train(None))
    for name in ("adamcompat.tensorflow.MindSporeStyleAdam", "adamcompat.MindSporeStyleAdam(numerics='mindspore')"):
        found = compare("recorded", name, gradients=tmp_path / "x")
        assert found.runs[0].hyperparameters["l2_weight_decay"] == "0.1"
        assert found.agree, name


def test_groups_are_recorded_and_replayed(tmp_path: Path) -> None:
    variables = [tf.Variable(X[:3], name="a"), tf.Variable(X[3], name="gamma")]
    groups = [{"params": variables[1:], "lr": 0.1}, {"params": variables[:1], "grad_centralization": True}]
    optimizer = MindSporeStyleAdam(groups, 0.05, weight_decay=0.1)
    with record(optimizer, tmp_path / "x"):
        for _ in range(5):
            optimizer(tuple(tf.convert_to_tensor(variable) for variable in variables[::-1]))
    found = read(tmp_path / "x")
    assert found.hyperparameters is not None
    assert found.hyperparameters["params"] == [
        {"params": ["gamma"], "lr": 0.1},
        {"params": ["a"], "grad_centralization": True},
    ]
    names = "adamcompat.tensorflow.MindSporeStyleAdam", "adamcompat.MindSporeStyleAdam"
    compared = compare("recorded", *names, gradients=tmp_path / "x")
    assert [pair.spacings for pair in compared.pairs] == [0, 0, 0]


def fitted(optimizer: Any, path: Path | None, library: Any, **compiled: Any) -> list[Any]:
    library.utils.set_random_seed(3)
    layers = library.layers
    model = library.Sequential([layers.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    model.compile(optimizer, "mse", **compiled)
    recorder = record(optimizer, path, every=4) if path is not None else None
    model.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    if recorder is not None:
        recorder.close()
    return list(model.get_weights())


@pytest.mark.parametrize(
    ("name", "library"),
    [("keras3", keras), ("adamcompat.tensorflow.Adam", keras), ("tf_keras", tf_keras), ("tf26", tf_keras)],
)
def test_fit(name: str, library: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    recorded = fitted(KINDS[name](), path, library)
    assert equal(recorded, fitted(KINDS[name](), None, library))
    found = read(path)
    assert (found.steps, found.kept) == (8, (4, 8))
    assert equal([array[-1] for array in found.parameters], recorded)
    assert compare("recorded", name, gradients=path).agree


def test_steps_under_jit_are_said_not_to_be_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "adamcompat"):
        recorded = fitted(keras.optimizers.Adam(0.02), tmp_path / "x", keras, jit_compile=True)
    assert equal(recorded, fitted(keras.optimizers.Adam(0.02), None, keras, jit_compile=True))
    assert [entry.message.split(";")[0] for entry in caplog.records] == [
        "adamcompat.record: steps inside jit_compile=True are not recorded: nothing can be copied out of them"
    ]
    assert not list(tmp_path.iterdir())


def test_closing_leaves_the_optimizer_as_it_was(tmp_path: Path) -> None:
    for make in KINDS.values():
        optimizer = make()
        before = set(vars(optimizer)), type(optimizer)
        recorder = record(optimizer, tmp_path / "x")
        with pytest.raises(ValueError, match="being recorded already"):
            record(optimizer, tmp_path / "y")
        recorder.stop("not used")
        recorder.close()
        assert (set(vars(optimizer)), type(optimizer)) == before


def test_a_function_that_outlives_the_recorder_goes_on(tmp_path: Path) -> None:
    variable, optimizer = tf.Variable([1.0, 2.0]), keras.optimizers.Adam(0.1)
    optimizer.build([variable])
    step = tf.function(lambda: optimizer.apply_gradients([(tf.constant([1.0, 1.0]), variable)]))
    with record(optimizer, tmp_path / "x") as recorder:
        step()
    step()
    np.testing.assert_allclose(variable.numpy(), [0.8, 1.8], atol=1e-5)
    assert (recorder.steps, read(tmp_path / "x").steps) == (1, 1)


def test_sparse_and_missing_gradients(tmp_path: Path) -> None:
    table, never = tf.Variable(np.ones((4, 2), np.float32), name="table"), tf.Variable([1.0], name="never")
    optimizer = tf_keras.optimizers.legacy.Adam(0.1)
    with record(optimizer, tmp_path / "x"):
        slices = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([1, 1]), tf.constant([4, 2]))
        optimizer.apply_gradients([(slices, table), (None, never)])
    found = read(tmp_path / "x")
    assert found.names == ("table",)
    assert found.gradients[0][0].tolist() == [[0, 0], [2, 2], [0, 0], [0, 0]]
    assert compare("recorded", "tf26", gradients=tmp_path / "x").agree


def test_recording_that_begins_later_says_so(tmp_path: Path) -> None:
    for make in (KINDS["keras3"], KINDS["tf26"], KINDS["tf1"]):
        variable, optimizer = tf.Variable([1.0, 2.0]), make()
        optimizer.apply_gradients([(tf.constant([1.0, 1.0]), variable)])
        with record(optimizer, tmp_path / "x"):
            optimizer.apply_gradients([(tf.constant([1.0, 1.0]), variable)])
        assert read(tmp_path / "x").start == 1


def test_a_session_of_tensorflow_1(tmp_path: Path) -> None:
    code = """
        import numpy as np
        import tensorflow as tf
        from adamcompat import record
        tf.compat.v1.disable_eager_execution()
        def train(path):
            with tf.Graph().as_default():
                w = tf.compat.v1.get_variable("w", initializer=np.arange(6, dtype=np.float32).reshape(2, 3))
                loss = tf.reduce_sum((w - 2.0) ** 2)
                optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
                recorder = record(optimizer, path) if path else None
                train_op = optimizer.minimize(loss)
                with tf.compat.v1.Session() as session:
                    session.run(tf.compat.v1.global_variables_initializer())
                    for _ in range(7):
                        session.run(train_op)
                    if recorder:
                        recorder.close()
                    return session.run(w)
        one, other = train(PATH), train(None)
        assert np.array_equal(one, other)
        print(one.tobytes().hex())
    """
    path = tmp_path / "run.safetensors"
    printed = run_python(f"PATH = {str(path)!r}\n" + textwrap.dedent(code))
    found = read(path)
    assert (found.steps, found.names) == (7, ("w",))
    assert found.parameters[0][-1].tobytes().hex() == printed.strip()
    for name in ("tf1", "tf1:graph"):
        assert compare("recorded", name, gradients=path).pairs[0].spacings == 0

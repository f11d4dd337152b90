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
from adamcompat.tensorflow import Adam, AdamW, MindSporeStyleAdam, MindSporeStyleAdamWeightDecay, legacy, v1
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
    "keras3_adamw": lambda: keras.optimizers.AdamW(0.02, amsgrad=True),
    "tf_keras_adamw": lambda: tf_keras.optimizers.AdamW(0.02),
    "tf26": lambda: tf_keras.optimizers.legacy.Adam(0.02, decay=0.1),
    "tf1": lambda: tf.compat.v1.train.AdamOptimizer(0.02),
    "adamcompat.tensorflow.Adam": lambda: Adam(0.02, clipnorm=0.5),
    "adamcompat.tensorflow.AdamW": lambda: AdamW(0.02, clipnorm=0.5),
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
    decay = {"keras3": 0.01}.get(name, 0.004 if "adamw" in name.lower() else None)
    assert found.hyperparameters.get("weight_decay") == decay
    assert compare("recorded", name, gradients=path).pairs[0].spacings == 0


@pytest.mark.parametrize(
    ("style", "meaning"),
    [(MindSporeStyleAdam, "l2_weight_decay"), (MindSporeStyleAdamWeightDecay, "decoupled_weight_decay")],
)
def test_mindspores_call(style: Any, meaning: str, tmp_path: Path) -> None:
    def train(path: Path | None) -> list[Any]:
        variables = [tf.Variable(X[:3], name="a"), tf.Variable(X[3], name="gamma")]
        optimizer = style(variables, 0.05, weight_decay=0.1, numerics="mindspore")
        recorder = record(optimizer, path) if path is not None else None
        for _ in range(5):
            optimizer(tuple(tf.convert_to_tensor(variable) for variable in variables))
        if recorder is not None:
            recorder.close()
        return [variable.numpy() for variable in variables]

    assert equal(train(tmp_path / "x"), train(None))
    for name in (f"adamcompat.tensorflow.{style.__name__}", f"adamcompat.{style.__name__}(numerics='mindspore')"):
        found = compare("recorded", name, gradients=tmp_path / "x")
        assert found.runs[0].hyperparameters[meaning] == "0.1"
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


# Recordings that begin in the middle of a training.

STYLES: dict[str, Callable[[Any], Any]] = {
    "adamcompat.tensorflow.MindSporeStyleAdam": lambda variables: MindSporeStyleAdam(variables, 0.02, use_amsgrad=True),
    "MindSporeStyleAdam, products": lambda variables: MindSporeStyleAdam(
        [{"params": variables[1:], "lr": 0.1}, {"params": variables[:1]}], 0.02, numerics="mindspore"
    ),
}
MORE: dict[str, Callable[[], Any]] = {
    "keras3 with all": lambda: keras.optimizers.Adam(
        0.02, amsgrad=True, use_ema=True, ema_momentum=0.9, gradient_accumulation_steps=2
    ),
    "ours with all": lambda: Adam(0.02, amsgrad=True, use_ema=True, gradient_accumulation_steps=2),
    "tf_keras with averages": lambda: tf_keras.optimizers.Adam(0.02, use_ema=True),
}


class Loop:
    """Training steps of which some are recorded."""

    def __init__(self, make: Callable[[Any], Any], traced: bool) -> None:
        rng = np.random.default_rng(1)
        shapes = {"hidden/kernel": (6, 8), "hidden/bias": (8,), "out/kernel": (8, 2)}
        self.variables = [tf.Variable(rng.standard_normal(s).astype(np.float32), name=n) for n, s in shapes.items()]
        self.optimizer = make(self.variables)
        self.traced = traced
        if hasattr(self.optimizer, "build"):
            self.optimizer.build(self.variables)

    def _step(self, x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            hidden = tf.nn.tanh(x @ self.variables[0] + self.variables[1])
            loss = tf.reduce_mean((hidden @ self.variables[2] - y) ** 2)
        gradients = tape.gradient(loss, self.variables)
        if isinstance(self.optimizer, MindSporeStyleAdam):
            self.optimizer(tuple(gradients[self.place(v)] for v in self.optimizer.parameters))
        else:
            self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))

    def place(self, variable: Any) -> int:
        return next(i for i, own in enumerate(self.variables) if own is variable)

    def go_on(self, steps: range) -> None:
        # A function of its own each time: what was traced before recording began is not recorded.
        run = tf.function(self._step) if self.traced else self._step
        for i in steps:
            run(tf.constant(X[i : i + 8]), tf.constant(Y[i : i + 8]))

    @property
    def values(self) -> list[Any]:
        return [variable.numpy() for variable in self.variables]


def windowed(make: Callable[[Any], Any], path: Path | None, traced: bool) -> list[Any]:
    loop = Loop(make, traced)
    loop.go_on(range(7))
    if path is None:
        loop.go_on(range(7, 12))
    else:
        with record(loop.optimizer, path):
            loop.go_on(range(7, 12))
    return loop.values


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("name", [*KINDS, *MORE, *STYLES])
def test_any_window_is_replayed(name: str, traced: bool, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def make(variables: Any) -> Any:
        return STYLES[name](variables) if name in STYLES else {**KINDS, **MORE}[name]()

    recorded = windowed(make, path, traced)
    assert equal(recorded, windowed(make, None, traced))
    found = read(path)
    assert (found.start, found.steps) == (7, 5)
    assert found.state is not None
    assert found.driver is not None
    pair = compare("recorded", found.driver, gradients=path).pairs[0]
    assert (pair.spacings, len(pair.curve)) == (0, 5)
    assert equal([array[-1] for array in found.parameters], [recorded[place_of(n)] for n in found.names])


def place_of(name: str) -> int:
    return next(i for i, part in enumerate(("hidden/kernel", "hidden/bias", "out/kernel")) if part in name)


@pytest.mark.parametrize("driver", ["keras3:function", "keras3:jit", "tf26", "tf1", "tf1:graph", "tf_keras"])
def test_a_window_goes_through_other_optimizers(driver: str, tmp_path: Path) -> None:
    """All of them begin with the moments and the step of the recording."""
    path = tmp_path / "x"
    windowed(lambda variables: keras.optimizers.Adam(0.02, epsilon=1e-7), path, traced=False)
    found = compare("recorded", f"{driver}(epsilon=1e-7)", gradients=path)
    assert found.pairs[0].spacings < 40, found.pairs[0].sentences


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "function"])
def test_other_optimizers_say_that_they_cannot_be_replayed(
    traced: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "adamcompat"):
        windowed(lambda variables: keras.optimizers.SGD(0.1), tmp_path / "x", traced)
    assert len(caplog.records) == 1
    assert "recording begins after 7 steps of keras.src.optimizers.sgd.SGD, whose state is not known" in caplog.text
    with pytest.raises(ValueError, match="a replay needs the moments"):
        compare("keras3", "tf26", gradients=tmp_path / "x")


def test_a_window_of_fit(tmp_path: Path) -> None:
    def trained(path: Path | None) -> Any:
        keras.utils.set_random_seed(3)
        layers = keras.layers
        model = keras.Sequential([layers.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
        model.compile(keras.optimizers.Adam(0.02), "mse")
        model.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
        if path is None:
            model.fit(X, Y, batch_size=16, epochs=1, shuffle=False, verbose=0)
            return model.get_weights()
        with record(model.optimizer, path):
            # Keras traces its step anew.
            model.make_train_function(force=True)
            model.fit(X, Y, batch_size=16, epochs=1, shuffle=False, verbose=0)
        return model.get_weights()

    assert equal(trained(tmp_path / "x"), trained(None))
    found = read(tmp_path / "x")
    assert (found.start, found.steps) == (8, 4)
    assert compare("recorded", "keras3", gradients=tmp_path / "x").pairs[0].spacings == 0


@pytest.mark.parametrize(
    ("make", "driver"),
    [
        ("tf.compat.v1.train.AdamOptimizer(0.1)", "tf1:graph"),
        ("v1.AdamOptimizer(0.1, amsgrad=True)", "adamcompat.tensorflow.v1.AdamOptimizer:graph"),
        ("tf_keras.optimizers.legacy.Adam(0.1)", "tf26"),
        ("legacy.Adam(0.1)", "adamcompat.tensorflow.legacy.Adam"),
    ],
)
def test_a_session_that_goes_on_from_a_checkpoint(make: str, driver: str, tmp_path: Path) -> None:
    """Variables keep their names and are as many as without recording: checkpoints fit."""
    code = """
        import numpy as np
        import tensorflow as tf, tf_keras
        from adamcompat import record
        from adamcompat.tensorflow import legacy, v1
        tf.compat.v1.disable_eager_execution()

        def train(steps, path=None, save=None, restore=None):
            with tf.Graph().as_default(), tf.name_scope("outer"):
                w = tf.compat.v1.get_variable("w", initializer=np.arange(6, dtype=np.float32).reshape(2, 3))
                u = tf.compat.v1.get_variable("u", initializer=np.ones(4, np.float32))
                loss = tf.reduce_sum((w - 2.0) ** 2) + tf.reduce_sum(u ** 4)
                optimizer = MAKE
                recorder = record(optimizer, path) if path else None
                gradients = tf.gradients(loss, [w, u])
                train_op = optimizer.apply_gradients(list(zip(gradients, [w, u])))
                names = [v.name for v in tf.compat.v1.global_variables()]
                saver = tf.compat.v1.train.Saver()
                with tf.compat.v1.Session() as session:
                    session.run(tf.compat.v1.global_variables_initializer())
                    if restore:
                        saver.restore(session, restore)
                    for _ in range(steps):
                        session.run(train_op)
                    if save:
                        saver.save(session, save)
                    if recorder:
                        recorder.close()
                    return session.run([w, u]), names

        _, before = train(7, save=FOLDER + "/ck")
        one, recorded = train(5, path=FOLDER + "/x", restore=FOLDER + "/ck")
        other, plain = train(5, restore=FOLDER + "/ck")
        assert all(map(np.array_equal, one, other))
        assert before == recorded == plain, (before, recorded)
        print("same")
    """
    text = textwrap.dedent(code).replace("MAKE", make)
    assert run_python(f"FOLDER = {str(tmp_path)!r}\n{text}").strip() == "same"
    found = read(tmp_path / "x")
    assert (found.start, found.steps) == (7, 5)
    pair = compare("recorded", driver, gradients=tmp_path / "x").pairs[0]
    assert (pair.spacings, len(pair.curve)) == (0, 5)


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("known", [False, True], ids=["no dense shape", "its dense shape"])
def test_rows_are_recorded_dense_whether_or_not_they_know_their_shape(
    known: bool, traced: bool, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    variable, optimizer = tf.Variable(np.ones((4, 2), np.float32)), legacy.Adam(0.1)

    def step(values: Any) -> None:
        rows = tf.IndexedSlices(values, tf.constant([1, 3, 1]), tf.constant([4, 2]) if known else None)
        optimizer.apply_gradients([(rows, variable)])

    run = tf.function(step) if traced else step
    with record(optimizer, path):
        run(tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    np.testing.assert_array_equal(read(path).gradients[0][0], [[0, 0], [6, 8], [0, 0], [3, 4]])

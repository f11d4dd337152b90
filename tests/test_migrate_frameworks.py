"""Migrated training scripts run, and train to the same losses, in the real frameworks."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install 'adamcompat[migrate]'")

from adamcompat.migrate import migrate_text

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `lr` argument is deprecated:UserWarning"),
]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("GLOG_v", "3")

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
needs_mindspore = pytest.mark.skipif(find_spec("mindspore") is None, reason="needs MindSpore")

DATA = """
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 1))).astype(np.float32)
"""

TENSORFLOW = {
    "tape": """
        import tensorflow as tf

        class Net(tf.keras.Model):
            def __init__(self):
                super().__init__()
                self.hidden = tf.keras.layers.Dense(8, activation="tanh")
                self.out = tf.keras.layers.Dense(1)

            def call(self, inputs):
                return self.out(self.hidden(inputs))

        tf.keras.utils.set_random_seed(1)
        model = Net()
        optimizer = tf.keras.optimizers.Adam(
            learning_rate=0.01,  # found by hand
            amsgrad=True,
        )

        @tf.function
        def train_step(x, y):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x) - y) ** 2)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            return loss

        losses = [float(train_step(tf.constant(x), tf.constant(y))) for _ in range(8)]
    """,
    "fit": """
        from tensorflow import keras
        from tensorflow.keras.optimizers import Adam, SGD  # the usual two

        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
        model.compile(optimizer=Adam(1e-2, beta_2=0.99), loss="mse")
        losses = model.fit(x, y, epochs=4, batch_size=8, shuffle=False, verbose=0).history["loss"]
        optimizer = model.optimizer
    """,
    "fit with a string": """
        import keras

        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("adam", "mse")
        losses = model.fit(x, y, epochs=4, batch_size=8, shuffle=False, verbose=0).history["loss"]
        optimizer = model.optimizer
    """,
    "fit with AdamW": """
        import keras
        from keras.optimizers import AdamW

        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(AdamW(0.01, weight_decay=0.1), "mse")
        losses = model.fit(x, y, epochs=4, batch_size=8, shuffle=False, verbose=0).history["loss"]
        model.compile("adamw", "mse")
        losses += model.fit(x, y, epochs=4, batch_size=8, shuffle=False, verbose=0).history["loss"]
        optimizer = model.optimizer
    """,
    "graph": """
        import tensorflow.compat.v1 as tf

        with tf.Graph().as_default(), tf.Session() as session:
            inputs = tf.placeholder(tf.float32, (None, 4))
            wanted = tf.placeholder(tf.float32, (None, 1))
            weight = tf.get_variable("weight", initializer=np.ones((4, 1), np.float32))
            loss = tf.reduce_mean((inputs @ weight - wanted) ** 2)
            optimizer = tf.train.AdamOptimizer(learning_rate=0.01)
            train = optimizer.minimize(loss)
            session.run(tf.global_variables_initializer())
            losses = [float(session.run([loss, train], {inputs: x, wanted: y})[0]) for _ in range(8)]
    """,
}

MINDSPORE = {
    "TrainOneStepCell": """
        import mindspore as ms
        import mindspore.nn as nn

        net = nn.Dense(4, 1, weight_init=ms.Tensor(np.ones((1, 4), np.float32)), bias_init="zeros")
        optimizer = nn.Adam(net.trainable_params(), learning_rate=0.01, weight_decay=1e-3)
        train = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
        train.set_train()
        losses = [float(train(ms.Tensor(x), ms.Tensor(y)).asnumpy()) for _ in range(8)]
    """,
    "Model.train": """
        import mindspore as ms
        from mindspore import nn
        from mindspore.nn import Adam
        from mindspore.train import Callback, Model

        losses = []

        class Keep(Callback):
            def step_end(self, run_context):
                losses.append(float(run_context.original_args().net_outputs.asnumpy()))

        net = nn.Dense(4, 1, weight_init=ms.Tensor(np.ones((1, 4), np.float32)), bias_init="zeros")
        optimizer = Adam(net.trainable_params(), 0.01, use_nesterov=True)
        data = ms.dataset.NumpySlicesDataset((x, y), ["x", "y"], shuffle=False).batch(8)
        Model(net, nn.MSELoss(), optimizer).train(2, data, callbacks=[Keep()], dataset_sink_mode=False)
    """,
    "value_and_grad": """
        import mindspore as ms
        from mindspore import nn, ops

        net = nn.Dense(4, 1, weight_init=ms.Tensor(np.ones((1, 4), np.float32)), bias_init="zeros")
        optimizer = nn.Adam(params=net.trainable_params(), learning_rate=nn.ExponentialDecayLR(0.01, 0.9, 4))

        def forward(x, y):
            return ops.mean((net(x) - y) ** 2)

        grad = ms.value_and_grad(forward, None, optimizer.parameters)

        def step(x, y):
            loss, gradients = grad(x, y)
            optimizer(gradients)
            return loss

        losses = [float(step(ms.Tensor(x), ms.Tensor(y)).asnumpy()) for _ in range(8)]
    """,
}
MIGRATABLE = [
    *(pytest.param(script, id=f"tensorflow-{name}", marks=needs_tensorflow) for name, script in TENSORFLOW.items()),
    *(pytest.param(script, id=f"mindspore-{name}", marks=needs_mindspore) for name, script in MINDSPORE.items()),
]


def run(code: str) -> SimpleNamespace:
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(code, "script.py", "exec"), names)
    return SimpleNamespace(**names)


@pytest.mark.parametrize("script", MIGRATABLE)
def test_a_shimmed_script_trains_to_the_same_losses(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = dedent(DATA) + dedent(script)
    after, findings = migrate_text(before, "shim")
    assert after != before
    assert not [finding for finding in findings if finding.message.severity.value == "ERROR"]
    assert migrate_text(after, "shim") == (after, [])
    original, ours = run(before), run(after)
    assert len(ours.losses) >= 4
    assert ours.losses == original.losses
    assert min(ours.losses[len(ours.losses) // 2 :]) < ours.losses[0]
    assert type(ours.optimizer).__module__.startswith("adamcompat.")
    assert not type(original.optimizer).__module__.startswith("adamcompat.")


# The model in each framework; the training script is the same but for its optimizer.
PARTS = {
    "tensorflow": """
        import tensorflow as tf

        class Model:
            def __init__(self):
                self.weight = tf.Variable(np.ones((4, 1), np.float32))
                self.trainable_variables = [self.weight]

        def evaluate(model):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((tf.constant(x) @ model.weight - tf.constant(y)) ** 2)
            return float(loss), tape.gradient(loss, [model.weight])
    """,
    "mindspore": """
        import mindspore
        from mindspore import Parameter, Tensor, ops

        class Model:
            def __init__(self):
                self.weight = Parameter(Tensor(np.ones((4, 1), np.float32)), name="weight")

            def trainable_params(self):
                return [self.weight]

        def evaluate(model):
            forward = lambda: ops.mean((ops.matmul(Tensor(x), model.weight) - Tensor(y)) ** 2)
            loss, gradients = mindspore.value_and_grad(forward, None, [model.weight])()
            return float(loss.asnumpy()), gradients
    """,
}
NATIVE = {
    "tensorflow, a schedule in a variable": """
        from tensorflow import keras

        model = Model()
        schedule = keras.optimizers.schedules.ExponentialDecay(0.01, decay_steps=4, decay_rate=0.5)
        optimizer = keras.optimizers.Adam(learning_rate=schedule)
        losses = []
        for step in range(8):
            loss, gradients = evaluate(model)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            losses.append(loss)
    """,
    "mindspore, a schedule in a variable": """
        from mindspore import nn

        model = Model()
        steps = 8
        schedule = nn.PolynomialDecayLR(0.01, 1e-4, steps, 2.0)
        optimizer = nn.Adam(model.trainable_params(), schedule)
        peak = schedule
        losses = []
        for step in range(8):
            loss, gradients = evaluate(model)
            optimizer(gradients)
            losses.append(loss)
    """,
    "tensorflow": """
        import tensorflow as tf

        model = Model()
        optimizer = tf.keras.optimizers.Adam(0.01, decay=0.1, epsilon=1e-3)
        losses = []
        for step in range(8):
            loss, gradients = evaluate(model)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            losses.append(loss)
    """,
    "mindspore": """
        from mindspore import nn

        model = Model()
        optimizer = nn.Adam(model.trainable_params(), 0.01, use_amsgrad=True)
        losses = []
        for step in range(8):
            loss, gradients = evaluate(model)
            optimizer(gradients)
            losses.append(loss)
    """,
}


@needs_tensorflow
@needs_mindspore
@pytest.mark.parametrize("case", NATIVE)
def test_a_native_script_trains_to_the_same_losses_with_the_model_of_the_other_framework(case: str) -> None:
    source = case.partition(",")[0]
    target = {"tensorflow": "mindspore", "mindspore": "tensorflow"}[source]
    script = dedent(NATIVE[case])
    after, findings = migrate_text(script, target)
    assert not [finding for finding in findings if finding.message.severity.value == "ERROR"]
    assert "rest-of-the-model" in [finding.message.code for finding in findings]
    assert migrate_text(after, target)[0] == after
    theirs = run(dedent(DATA) + dedent(PARTS[target]) + after)
    if source == "tensorflow":
        # Keras 3 has no decay=: the original runs as what tf.keras was.
        script = f"import tf_keras\n{script}".replace("tf.keras.optimizers.Adam", "tf_keras.optimizers.legacy.Adam")
    original = run(dedent(DATA) + dedent(PARTS[source]) + script)
    np.testing.assert_allclose(theirs.losses, original.losses, rtol=2e-6)
    assert theirs.losses[-1] < theirs.losses[0]


@needs_tensorflow
def test_a_call_of_tensorflow_2_6_becomes_one_that_keras_3_takes() -> None:
    script = dedent(PARTS["tensorflow"]) + dedent(NATIVE["tensorflow"])
    with pytest.raises(Exception, match="decay"):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(dedent(DATA) + script)
    after, _ = migrate_text(script, "tensorflow")
    assert "tf.keras.optimizers.schedules.InverseTimeDecay(0.01, decay_steps=1, decay_rate=0.1)" in after
    assert len(run(dedent(DATA) + after).losses) == 8

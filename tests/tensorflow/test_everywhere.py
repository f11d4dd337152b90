"""Where stock Keras's Adam works, ours works and gives the same numbers."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import adamcompat.tensorflow
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import Adam, AdamW, update
from tests.tensorflow.tf_helpers import replicas_agree, run_python
from tests.versions import before, older

pytestmark = pytest.mark.frameworks
STOCK, STOCK_W = keras.optimizers.Adam, keras.optimizers.AdamW
MEMBERS = pytest.mark.parametrize(("ours", "stock"), [(Adam, STOCK), (AdamW, STOCK_W)], ids=["Adam", "AdamW"])


def network(kind: Callable[..., Any], *, embedding: bool = False, **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    layers: list[Any] = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)]
    if embedding:
        layers = [keras.layers.Embedding(20, 8), keras.layers.GlobalAveragePooling1D(), *layers]
    model = keras.Sequential([keras.Input((6,), dtype="int32" if embedding else None), *layers])
    compiled = {name: options.pop(name) for name in ("jit_compile", "run_eagerly") if name in options}
    model.compile(kind(**options), keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compiled)
    return model


def data(embedding: bool = False) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, (64, 6)) if embedding else rng.standard_normal((64, 6)).astype("f")
    return x, rng.integers(0, 3, 64)


def fitted(kind: Callable[..., Any], **options: Any) -> Any:
    model = network(kind, **options)
    model.fit(*data(options.get("embedding", False)), batch_size=16, epochs=3, shuffle=False, verbose=0)
    return model


def same(a: Any, b: Any) -> None:
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jit_compile": False},
        {"run_eagerly": True},
        {"clipnorm": 0.1, "amsgrad": True},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2},
        {"weight_decay": 0.01},
        {"loss_scale_factor": 16.0},
    ],
    ids=lambda options: next(iter(options), "default"),
)
def test_fit(options: dict[str, Any]) -> None:
    same(fitted(Adam, **options), fitted(STOCK, **options))


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"amsgrad": True, "gradient_accumulation_steps": 2}])
def test_fit_with_adamw(options: dict[str, Any]) -> None:
    same(fitted(AdamW, **options), fitted(STOCK_W, **options))


@MEMBERS
def test_fit_under_jit_compile(ours: Any, stock: Any) -> None:
    models = [fitted(kind, jit_compile=True) for kind in (ours, stock)]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"amsgrad": True, "fused": True}])
@pytest.mark.parametrize("jit", [False, True])
def test_fit_with_an_embedding_trains(jit: bool, options: dict[str, Any]) -> None:
    model = network(Adam, embedding=True, jit_compile=jit, learning_rate=0.05, **options)
    losses = model.fit(*data(True), epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("ours", "stock", "fused"), [(Adam, STOCK, None), (Adam, STOCK, True), (AdamW, STOCK_W, None)])
def test_mixed_float16(ours: Any, stock: Any, fused: bool | None) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, other = fitted(ours, fused=fused), fitted(stock)
    finally:
        keras.config.set_dtype_policy("float32")
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert isinstance(model.optimizer.inner_optimizer, ours)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=0 if fused is None else 1e-5)


def test_mixed_float16_through_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "WORTH_COMPILING", 1)
    monkeypatch.setattr(update, "SMALL", 20)
    test_mixed_float16(Adam, STOCK, None)


@pytest.mark.parametrize("graph", [False, True])
def test_gradient_tape_with_callable_rate(graph: bool) -> None:
    def run(kind: Any) -> Any:
        weight, rate = tf.Variable([[1.0], [2.0]]), tf.Variable(0.1)
        optimizer = kind(learning_rate=lambda: rate)
        optimizer.build([weight])

        def step() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.matmul([[1.0, 2.0]], weight) ** 2)
            optimizer.apply_gradients([(tape.gradient(loss, weight), weight)])

        call = tf.function(step) if graph else step
        for count in range(6):
            rate.assign(0.1 / (count + 1))
            call()
        return weight.numpy()

    np.testing.assert_array_equal(run(Adam), run(STOCK))


@MEMBERS
def test_exclude_from_weight_decay(ours: Any, stock: Any) -> None:
    def run(kind: Any) -> Any:
        variables = [keras.Variable(np.ones(3), name=name) for name in ("kernel", "bias")]
        optimizer = kind(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        for _ in range(4):
            optimizer.apply_gradients([(tf.constant([0.1, 0.2, 0.3]), variable) for variable in variables])
        return np.stack([np.asarray(variable) for variable in variables])

    found = run(ours)
    np.testing.assert_array_equal(found, run(stock))
    assert (found[0] < found[1]).all()


@MEMBERS
def test_it_is_a_keras_optimizer_with_its_signature(ours: Any, stock: Any) -> None:
    assert issubclass(ours, stock) and issubclass(ours, tf.keras.optimizers.Adam)
    taken = inspect.signature(ours.__init__).parameters
    theirs = inspect.signature(stock.__init__).parameters
    assert [name for name in taken if name not in ("fused", "corrections")] == list(theirs)
    dialect = MAPPING.adapter("tensorflow", ours.__name__).dialect
    for name, parameter in theirs.items():
        fact = f"parameters.{name}.default"
        assert fact in older(dialect) or taken[name].default == parameter.default
        assert taken[name].kind == parameter.kind
    assert taken["fused"].kind is taken["corrections"].kind is inspect.Parameter.KEYWORD_ONLY
    assert ours.__name__ in adamcompat.tensorflow.__all__


@pytest.mark.parametrize(
    ("writer", "reader"), [(STOCK, Adam), (Adam, STOCK), (Adam, Adam), (STOCK_W, AdamW), (AdamW, STOCK_W)]
)
def test_saved_models_both_ways(writer: Any, reader: Any, tmp_path: Path) -> None:
    model = fitted(writer, amsgrad=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is writer
    optimizer = reader.from_config(loaded.optimizer.get_config())
    optimizer.build(loaded.trainable_variables)
    state: dict[str, Any] = {}
    loaded.optimizer.save_own_variables(state)
    optimizer.load_own_variables(state)
    loaded.compile(optimizer, loaded.loss)
    for each in (model, loaded):
        each.fit(*data(), batch_size=16, epochs=2, shuffle=False, verbose=0)
    same(loaded, model)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("writer", [STOCK, Adam])
def test_h5_files_hold_the_same(writer: Any, tmp_path: Path) -> None:
    # Keras builds the optimizer of an .h5 file before the model has variables: it cannot go on, stock or not.
    model = fitted(writer)
    model.save(tmp_path / "model.h5")
    loaded = keras.models.load_model(tmp_path / "model.h5")
    assert type(loaded.optimizer) is writer
    same(loaded, model)
    # Before 3.13 the attempt to say so fails in its turn.
    with pytest.raises((ValueError, NotImplementedError)):
        loaded.fit(*data(), verbose=0)
    for kind in (STOCK, Adam):
        loaded.compile(kind(), loaded.loss)
        loaded.fit(*data(), verbose=0)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_our_models_load_without_custom_objects(kind: Any, tmp_path: Path) -> None:
    model = fitted(kind, fused=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is kind and loaded.optimizer.fused is True


@pytest.mark.parametrize(("writer", "reader"), [(STOCK, Adam), (Adam, STOCK), (STOCK_W, AdamW), (AdamW, STOCK_W)])
def test_checkpoints_both_ways(writer: Any, reader: Any, tmp_path: Path) -> None:
    model, other = fitted(writer), network(reader)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "state"))
    other.optimizer.build(other.trainable_variables)
    status = tf.train.Checkpoint(model=other, optimizer=other.optimizer).read(path)
    status.assert_existing_objects_matched()
    for each in (model, other):
        each.fit(*data(), batch_size=16, epochs=2, shuffle=False, verbose=0)
    same(other, model)


def test_saved_model_of_a_training_step(tmp_path: Path) -> None:
    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable([1.0, 2.0])
            self.optimizer = Adam(0.1)
            self.optimizer.build([self.weight])

        @tf.function(input_signature=[tf.TensorSpec([2])])  # type: ignore[untyped-decorator]
        def train(self, gradient: Any) -> Any:
            self.optimizer.apply_gradients([(gradient, self.weight)])
            return self.weight.read_value()

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    gradient = tf.constant([0.5, -0.1])
    for _ in range(3):
        np.testing.assert_array_equal(loaded.train(gradient), module.train(gradient))


MIRRORED = """
import numpy as np, tensorflow as tf, keras
from adamcompat.tensorflow import Adam, AdamW
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
rng = np.random.default_rng(0)
x, y = rng.standard_normal((64, 6)).astype("f"), rng.integers(0, 3, 64)
def run(kind, **options):
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)])
        model.compile(kind(**options), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return model.get_weights()
for ours, kind, options in ((Adam, keras.optimizers.Adam, {}), (AdamW, keras.optimizers.AdamW, {"amsgrad": True})):
    stock = run(kind, **options)
    print([float(max(abs(a - b).max() for a, b in zip(run(ours, **options, **more), stock)))
           for more in ({}, {"fused": True})])
"""


@replicas_agree
def test_mirrored_strategy() -> None:
    lines = run_python(MIRRORED).strip().splitlines()[-2:]
    for line in lines:
        exact, fused = map(float, line.strip("[]").split(","))
        assert exact == 0.0 and fused < 1e-5


REPLICAS = """
import tensorflow as tf, keras
from adamcompat.tensorflow import Adam
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
def run(kind, **options):
    with strategy.scope():
        weight, optimizer = tf.Variable([1.0, 2.0]), kind(0.1, **options)
        optimizer.build([weight])
    @tf.function
    def step(gradient):
        def one():
            rank = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
            optimizer.apply_gradients([(gradient * (1 + 2 * rank), weight)])
        strategy.run(one)
    step(tf.constant([0.5, -0.25]))
    replicas = [local.numpy().tolist() for local in strategy.experimental_local_results(weight)]
    moment = [round(float(x), 4) for x in optimizer.variables[2].numpy()]
    return replicas[0] == replicas[1], moment
print(*run(keras.optimizers.Adam))
for options in ({}, {"amsgrad": True}, {"fused": True}):
    print(*run(Adam, **options))
"""


@replicas_agree
def test_replicas_add_up_their_gradients() -> None:
    assert run_python(REPLICAS).strip().splitlines()[-4:] == ["True [0.2, -0.1]"] * 4


@pytest.mark.skipif(not before("keras", "3.5"), reason="this Keras adds up the gradients of replicas")
def test_replicas_that_drift_apart_are_warned_of() -> None:
    printed = run_python(
        "import warnings\nwarnings.simplefilter('error', UserWarning)\ntry:\n"
        + textwrap.indent(REPLICAS, "    ")
        + "except UserWarning as warning:\n    print(warning)"
    )
    assert "False [0.05, -0.025]" in printed and "install keras>=3.5" in printed


WORKERS = """
import json, os, subprocess, sys
import numpy as np
if len(sys.argv) < 2 and "TF_CONFIG" not in os.environ:
    import socket
    ports = []
    for _ in range(2):
        with socket.socket() as s:
            s.bind(("localhost", 0)); ports.append(s.getsockname()[1])
    cluster = {"worker": [f"localhost:{p}" for p in ports]}
    processes = [subprocess.Popen([sys.executable, "-c", os.environ["CODE"]], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})})
        for i in range(2)]
    for process in processes:
        print(process.communicate(timeout=150)[0].strip().splitlines()[-1])
    raise SystemExit(max(process.returncode for process in processes))
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras
from adamcompat.tensorflow import Adam
def run(kind):
    with strategy.scope():
        weight, optimizer = tf.Variable([1.0, 2.0, 3.0]), kind(0.1)
        optimizer.build([weight])
    @tf.function
    def step(scale):
        def one():
            rank = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
            optimizer.apply_gradients([((rank + 1) * scale * tf.constant([0.1, -0.2, 0.3]), weight)])
        strategy.run(one)
    for count in range(5):
        step(tf.constant(1.0 + count))
    return weight.numpy()
ours, stock = run(Adam), run(keras.optimizers.Adam)
print(strategy.num_replicas_in_sync, bool((ours == stock).all()), ours.round(3).tolist())
"""


@replicas_agree
def test_multi_worker_mirrored_strategy() -> None:
    lines = run_python(WORKERS, fresh=True, CODE=WORKERS).strip().splitlines()
    assert len(lines) == 2 and lines[0] == lines[1]
    assert lines[0].startswith("2 True")


JAX = """
import numpy as np, keras
from adamcompat.tensorflow import Adam
def run(kind):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(kind(0.01), "mse")
    model.fit(np.ones((32, 4), "f"), np.zeros(32), epochs=3, verbose=0)
    return model.get_weights()
for a, b in zip(run(Adam), run(keras.optimizers.Adam)):
    np.testing.assert_allclose(a, b, rtol=1e-5)
try:
    Adam(fused=True)
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="Keras's JAX backend needs jax, which is not installed")
def test_keras_on_jax() -> None:
    assert "needs Keras's TensorFlow backend" in run_python(JAX, KERAS_BACKEND="jax")


@pytest.mark.skipif(find_spec("torch") is None, reason="Keras's torch backend needs torch, which is not installed")
def test_keras_on_torch() -> None:
    assert "needs Keras's TensorFlow backend" in run_python(JAX, KERAS_BACKEND="torch")


MISSING = """
import sys
sys.modules["tensorflow"] = None
import adamcompat.tensorflow, adamcompat.tensorflow.legacy, adamcompat.tensorflow.v1
for module, name in ((adamcompat.tensorflow, "Adam"), (adamcompat.tensorflow.v1, "AdamOptimizer")):
    try:
        getattr(module, name)
    except ModuleNotFoundError as error:
        print(error)
"""


def test_without_tensorflow_the_error_says_what_to_install() -> None:
    lines = run_python(MISSING, fresh=True).strip().splitlines()
    assert len(lines) == 2 and all("pip install 'tensorflow>=" in line for line in lines)

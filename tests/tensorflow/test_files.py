"""Files of Keras and TensorFlow as sources and targets of optimizer state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adamcompat.state import AdamState, StateError
from adamcompat.state.files import convert, open_document, read, write

pytestmark = pytest.mark.frameworks
pytest.importorskip("safetensors", reason="needs safetensors: pip install 'adamcompat[files]'")

INPUTS = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
TARGETS = np.random.default_rng(1).standard_normal((8, 2)).astype(np.float32)


def trained(epochs: int, seed: int = 0, amsgrad: bool = False) -> Any:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    model.compile(keras.optimizers.Adam(0.01, amsgrad=amsgrad), keras.losses.MeanSquaredError())
    if epochs:
        model.fit(INPUTS, TARGETS, epochs=epochs, shuffle=False, verbose=0)
    else:
        model.optimizer.build(model.trainable_variables)
    return model


def equal(a: AdamState, b: AdamState) -> bool:
    return a.step == b.step and all(
        np.array_equal(np.asarray(x), np.asarray(y))
        for role, tensors in a.tensors.items()
        for x, y in zip(tensors.values(), b.tensors[role].values(), strict=True)
    )


@pytest.mark.parametrize("amsgrad", [False, True])
def test_a_keras_file_is_read_and_written(tmp_path: Path, amsgrad: bool) -> None:
    model = trained(4, amsgrad=amsgrad)
    model.save(tmp_path / "run.keras")
    trained(0, seed=5, amsgrad=amsgrad).save(tmp_path / "fresh.keras")
    document = open_document(tmp_path / "run.keras")
    assert equal(document.state, AdamState.of(model.optimizer, model.trainable_variables))

    write(tmp_path / "neutral.safetensors", document.state)
    like = open_document(tmp_path / "fresh.keras")
    convert(open_document(tmp_path / "neutral.safetensors"), tmp_path / "out.keras", like=like).carry_out()
    assert not list(tmp_path.glob(".*")), "no temporary file is left"
    loaded = keras.models.load_model(tmp_path / "out.keras")
    assert type(loaded.optimizer) is keras.optimizers.Adam
    for other in (model, loaded):
        other.fit(INPUTS, TARGETS, epochs=2, shuffle=False, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), loaded.get_weights()))


@pytest.mark.parametrize("amsgrad", [False, True])
def test_weights_of_keras_3(tmp_path: Path, amsgrad: bool) -> None:
    model, other = trained(4, amsgrad=amsgrad), trained(1, amsgrad=amsgrad)
    run, fresh, out = (tmp_path / f"{name}.weights.h5" for name in ("run", "fresh", "out"))
    model.save_weights(run)
    other.save_weights(fresh)
    expected = AdamState.of(model.optimizer)
    found = read(run)
    assert found.step == expected.step
    for role, tensors in found.tensors.items():
        assert all(map(np.array_equal, tensors.values(), expected.tensors[role].values()))
    conversion = convert(open_document(run), out, like=open_document(fresh), rename="order")
    written: list[int] = []
    conversion.carry_out(written.append)
    assert sum(written) == conversion.bytes
    again = trained(1, amsgrad=amsgrad)
    again.load_weights(out)
    assert all(map(np.array_equal, map(np.asarray, again.get_weights()), other.get_weights()))
    loaded = AdamState.of(again.optimizer)
    for role, tensors in found.tensors.items():
        assert all(map(np.array_equal, tensors.values(), loaded.tensors[role].values()))
    assert loaded.step == 4
    whole = AdamState.of(model.optimizer)
    write(tmp_path / "whole.safetensors", whole)
    with pytest.raises(StateError, match=r"parameters cannot be written.*--state-only"):
        convert(open_document(tmp_path / "whole.safetensors"), out, like=open_document(fresh), rename="order")
    content = run.read_bytes()
    for broken in (b"", content[: len(content) // 2], b"no hdf5"):
        run.write_bytes(broken)
        with pytest.raises(StateError, match="not a whole file"):
            read(run)


def test_a_broken_keras_file(tmp_path: Path) -> None:
    trained(1).save(tmp_path / "x.keras")
    content = (tmp_path / "x.keras").read_bytes()
    for broken in (b"", content[: len(content) // 2], b"no zip"):
        (tmp_path / "x.keras").write_bytes(broken)
        with pytest.raises(StateError, match="Keras cannot read it"):
            read(tmp_path / "x.keras")
    with pytest.raises(StateError, match="holds a model too"):
        write(tmp_path / "x.keras", AdamState(step=0, first_moment={}, second_moment={}))


@pytest.mark.parametrize("amsgrad", [False, True])
def test_checkpoints_of_keras_3(tmp_path: Path, amsgrad: bool) -> None:
    model = trained(3, amsgrad=amsgrad)
    prefix = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "ck"))
    expected = AdamState.of(model.optimizer, model.trainable_variables)
    for path in (prefix, tmp_path):
        assert equal(read(path), expected)
    write(tmp_path / "x.safetensors", read(prefix))
    assert equal(read(tmp_path / "x.safetensors"), expected)


def test_checkpoints_of_the_legacy_optimizer(tmp_path: Path) -> None:
    variables = {"w": tf.Variable(np.ones((2, 3), np.float32)), "b": tf.Variable(np.ones(3, np.float32))}
    optimizer = tf_keras.optimizers.legacy.Adam(0.1)
    for step in range(3):
        optimizer.apply_gradients([(tf.fill(v.shape, 0.5 + step), v) for v in variables.values()])
    prefix = tf.train.Checkpoint(optimizer=optimizer, **variables).save(str(tmp_path / "ck"))
    state = read(prefix)
    assert (state.step, set(state.names), state.dialect) == (3, {"w", "b"}, "tf26")
    assert state.parameters is not None
    for name, variable in variables.items():
        assert np.array_equal(np.asarray(state.parameters[name]), variable.numpy())
        assert np.array_equal(np.asarray(state.first_moment[name]), optimizer.get_slot(variable, "m").numpy())


def test_checkpoints_of_tensorflow_1(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        weight = tf.compat.v1.get_variable("net/w", initializer=np.ones((2, 3), np.float32))
        optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
        train = optimizer.minimize(tf.reduce_sum(weight**2))
        session.run(tf.compat.v1.global_variables_initializer())
        for _ in range(9):
            session.run(train)
        prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "model"))
        value, moment = session.run([weight, optimizer.get_slot(weight, "m")])
    state = read(prefix)
    assert (state.step, state.names, state.dialect) == (9, ("net/w",), "tf1")
    assert state.parameters is not None
    assert np.array_equal(np.asarray(state.parameters["net/w"]), value)
    assert np.array_equal(np.asarray(state.first_moment["net/w"]), moment)
    for wrong in ({"beta2": 0.9}, {"beta2": 0.99}, {"beta1": 0.89}):
        with pytest.raises(StateError, match=r"which no step has|whole number"):
            read(prefix, **wrong)


def test_a_checkpoint_without_adam(tmp_path: Path) -> None:
    prefix = tf.train.Checkpoint(v=tf.Variable(1.0)).save(str(tmp_path / "ck"))
    with pytest.raises(StateError, match="holds no state of Adam"):
        read(prefix)
    Path(f"{prefix}.index").write_bytes(b"broken")
    with pytest.raises(StateError, match="TensorFlow cannot read it"):
        read(prefix)

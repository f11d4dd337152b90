"""A net of many layers goes from Keras to MindSpore and back in the middle of its training, without a map."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import adamcompat.cli as cli
from adamcompat.state import AdamState, Matching
from adamcompat.state.pairing import put_together

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("tensorflow", "mindspore", "safetensors")),
        reason="needs TensorFlow, MindSpore and safetensors",
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*begins at zero and gets the same gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:if .*/kernel' of shape .* follows a flattened map:UserWarning"),
]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_v", "3")

Array = NDArray[Any]
RATE, STEPS = 0.01, 20
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((16, 6, 6, 2)).astype(np.float32)
WORDS = RNG.integers(0, 11, (16, 5)).astype(np.int32)
LABELS = RNG.integers(0, 3, 16).astype(np.int32)


def keras_model() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    images, words = keras.Input((6, 6, 2)), keras.Input((5,), dtype="int32")
    seen = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(images)
    seen = layers.BatchNormalization(epsilon=1e-5, name="norm")(seen)
    seen = layers.GlobalAveragePooling2D()(seen)
    read = layers.Embedding(11, 8, name="table")(words)
    read = read + layers.MultiHeadAttention(2, 4, name="attention")(read, read)
    read = layers.LayerNormalization(epsilon=1e-5, name="scale")(read)
    read = layers.LSTM(6, return_sequences=True, name="lstm")(read)
    read = layers.GRU(5, name="gru")(read)
    model = keras.Model([images, words], layers.Dense(3, name="out")(layers.Concatenate()([seen, read])))
    model.compile(keras.optimizers.Adam(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def mindspore_net() -> tuple[Any, Any]:
    from mindspore import nn, ops

    class Net(nn.Cell):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3, has_bias=True)
            self.norm = nn.BatchNorm2d(4)
            self.table = nn.Embedding(11, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.scale = nn.LayerNorm((8,), epsilon=1e-5)
            self.lstm = nn.LSTM(8, 6, batch_first=True)
            self.gru = nn.GRU(6, 5, batch_first=True)
            self.out = nn.Dense(9, 3)

        def construct(self, images: Any, words: Any) -> Any:
            seen = self.norm(ops.relu(self.conv(images))).mean((2, 3))
            read = self.table(words)
            read = self.scale(read + self.attention(read, read, read)[0])
            read = self.gru(self.lstm(read)[0])[0][:, -1]
            return self.out(ops.concat((seen, read), 1))

    net = Net()
    net.set_train(False)
    return net, nn.Adam(net.trainable_params(), RATE, eps=1e-7)


def gradients_of(model: Any) -> list[Array]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = model.loss(LABELS, model([IMAGES, WORDS], training=False))
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, model.trainable_variables)]


def stepped(model: Any, steps: int) -> Iterator[dict[str, Array]]:
    """Steps of training; yields the gradients by the names of their variables."""
    for _ in range(steps):
        gradients = gradients_of(model)
        yield {variable.path: g for variable, g in zip(model.trainable_variables, gradients, strict=True)}
        model.optimizer.apply(gradients, model.trainable_variables)


def averages_to(model: Any, net: Any) -> None:
    """The running averages of batch normalization, which no optimizer holds."""
    import mindspore as ms

    layer = model.get_layer("norm")
    net.norm.moving_mean.set_data(ms.Tensor(np.array(layer.moving_mean)))
    net.norm.moving_variance.set_data(ms.Tensor(np.array(layer.moving_variance)))


def outputs(model: Any, net: Any) -> tuple[Array, Array]:
    import mindspore as ms

    images = ms.Tensor(np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)))
    return np.asarray(model([IMAGES, WORDS], training=False)), net(images, ms.Tensor(WORDS)).asnumpy()


def brought(matching: Matching, values: dict[str, Array], parameter: Any) -> Array:
    found = put_together(matching.of_targets[parameter.name], "first_moment", values)
    return np.zeros(parameter.shape, np.float32) if found is None else np.ascontiguousarray(found)


def trained() -> Any:
    model = keras_model()
    model.fit([IMAGES, WORDS], LABELS, batch_size=16, epochs=STEPS, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("options", [{}, {"alone": ["lstm.bias_hh_l0"]}], ids=["no map", "one line"])
def test_the_net_goes_on_in_mindspore_and_back_in_keras(options: dict[str, Any]) -> None:
    import mindspore as ms

    model, (net, optimizer) = trained(), mindspore_net()
    matching = AdamState.of(model.optimizer).load_into(optimizer, with_parameters=True, **options)
    averages_to(model, net)
    ours, theirs = outputs(model, net)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)

    before = [np.array(parameter.asnumpy()) for parameter in optimizer.parameters]
    start = {variable.path: np.array(variable) for variable in model.trainable_variables}
    for gradients in stepped(model, STEPS):
        optimizer(tuple(ms.Tensor(brought(matching, gradients, parameter)) for parameter in optimizer.parameters))
    moved = {variable.path: np.array(variable) - start[variable.path] for variable in model.trainable_variables}
    for old, parameter in zip(before, optimizer.parameters, strict=True):
        wanted = brought(matching, moved, parameter)
        off = np.abs(parameter.asnumpy() - old - wanted).max()
        assert off <= 1e-5 * np.abs(wanted).max(), (parameter.name, off)
    np.testing.assert_allclose(*outputs(model, net), atol=1e-5)

    # The other bias has moved, too: the layer sees the sum, and so does Keras.
    net.lstm.bias_hh_l0.set_data(ms.Tensor(RNG.standard_normal(24).astype(np.float32)))
    back = keras_model()
    back.optimizer.build(back.trainable_variables)
    AdamState.of(optimizer).load_into(back.optimizer, with_parameters=True)
    back.get_layer("norm").set_weights(model.get_layer("norm").get_weights())
    np.testing.assert_allclose(*outputs(back, net), atol=1e-5)
    assert back.optimizer.iterations == 2 * STEPS


def test_through_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import keras
    import mindspore as ms

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    model, (net, optimizer) = trained(), mindspore_net()
    model.save("run.keras")
    ms.save_checkpoint(optimizer, "fresh.ckpt")
    assert cli.main(["state", "convert", "run.keras", "run.ckpt", "--like", "fresh.ckpt"]) == 0
    shown = capsys.readouterr()
    assert "attention/key/kernel (8, 2, 4)" in shown.out
    assert "adamcompat state: note: lstm.bias_hh_l0 begins at zero and gets the same gradients" in shown.err
    assert ms.load_param_into_net(optimizer, ms.load_checkpoint("run.ckpt", crc_check=True)) == ([], [])
    averages_to(model, net)
    np.testing.assert_allclose(*outputs(model, net), atol=1e-5)

    fresh = keras_model()
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.get_layer("norm").set_weights(model.get_layer("norm").get_weights())
    fresh.save("fresh.keras")
    assert cli.main(["state", "convert", "run.ckpt", "back.keras", "--like", "fresh.keras"]) == 0
    back = keras.models.load_model("back.keras")
    assert back.optimizer.iterations == STEPS
    for one, other in zip(model.optimizer.variables, back.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=one.path)
    np.testing.assert_allclose(*outputs(back, net), atol=1e-5)


def test_numbered_variables_by_order(tmp_path: Path) -> None:
    """A .weights.h5 file names nothing; the order tells which variables are the weights of one layer."""
    from adamcompat.state.files import read

    model, (_, optimizer) = trained(), mindspore_net()
    model.save_weights(tmp_path / "run.weights.h5")
    names = [variable.path for variable in model.trainable_variables]
    # MindSpore lists its layers as they are made, Keras as they are reached.
    by_layer = ("table", "attention", "conv", "scale", "norm", "lstm", "gru", "out")
    assert list(dict.fromkeys(name.partition("/")[0] for name in names)) == list(by_layer)
    state = read(tmp_path / "run.weights.h5")
    order = [p for layer in by_layer for p in optimizer.parameters if p.name.startswith(layer)]
    target = {parameter.name: tuple(parameter.shape) for parameter in order}
    numbered = state.match(target, convention="mindspore", rename="order")
    named = AdamState.of(model.optimizer).match(target, convention="mindspore")
    assert [pair.target for pair in numbered.pairs] == [pair.target for pair in named.pairs]
    assert [pair.transform for pair in numbered.pairs] == [pair.transform for pair in named.pairs]

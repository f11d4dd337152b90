"""The layouts of mapping.yaml against the layers of both frameworks: the same weights, the same outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from adamcompat.state.matching import Matching, match
from adamcompat.state.pairing import put_together

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_v", "3")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]
if find_spec("keras") is None or find_spec("tensorflow") is None or find_spec("mindspore") is None:
    pytest.skip("needs TensorFlow, Keras and MindSpore together", allow_module_level=True)


def layers() -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], tuple[int, ...]]]:
    """A layer of Keras, its counterpart in MindSpore, and the shape of an input with channels last."""
    return {
        "dense": (lambda k: k.Dense(5), lambda n: n.Dense(4, 5), (2, 4)),
        "square dense": (lambda k: k.Dense(4), lambda n: n.Dense(4, 4), (2, 4)),
        "conv1d": (lambda k: k.Conv1D(6, 3), lambda n: n.Conv1d(4, 6, 3, **VALID), (2, 9, 4)),
        "conv2d": (lambda k: k.Conv2D(6, (3, 2)), lambda n: n.Conv2d(4, 6, (3, 2), **VALID), (2, 8, 9, 4)),
        "conv3d": (lambda k: k.Conv3D(6, 3), lambda n: n.Conv3d(4, 6, 3, **VALID), (2, 5, 6, 7, 4)),
        "grouped": (
            lambda k: k.Conv2D(6, 3, groups=2),
            lambda n: n.Conv2d(4, 6, 3, group=2, **VALID),
            (2, 8, 9, 4),
        ),
        "depthwise": (
            lambda k: k.DepthwiseConv2D(3, depth_multiplier=2),
            lambda n: n.Conv2d(4, 8, 3, group=4, **VALID),
            (2, 8, 9, 4),
        ),
        "depthwise of one": (
            lambda k: k.DepthwiseConv2D(3),
            lambda n: n.Conv2d(4, 4, 3, group=4, **VALID),
            (2, 8, 9, 4),
        ),
        "depthwise1d": (
            lambda k: k.DepthwiseConv1D(3, depth_multiplier=2),
            lambda n: n.Conv1d(4, 8, 3, group=4, **VALID),
            (2, 9, 4),
        ),
        "transposed1d": (
            lambda k: k.Conv1DTranspose(6, 3),
            lambda n: n.Conv1dTranspose(4, 6, 3, **VALID),
            (2, 9, 4),
        ),
        "transposed2d": (
            lambda k: k.Conv2DTranspose(6, (3, 2)),
            lambda n: n.Conv2dTranspose(4, 6, (3, 2), **VALID),
            (2, 8, 9, 4),
        ),
        "transposed2d, square": (
            lambda k: k.Conv2DTranspose(4, 3),
            lambda n: n.Conv2dTranspose(4, 4, 3, **VALID),
            (2, 8, 9, 4),
        ),
        "transposed3d": (
            lambda k: k.Conv3DTranspose(6, 3),
            lambda n: n.Conv3dTranspose(4, 6, 3, **VALID),
            (2, 4, 5, 6, 4),
        ),
        "batch norm": (lambda k: k.BatchNormalization(epsilon=1e-5), lambda n: n.BatchNorm2d(4), (2, 3, 3, 4)),
        "layer norm": (
            lambda k: k.LayerNormalization(epsilon=1e-5),
            lambda n: n.LayerNorm((4,), epsilon=1e-5),
            (2, 4),
        ),
    }


VALID = {"pad_mode": "valid", "has_bias": True}
LAYERS = layers()


def matched(layer: Any, cell: Any) -> Matching:
    """By what the frameworks call their weights."""
    return match(
        {variable.path: tuple(variable.shape) for variable in layer.trainable_variables},
        {parameter.name: tuple(parameter.shape) for parameter in cell.trainable_params()},
        source_convention="tensorflow",
        target_convention="mindspore",
    )


def carried(layer: Any, cell: Any) -> None:
    import mindspore as ms

    found, rng = matched(layer, cell).by_target, np.random.default_rng(0)
    variables = {variable.path: variable for variable in layer.trainable_variables}
    for parameter in cell.trainable_params():
        pair = found[parameter.name]
        value = rng.standard_normal(pair.transform.source).astype(np.float32)
        variables[pair.source].assign(value)
        parameter.set_data(ms.Tensor(np.ascontiguousarray(pair.transform.apply(value))))


@pytest.mark.parametrize("name", LAYERS)
def test_the_layer_gives_the_same(name: str) -> None:
    import keras
    import mindspore as ms

    make, make_cell, shape = LAYERS[name]
    layer, cell = make(keras.layers), make_cell(ms.nn)
    layer.build(shape)
    carried(layer, cell)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    last = len(shape) - 1
    theirs = cell(ms.Tensor(np.ascontiguousarray(np.moveaxis(x, last, 1) if last > 1 else x))).asnumpy()
    ours = np.asarray(layer(x))
    np.testing.assert_allclose(ours, np.moveaxis(theirs, 1, last) if last > 1 else theirs, atol=2e-5)


def test_an_embedding_gives_the_same() -> None:
    import keras
    import mindspore as ms

    layer, cell = keras.layers.Embedding(5, 5), ms.nn.Embedding(5, 5)
    layer.build((2,))
    carried(layer, cell)
    rows = np.array([0, 3, 3, 1], np.int32)
    np.testing.assert_array_equal(np.asarray(layer(rows)), cell(ms.Tensor(rows)).asnumpy())


def recurrent() -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    """Layers whose weights are matched together, on sequences of 4 features."""
    first: dict[str, Any] = {"batch_first": True}
    return {
        "lstm": (lambda k: k.LSTM(5, **ALL), lambda n: n.LSTM(4, 5, **first)),
        "square lstm": (lambda k: k.LSTM(4, **ALL), lambda n: n.LSTM(4, 4, **first)),
        "lstm without bias": (
            lambda k: k.LSTM(5, use_bias=False, **ALL),
            lambda n: n.LSTM(4, 5, has_bias=False, **first),
        ),
        "gru": (lambda k: k.GRU(5, **ALL), lambda n: n.GRU(4, 5, **first)),
        "square gru": (lambda k: k.GRU(4, **ALL), lambda n: n.GRU(4, 4, **first)),
        "rnn": (lambda k: k.SimpleRNN(5, **ALL), lambda n: n.RNN(4, 5, **first)),
        "lstm both ways": (
            lambda k: k.Bidirectional(k.LSTM(5, **ALL)),
            lambda n: n.LSTM(4, 5, bidirectional=True, **first),
        ),
        "gru both ways": (
            lambda k: k.Bidirectional(k.GRU(5, **ALL)),
            lambda n: n.GRU(4, 5, bidirectional=True, **first),
        ),
    }


ALL = {"return_sequences": True}
RECURRENT = recurrent()
ATTENTION: dict[str, dict[str, Any]] = {
    "plain": {},
    "without bias": {"use_bias": False},
    "one head": {"num_heads": 1, "key_dim": 8},
}


def shapes_of(variables: Any) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in variables}


def cell_shapes(cell: Any) -> dict[str, tuple[int, ...]]:
    return {parameter.name: tuple(parameter.shape) for parameter in cell.trainable_params()}


def random_there(layer: Any, cell: Any) -> Matching:
    """Random weights in Keras, carried to MindSpore."""
    import mindspore as ms

    rng = np.random.default_rng(0)
    found = match(shapes_of(layer.trainable_variables), cell_shapes(cell))
    for variable in layer.trainable_variables:
        variable.assign(0.5 * rng.standard_normal(variable.shape).astype(np.float32))
    values = {variable.path: np.asarray(variable) for variable in layer.trainable_variables}
    for parameter in cell.trainable_params():
        value = put_together(found.of_targets[parameter.name], "parameter", values)
        value = np.zeros(parameter.shape, np.float32) if value is None else value
        parameter.set_data(ms.Tensor(np.ascontiguousarray(value)))
    return found


def random_back(layer: Any, cell: Any) -> Matching:
    """Random weights in MindSpore, carried to Keras."""
    import mindspore as ms

    rng = np.random.default_rng(0)
    found = match(cell_shapes(cell), shapes_of(layer.trainable_variables))
    for parameter in cell.trainable_params():
        parameter.set_data(ms.Tensor(0.5 * rng.standard_normal(parameter.shape).astype(np.float32)))
    values = {parameter.name: parameter.asnumpy() for parameter in cell.trainable_params()}
    for variable in layer.trainable_variables:
        value = put_together(found.of_targets[variable.path], "parameter", values)
        assert value is not None
        variable.assign(value)
    return found


DIRECTIONS = {"there": random_there, "back": random_back}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_layer_gives_the_same(name: str, direction: str) -> None:
    import keras
    import mindspore as ms

    layer, cell = RECURRENT[name][0](keras.layers), RECURRENT[name][1](ms.nn)
    layer.build((2, 6, 4))
    DIRECTIONS[direction](layer, cell)
    x = np.random.default_rng(1).standard_normal((2, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(layer(x)), cell(ms.Tensor(x))[0].asnumpy(), atol=2e-4)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_the_cell_of_a_recurrent_layer_gives_the_same(name: str, direction: str) -> None:
    import keras
    import mindspore as ms

    layer = getattr(keras.layers, f"{name}Cell")(5)
    cell = {"LSTM": ms.nn.LSTMCell, "GRU": ms.nn.GRUCell, "SimpleRNN": ms.nn.RNNCell}[name](4, 5)
    layer.build((2, 4))
    DIRECTIONS[direction](layer, cell)
    rng = np.random.default_rng(1)
    x, h, c = (rng.standard_normal((2, size)).astype(np.float32) for size in (4, 5, 5))
    theirs = cell(ms.Tensor(x), (ms.Tensor(h), ms.Tensor(c)) if name == "LSTM" else ms.Tensor(h))
    ours = layer(x, [h, c] if name == "LSTM" else [h])[0]
    np.testing.assert_allclose(np.asarray(ours), (theirs[0] if name == "LSTM" else theirs).asnumpy(), atol=2e-4)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("sizes", [(8, 8, 8), (8, 6, 5)], ids=["joined", "apart"])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_gives_the_same(name: str, sizes: tuple[int, int, int], direction: str) -> None:
    import keras
    import mindspore as ms

    options = {"num_heads": 2, "key_dim": 4, **ATTENTION[name]}
    layer = keras.layers.MultiHeadAttention(**options)
    own = {} if sizes[1] == 8 else {"kdim": sizes[1], "vdim": sizes[2]}
    has_bias = options.get("use_bias", True)
    cell = ms.nn.MultiheadAttention(8, options["num_heads"], batch_first=True, has_bias=has_bias, **own)
    rng = np.random.default_rng(1)
    query, key, value = (rng.standard_normal((2, 5, size)).astype(np.float32) for size in sizes)
    layer(query, value, key)
    DIRECTIONS[direction](layer, cell)
    theirs = cell(ms.Tensor(query), ms.Tensor(key), ms.Tensor(value))[0].asnumpy()
    np.testing.assert_allclose(np.asarray(layer(query, value, key)), theirs, atol=2e-5)

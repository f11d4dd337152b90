"""The layouts of mapping.yaml against the layers of both frameworks: the same weights, the same outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from adamcompat.state.matching import Matching, match

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

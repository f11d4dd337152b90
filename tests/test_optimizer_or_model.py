"""Is it the optimizer? One network in both frameworks, and one stream of gradients through both optimizers."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import compare, record
from adamcompat.recording import read

pytestmark = [pytest.mark.frameworks, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("safetensors")
for needed in ("tf_keras", "mindspore"):
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

STEPS, BATCH = 200, 32
SHAPES = ((8, 32), (32,), (32, 1), (1,))
RATE, EPSILON = 1e-3, 1e-8


def data() -> tuple[list[NDArray[Any]], NDArray[Any], NDArray[Any]]:
    """Initial weights, inputs and targets."""
    rng = np.random.default_rng(11)
    weights = [np.asarray(rng.standard_normal(shape) * 0.3, np.float32) for shape in SHAPES]
    inputs = np.asarray(rng.standard_normal((STEPS, BATCH, 8)), np.float32)
    targets = np.sin(inputs.sum(axis=-1, keepdims=True)) + 0.1 * np.asarray(
        rng.standard_normal((STEPS, BATCH, 1)), np.float32
    )
    return weights, inputs, np.asarray(targets, np.float32)


# By calling convention: ours on TensorFlow and on MindSpore, rounding alike.
STYLES = {
    "TensorFlow's": ("adamcompat.tensorflow.Adam", "adamcompat.mindspore.TFStyleAdam(numerics='keras3')"),
    "MindSpore's": (
        "adamcompat.tensorflow.MindSporeStyleAdam:function(numerics='mindspore')",
        "adamcompat.mindspore.Adam",
    ),
}


def in_tensorflow(style: str, path: Path) -> list[float]:
    import tensorflow as tf

    from adamcompat.tensorflow import Adam, MindSporeStyleAdam

    weights, inputs, targets = data()
    variables = [tf.Variable(weight, name=f"p{i}") for i, weight in enumerate(weights)]
    optimizer: Any
    if style == "TensorFlow's":
        optimizer = Adam(RATE, epsilon=EPSILON)
        optimizer.build(variables)
    else:
        optimizer = MindSporeStyleAdam(variables, RATE, eps=EPSILON, numerics="mindspore")

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = tf.nn.tanh(x @ variables[0] + variables[1])
            loss = tf.reduce_mean((hidden @ variables[2] + variables[3] - y) ** 2)
        gradients = tape.gradient(loss, variables)
        if style == "TensorFlow's":
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
        else:
            optimizer(gradients)
        return loss

    traced = tf.function(step)
    with record(optimizer, path, every=50):
        return [float(traced(tf.constant(x), tf.constant(y))) for x, y in zip(inputs, targets, strict=True)]


def in_mindspore(style: str, path: Path) -> list[float]:
    import mindspore as ms
    from mindspore import Parameter, Tensor, ops

    runtime: Any = import_module("adamcompat.mindspore")
    weights, inputs, targets = data()
    parameters = [Parameter(Tensor(weight), name=f"p{i}") for i, weight in enumerate(weights)]
    optimizer: Any
    if style == "TensorFlow's":
        optimizer = runtime.TFStyleAdam(RATE, epsilon=EPSILON, numerics="keras3")
    else:
        optimizer = runtime.Adam(parameters, RATE, eps=EPSILON)

    def forward(x: Any, y: Any) -> Any:
        hidden = ops.tanh(ops.matmul(x, parameters[0]) + parameters[1])
        return ((ops.matmul(hidden, parameters[2]) + parameters[3] - y) ** 2).mean()

    differentiate = ms.value_and_grad(forward, None, ms.ParameterTuple(parameters))
    losses = []
    with record(optimizer, path, every=50):
        for x, y in zip(inputs, targets, strict=True):
            loss, gradients = differentiate(Tensor(x), Tensor(y))
            if style == "TensorFlow's":
                optimizer.apply_gradients(zip(gradients, parameters, strict=True))
            else:
                optimizer(gradients)
            losses.append(float(loss.asnumpy()))
    return losses


@pytest.mark.parametrize("style", STYLES)
def test_one_network_in_both_frameworks(style: str, tmp_path: Path) -> None:
    if style == "TensorFlow's" and "TFStyleAdam" not in import_module("adamcompat.mindspore").__all__:
        pytest.skip("MindSpore's Parameters have no TensorFlow call here")
    first, second = tmp_path / "tensorflow", tmp_path / "mindspore"
    losses = np.array([in_tensorflow(style, first), in_mindspore(style, second)])
    assert losses[0, -50:].mean() < 0.9 * losses[0, :50].mean(), "it learns"
    # The losses differ, but by no more than rounding that grows from step to step.
    assert not np.array_equal(losses[0], losses[1])
    assert np.abs(losses[0] - losses[1]).max() < 1e-5
    # Before any step the weights are equal, and so the gradients show what forward and backward do.
    one, other = read(first), read(second)
    assert one.names == other.names == ("p0", "p1", "p2", "p3")
    for a, b in zip(one.gradients, other.gradients, strict=True):
        assert np.abs(a[0] - b[0]).max() <= 32 * np.spacing(np.abs(a[0]).max())
    # Whichever gradients are replayed, both optimizers make the same of them.
    for path in (first, second):
        found = compare("recorded", *STYLES[style], gradients=path)
        assert (found.steps, found.tolerance) == (STEPS, 2)
        assert found.agree, [pair.sentences for pair in found.pairs]

"""A run that goes on in the other framework, through files alone."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adamcompat.cli as cli

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("tensorflow", "mindspore", "safetensors")),
        reason="needs TensorFlow, MindSpore and safetensors",
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_v", "3")

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((16, 4)).astype(np.float32)
TARGETS = RNG.standard_normal((16, 2)).astype(np.float32)


def keras_model() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(6, activation="tanh", name="a"), keras.layers.Dense(2, name="b")]
    )
    model.compile(keras.optimizers.Adam(0.01, epsilon=1e-8), keras.losses.MeanSquaredError())
    return model


def mindspore_model() -> tuple[Any, Any, Any]:
    from mindspore import nn

    class Net(nn.Cell):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Dense(4, 6, activation="tanh")
            self.b = nn.Dense(6, 2)

        def construct(self, x: Any) -> Any:
            return self.b(self.a(x))

    net = Net()
    optimizer = nn.Adam(net.trainable_params(), learning_rate=0.01)
    return net, optimizer, nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)


def mindspore_losses(step: Any, count: int) -> list[float]:
    from mindspore import Tensor

    step.set_train()
    return [float(step(Tensor(INPUTS), Tensor(TARGETS)).asnumpy()) for _ in range(count)]


def test_from_keras_to_mindspore_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    import mindspore as ms

    monkeypatch.chdir(tmp_path)
    model = keras_model()
    model.fit(INPUTS, TARGETS, batch_size=16, epochs=20, verbose=0)
    model.save("run.keras")
    expected = model.fit(INPUTS, TARGETS, batch_size=16, epochs=20, verbose=0).history["loss"]

    ms.save_checkpoint(mindspore_model()[1], "fresh.ckpt")
    assert cli.main(["state", "convert", "run.keras", "run.ckpt", "--like", "fresh.ckpt"]) == 0
    _net, optimizer, step = mindspore_model()
    assert ms.load_param_into_net(optimizer, ms.load_checkpoint("run.ckpt", crc_check=True)) == ([], [])
    assert int(optimizer.global_step.asnumpy()[0]) == 20
    np.testing.assert_allclose(mindspore_losses(step, 20), expected, rtol=1e-5)

    # And back into Keras, where the same run goes on.
    following = model.fit(INPUTS, TARGETS, batch_size=16, epochs=5, verbose=0).history["loss"]
    ms.save_checkpoint(optimizer, "later.safetensors", format="safetensors")
    fresh = keras_model()
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.save("fresh.keras")
    assert cli.main(["state", "convert", "later.safetensors", "back.keras", "--like", "fresh.keras"]) == 0
    back = keras.models.load_model("back.keras")
    assert back.optimizer.iterations.numpy() == 40
    losses = back.fit(INPUTS, TARGETS, batch_size=16, epochs=5, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, following, rtol=1e-5)

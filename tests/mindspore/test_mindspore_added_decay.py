"""The numerics of a decay that is added to the update: the bits of nn.AdamWeightDecay."""

from __future__ import annotations

from dataclasses import replace

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from adamcompat.executors import VARIABLE
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify import models

STEPS = 4
# Without bias correction, in MindSpore's numerics but for two facts.
KERAS = MAPPING.dialects["keras3"]
DIALECT = replace(
    KERAS, stages=("decoupled_decay", "update"), semantics=replace(KERAS.semantics, bias_correction="none")
)
NUMERICS = replace(MAPPING.numerics["mindspore"], multiply_add="fused_wide", decay="update")


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("executor", ["numpy", "numba"])
def test_weights_have_the_bits_of_adam_weight_decay(
    monkeypatch: pytest.MonkeyPatch, executor: str, decay: float
) -> None:
    monkeypatch.setenv(VARIABLE, executor)
    rng = np.random.default_rng(3)
    # Around a vector's width, and over a block of the executor on NumPy.
    weights = [rng.standard_normal(size).astype(np.float32) for size in (7, 1003, 20_011)]
    gradients = [[rng.standard_normal(w.shape).astype(np.float32) for w in weights] for _ in range(STEPS)]
    parameters = [Parameter(Tensor(w.copy()), name=f"w{i}") for i, w in enumerate(weights)]
    original = nn.AdamWeightDecay(parameters, learning_rate=0.01, eps=1e-3, weight_decay=decay)
    given = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-3, "decoupled_weight_decay": decay}
    driver = models.engine(DIALECT, NUMERICS, given, weights)
    for step in gradients:
        original(tuple(Tensor(g, mindspore.float32) for g in step))
        driver.step(step)
    for ours, theirs in zip(driver.parameters(), parameters, strict=True):
        np.testing.assert_array_equal(ours, theirs.asnumpy())

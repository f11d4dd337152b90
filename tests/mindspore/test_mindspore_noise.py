"""What MindSpore logs while our optimizers work is not of their making."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mindspore", reason="MindSpore is not installed")

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import mindspore as ms, numpy as np
from mindspore import nn
from adamcompat.mindspore import Adam, AdamWeightDecay
ms.set_context(mode=ms.PYNATIVE_MODE)
weights = []
for turn, kind in enumerate([Adam] * 3 + [AdamWeightDecay] * 6):
    weight = ms.Parameter(ms.Tensor(np.ones(3, np.float32)), name="weight")
    groups = [{"params": [weight], "lr": nn.PolynomialDecayLR(0.1, 0.01, 8, 2.0)}]
    optimizer = kind(groups, nn.ExponentialDecayLR(0.1, 0.5, 1))
    if turn > 5:
        # Then its step is a graph, also in this mode.
        optimizer.use_fused_opt = False
    for _ in range(3):
        optimizer((ms.Tensor(np.ones(3, np.float32)),))
    weights.append(weight.asnumpy().tolist())
for start in (0, 3, 6):
    assert weights[start] == weights[start + 1] == weights[start + 2]
print("done")
"""


def test_optimizers_with_schedules_are_no_function_that_is_compiled_again() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GLOG_v"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
    assert "compiled again" not in result.stderr
    assert "adamcompat" not in result.stderr

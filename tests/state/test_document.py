"""docs/state.md as a user would run it: a network goes from Keras to MindSpore and back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(
        find_spec("keras") is None or find_spec("tensorflow") is None or find_spec("mindspore") is None,
        reason="needs TensorFlow, Keras and MindSpore together",
    ),
]
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/state.md").read_text(encoding="utf-8")
EXAMPLE = "\n".join(re.findall(r"<!-- example -->\n```python\n(.*?)```", PAGE, re.DOTALL))

# Both networks go on alike, and what is wrong on purpose shows.
FURTHER = """
values = []
for _ in range(10):
    train()
    _, gradients = grad(x, y)
    ms_optimizer(gradients)
    values.append(abs(float(loss(labels, model(images))) - float(forward(x, y))))
print("apart", max(values))
flat = state.match(ms_optimizer, layout={"sequential/dense/kernel": "dense"})
state.load_into(ms_optimizer, flat, with_parameters=True)
right = state.load_into(ms_optimizer, matching, with_parameters=True) and float(forward(x, y))
state.load_into(ms_optimizer, flat, with_parameters=True)
print("flattened wrongly", abs(float(forward(x, y)) - right))
"""


def test_the_example_carries_a_network_there_and_back(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "GLOG_v": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLE + FURTHER],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shown = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    assert shown[1] in done.stdout
    keras_loss, mindspore_loss = map(float, re.findall(r"Keras (\S+) MindSpore (\S+)", done.stdout)[0])
    assert abs(keras_loss - mindspore_loss) < 1e-5
    step, back = re.findall(r"step (\d+) Keras (\S+)", done.stdout)[0]
    assert step == "100"
    assert float(back) < mindspore_loss
    apart = float(re.findall(r"apart (\S+)", done.stdout)[0])
    assert apart < 1e-2
    assert float(re.findall(r"flattened wrongly (\S+)", done.stdout)[0]) > 1e-3

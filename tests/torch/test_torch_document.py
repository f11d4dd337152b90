"""The example for PyTorch in docs/state.md as a user would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/state.md").read_text(encoding="utf-8")

# Both optimizers go on alike.
FURTHER = """
for array, one in zip(arrays, net.parameters()):
    array.grad = one.grad.numpy()
    assert (array.data == one.detach().numpy()).all()
there.step(); torch_optimizer.step()
print("apart", max(abs(array.data - one.detach().numpy()).max() for array, one in zip(arrays, net.parameters())))
"""


def test_the_example_goes_there_and_back(tmp_path: Path) -> None:
    (example,) = re.findall(r"<!-- example for PyTorch -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example + FURTHER],
        capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "step 6" in done.stdout
    assert float(re.findall(r"apart (\S+)", done.stdout)[0]) < 1e-6

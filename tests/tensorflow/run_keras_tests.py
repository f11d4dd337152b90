#!/usr/bin/env python3
# ruff: noqa: T201
"""Run Keras's own tests of optimizers and saving with our class in place of keras.optimizers.Adam.

python tests/tensorflow/run_keras_tests.py

Runs them three times, with the stock class, ours and ours with fused=True, and exits 1 unless every
test that passes with the stock class passes with ours. The tests ship in Keras's wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "optimizers/adam_test.py",
    "optimizers/optimizer_test.py",
    "optimizers/optimizer_sparse_test.py",
    "optimizers/loss_scale_optimizer_test.py",
    "optimizers/multi_optimizer_test.py",
    "saving/saving_lib_test.py",
    "saving/serialization_lib_test.py",
    "saving/saving_api_test.py",
    "backend/tensorflow/optimizer_distribute_test.py",
    "backend/tensorflow/distribute_test.py",
)
PLUGIN = """
import os
import keras
import keras.src.optimizers
import keras.src.optimizers.adam

chosen = os.environ["ADAMCOMPAT_SWAP"]
if chosen != "stock":
    from adamcompat.tensorflow import Adam

    if chosen == "fused":
        Adam.__init__.__kwdefaults__["fused"] = True
    for module in (keras.optimizers, keras.src.optimizers, keras.src.optimizers.adam):
        module.Adam = Adam
    keras.src.optimizers.ALL_OBJECTS.add(Adam)
    keras.src.optimizers.ALL_OBJECTS_DICT["adam"] = Adam
"""


def run(chosen: str) -> dict[str, str]:
    """The outcome of each test by name."""
    spec = find_spec("keras")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).parent / "src"
    files = [str(source / name) for name in FILES if (source / name).exists()]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "adamcompat_swap.py").write_text(PLUGIN, encoding="utf-8")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((folder, str(ROOT))),
            "ADAMCOMPAT_SWAP": chosen,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        command = [sys.executable, "-m", "pytest", "-p", "adamcompat_swap", "-p", "no:cacheprovider", "-rA", "-q"]
        command += ["--tb=line", "-W", "ignore", "-c", os.devnull, f"--rootdir={source}", *files]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    lines = re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    found = {name: outcome for outcome, name in lines}
    if not found:
        raise SystemExit(f"no test ran:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return found


def main() -> int:
    stock = run("stock")
    passing = {name for name, outcome in stock.items() if outcome == "PASSED"}
    print(f"stock: {len(passing)} of {len(stock)} pass")
    worse = False
    for chosen in ("ours", "fused"):
        outcomes = run(chosen)
        lost = sorted(name for name in passing if outcomes.get(name) != "PASSED")
        gained = sorted(name for name in outcomes if outcomes[name] == "PASSED" and name not in passing)
        print(f"{chosen}: {sum(x == 'PASSED' for x in outcomes.values())} of {len(outcomes)} pass")
        for name in lost:
            print(f"  lost {name}")
        for name in gained:
            print(f"  gained {name}")
        worse |= bool(lost)
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())

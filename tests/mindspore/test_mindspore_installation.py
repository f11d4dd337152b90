"""MindSpore's originals, ours while adamcompat is installed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

import adamcompat
import adamcompat.mindspore
from tests.versions import before

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).resolve().parents[2]


def trained(kind: Any, steps: int = 5) -> tuple[Any, Any]:
    """A small network and its optimizer after some steps."""
    rng = np.random.default_rng(0)
    net = nn.Dense(3, 2, weight_init=Tensor(rng.standard_normal((2, 3)).astype(np.float32)), bias_init="zeros")
    optimizer = kind(net.trainable_params(), learning_rate=0.05)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
    step.set_train()
    for _ in range(steps):
        step(Tensor(rng.standard_normal((4, 3)).astype(np.float32)), Tensor(np.ones((4, 2), np.float32)))
    return net, optimizer


def values(optimizer: Any) -> dict[str, Any]:
    return {name: parameter.asnumpy().copy() for name, parameter in optimizer.parameters_dict().items()}


def test_the_other_member_is_ours_too(mode: str) -> None:
    stock = nn.AdamWeightDecay
    reference = values(trained(stock)[1])
    with adamcompat.installed() as ours:
        assert issubclass(nn.AdamWeightDecay, adamcompat.mindspore.AdamWeightDecay)
        assert nn.AdamWeightDecay is nn.optim.AdamWeightDecay
        optimizer = trained(nn.AdamWeightDecay)[1]
        assert isinstance(optimizer, stock)
        names = [entry.original for entry in ours.report.replaced if entry.original.startswith("mindspore.")]
        assert names == [
            *("mindspore.nn.Adam", "mindspore.nn.AdamWeightDecay"),
            *("mindspore.experimental.optim.Adam", "mindspore.experimental.optim.AdamW"),
            *("mindspore.mint.optim.Adam", "mindspore.mint.optim.AdamW"),
        ]
        for name, value in values(optimizer).items():
            assert np.array_equal(value, reference[name]), name
    assert nn.AdamWeightDecay is stock


def test_names_are_ours_in_both_modes(mode: str, tmp_path: Path) -> None:
    stock = nn.Adam
    reference = values(trained(stock)[1])
    earlier = stock([Parameter(Tensor(np.ones(2, np.float32)), name="w")])
    with adamcompat.installed() as ours:
        assert nn.Adam is nn.optim.Adam is ms.nn.Adam
        # In older versions its own methods look it up where it is defined.
        assert sys.modules["mindspore.nn.optim.adam"].Adam is nn.Adam or before("mindspore", "2.8")
        assert issubclass(nn.Adam, adamcompat.mindspore.Adam)
        assert isinstance(earlier, nn.Adam)
        made = ours.report.replaced[-1].made
        optimizer = trained(nn.Adam, steps=0)[1]
        entry = next(entry for entry in ours.report.replaced if entry.original == "mindspore.nn.Adam")
        assert (entry.made - made, isinstance(optimizer, stock)) == (1, True)
        optimizer = trained(nn.Adam)[1]
        assert ours.report.in_use
        assert pickle.loads(pickle.dumps(nn.Adam)) is nn.Adam
        for name, value in values(optimizer).items():
            assert np.array_equal(value, reference[name]), name

        class Child(nn.Adam):  # type: ignore[misc]
            pass

        assert not isinstance(earlier, Child)
        trained(Child)
        ms.save_checkpoint(optimizer, str(tmp_path / "ours.ckpt"))
    assert nn.Adam is nn.optim.Adam is stock
    other = trained(stock, steps=0)[1]
    assert ms.load_param_into_net(other, ms.load_checkpoint(str(tmp_path / "ours.ckpt"))) == ([], [])


def run(*arguments: str, program: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        input=program,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=240,
    )


@pytest.mark.parametrize("mode", ["PYNATIVE_MODE", "GRAPH_MODE"])
def test_mindspore_imported_later_and_use_that_is_compiled(mode: str) -> None:
    program = f"""
import adamcompat
adamcompat.install()
import numpy as np
import mindspore as ms
from mindspore.nn import Adam, Dense, MSELoss, TrainOneStepCell, WithLossCell
ms.set_context(mode=ms.{mode})
import adamcompat.mindspore
assert issubclass(Adam, adamcompat.mindspore.Adam)
net = Dense(3, 2)
step = TrainOneStepCell(WithLossCell(net, MSELoss()), Adam(net.trainable_params()))
assert not adamcompat.installed().report.in_use
step(ms.Tensor(np.ones((4, 3), "f")), ms.Tensor(np.ones((4, 2), "f")))
assert adamcompat.installed().report.in_use
adamcompat.uninstall()
assert not issubclass(Adam, adamcompat.mindspore.Adam)
print("done")
"""
    result = run("-c", program)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr[-3000:]


def test_the_page_runs_unchanged_with_ours() -> None:
    result = run("-m", "adamcompat", "run", "--report", str(ROOT / "tests" / "data" / "page_mindspore.py"))
    assert result.stdout == "[[ 5.8998876 11.100113 ]\n [12.299808  24.700195 ]]\n"
    assert "adamcompat: installed, in use" in result.stderr
    names = 2 if before("mindspore", "2.8") else 3
    assert f"mindspore.nn.Adam is adamcompat.mindspore.Adam ({names} names; 1 made, in use)" in result.stderr


def test_install_fails_as_a_whole() -> None:
    """What is replaced for MindSpore needs Numba; without it nothing changes, now or later."""
    program = """
import sys
import mindspore
stock = mindspore.nn.Adam
sys.modules["numba"] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "numba" else found(name, package)
import adamcompat
finders = list(sys.meta_path)
for _ in range(2):
    try:
        adamcompat.install()
    except ImportError as error:
        assert "pip install" in str(error), error
    else:
        raise AssertionError("installed")
    assert mindspore.nn.Adam is stock
    assert not adamcompat.installed()
    assert sys.meta_path == finders
print("done")
"""
    result = run("-c", program)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr[-3000:]
    later = program.replace("import mindspore\nstock = mindspore.nn.Adam\n", "").replace(
        program[program.index("finders") :],
        "adamcompat.install()\nimport mindspore\nprint(mindspore.nn.Adam.__module__, adamcompat.installed())\n",
    )
    result = run("-c", later)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "RuntimeWarning: adamcompat is installed, but mindspore keeps its own Adam" in result.stderr
    assert result.stdout.startswith("mindspore.nn.optim.adam adamcompat: installed, not in use")
    assert "mindspore keeps its own Adam: adamcompat.mindspore needs Numba: pip install" in result.stdout

"""What needs a process of its own: the page's code, light imports, two workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adamcompat.extras import how_to_install

pytest.importorskip("mindspore", reason="MindSpore is not installed")

from tests.versions import before

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "tests" / "data" / "page_mindspore.py").read_text(encoding="utf-8")


def run(code: str, folder: Path, *, log_level: str = "3") -> tuple[str, str]:
    """Standard output and standard error of a program."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLOG_v": log_level}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("mode", ["PYNATIVE_MODE", "GRAPH_MODE"])
def test_the_page(mode: str, tmp_path: Path) -> None:
    code = PAGE.replace("from mindspore.nn import Adam", "from adamcompat.mindspore import Adam")
    assert code != PAGE
    out, errors = run(
        f"import mindspore\nmindspore.set_context(mode=mindspore.{mode})\n{code}", tmp_path, log_level="2"
    )
    assert re.findall(r"-?\d+\.\d+", out) == ["5.8998876", "11.100113", "12.299808", "24.700195"]
    assert "deprecated" not in errors


def test_nothing_else_imports_mindspore(tmp_path: Path) -> None:
    code = "import sys, adamcompat; adamcompat.MindSporeStyleAdam; print('mindspore' in sys.modules)"
    assert run(code, tmp_path)[0] == "False\n"


@pytest.mark.parametrize(
    ("absent", "text"), [("mindspore", "needs MindSpore"), ("numba", "needs Numba")], ids=["mindspore", "numba"]
)
def test_what_is_missing_is_named(absent: str, text: str, tmp_path: Path) -> None:
    code = f"""
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == {absent!r} else find(name, *more)
try:
    import adamcompat.mindspore
except ModuleNotFoundError as error:
    print(error)
"""
    assert f"{text}: {how_to_install('mindspore')}" in run(code, tmp_path)[0]


THREADS = """
import threading
import numpy as np
from mindspore import Parameter, Tensor
from adamcompat.mindspore import Adam

barrier, found = threading.Barrier(32), []
gradient = Tensor(np.full(20_000, 0.5, np.float32))
weights = [Parameter(Tensor(np.ones(20_000, np.float32)), name=f"w{i}") for i in range(33)]
optimizers = [Adam([weight], 0.1) for weight in weights]

def train(optimizer):
    barrier.wait()
    for _ in range(3):
        optimizer((gradient,))

threads = [threading.Thread(target=train, args=(optimizer,)) for optimizer in optimizers[1:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for _ in range(3):
    optimizers[0]((gradient,))
print(all((weight.asnumpy() == weights[0].asnumpy()).all() for weight in weights), weights[0].asnumpy()[0].round(3))
"""


def test_32_threads_make_their_first_step_at_once(tmp_path: Path) -> None:
    assert run(THREADS, tmp_path)[0] == "True 0.7\n"


LIMITED = """
import os, threading
os.environ.pop("ADAMCOMPAT_NUM_THREADS", None)
import numpy as np
import mindspore as ms
from mindspore import Parameter, Tensor
from adamcompat.mindspore import Adam, AdamWeightDecay, TFStyleAdam

ms.set_context(mode=ms.{mode})
ms.set_device("CPU")
ms.device_context.cpu.op_tuning.threads_num({threads})
ones = np.ones(2_000_000, np.float32)
for kind in (Adam, AdamWeightDecay, TFStyleAdam):
    weight = Parameter(Tensor(ones), name="w")
    optimizer = kind(0.1) if kind is TFStyleAdam else kind([weight], 0.1)
    for _ in range(2):
        if kind is TFStyleAdam:
            optimizer.apply_gradients([(Tensor(ones), weight)])
        else:
            optimizer((Tensor(ones),))
    assert 0 < weight.asnumpy()[0] < 1
print(any(thread.name.startswith("adamcompat") for thread in threading.enumerate()))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor has one thread")
@pytest.mark.parametrize("mode", ["PYNATIVE_MODE", "GRAPH_MODE"])
def test_a_step_has_no_more_threads_than_an_operator(mode: str, tmp_path: Path) -> None:
    outputs = [run(LIMITED.format(mode=mode, threads=threads), tmp_path)[0] for threads in (1, 2)]
    assert outputs == ["False\n", "True\n"]


def test_one_thread_at_a_time_asks_how_tensors_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    from adamcompat.mindspore import splitting

    inside, most, measure = 0, 0, splitting._one_step

    def watched(size: int) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        try:
            return measure(size)
        finally:
            inside -= 1

    monkeypatch.setattr(splitting, "_one_step", watched)
    splitting.threads_of_kernel.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(splitting.shares, [20_000] * 8))
    assert most == 1
    assert all(shares == found[0] and sum(shares) == 20_000 for shares in found)


def test_a_version_that_is_too_old_is_named(tmp_path: Path) -> None:
    code = """
import mindspore
mindspore.__version__ = "2.7.0"
try:
    import adamcompat.mindspore
except ImportError as error:
    print(error)
"""
    assert run(code, tmp_path)[0].startswith("adamcompat.mindspore needs MindSpore 2.7.1 or newer, and this is 2.7.0:")


WORKER = """
import sys
import numpy as np
import mindspore as ms
from mindspore import Parameter, Tensor, nn
from adamcompat.mindspore import Adam

shared, mode, out = sys.argv[1] == "2", sys.argv[2], sys.argv[3]
ms.set_context(mode=getattr(ms, mode))
ms.set_device("CPU")
rank = 0
if shared:
    ms.communication.init("mccl")
    ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True)
    rank = ms.communication.get_rank()
rng = np.random.default_rng(0)
x = rng.standard_normal((8, 5)).astype(np.float32)
y = rng.standard_normal((8, 3)).astype(np.float32)
net = nn.Dense(5, 3, weight_init=Tensor(rng.standard_normal((3, 5)), ms.float32), bias_init="zeros")
optimizer = Adam(net.trainable_params(), 0.05, weight_decay=0.01)
step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
step.set_train()
part = slice(4 * rank, 4 * rank + 4) if shared else slice(None)
for _ in range(5):
    step(Tensor(x[part]), Tensor(y[part]))
np.savez(f"{out}-{rank}.npz", *[p.asnumpy() for p in net.trainable_params()])
"""


@pytest.mark.skipif(before("mindspore", "2.8"), reason="MindSpore 2.7 fails to add up over CPUs, nn.Adam's steps too")
@pytest.mark.parametrize("mode", ["PYNATIVE_MODE", "GRAPH_MODE"])
def test_two_workers(mode: str, tmp_path: Path) -> None:
    import socket

    import numpy as np

    msrun = Path(sys.executable).with_name("msrun")
    script = tmp_path / "train.py"
    script.write_text(WORKER)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLOG_v": "3"}
    environment["PATH"] = f"{msrun.parent}{os.pathsep}{environment['PATH']}"
    together = [
        *(str(msrun), "--worker_num=2", "--local_worker_num=2", "--master_addr=127.0.0.1", f"--master_port={port}"),
        *(f"--log_dir={tmp_path / 'log'}", "--join=True", str(script), "2", mode, str(tmp_path / "shared")),
    ]
    alone = [sys.executable, str(script), "1", mode, str(tmp_path / "alone")]
    for command in (together, alone):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        logs = "".join(log.read_text()[-2000:] for log in tmp_path.glob("log/worker_*.log"))
        assert done.returncode == 0, done.stderr + logs
    first, second, single = (np.load(tmp_path / f"{name}.npz") for name in ("shared-0", "shared-1", "alone-0"))
    for name in single.files:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], single[name], atol=1e-6)

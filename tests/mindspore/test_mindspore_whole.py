"""A step on MindSpore's Parameters happens whole or not at all, whatever interrupts it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, nn  # noqa: E402
from mindspore.common.sparse_tensor import RowTensorInner  # noqa: E402

from adamcompat.mindspore import Adam, AdamWeightDecay, TFStyleAdam  # noqa: E402
from tests.faults import OURS, STRIDE, Points, Training, Tried, alike, at_every_point, fail, from_a_handler  # noqa: E402
from tests.test_whole_steps import EVERYTHING  # noqa: E402

# A fault in a generator that is being closed is swallowed by Python.
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FILES = (OURS, str(Path(nn.__file__).parent / "optim"))
F2, F4, F8, BF = ms.float16, ms.float32, ms.float64, ms.bfloat16


class OnMindSpore:
    """Parameters of several dtypes, and an optimizer of either style."""

    def __init__(self, kind: Any, dtypes: list[Any], *, sparse: bool = False, groups: bool = False, **options: Any):
        rng = np.random.default_rng(0)
        shapes = [(32, 16), (9,), (500,), (3, 4)]
        draws = [rng.standard_normal(shape) for shape in shapes]
        self.parameters = [
            Parameter(Tensor(draw, dtype), name=f"p{i}")
            for i, (draw, dtype) in enumerate(zip(draws, dtypes, strict=False))
        ]
        shapes = shapes[: len(dtypes)]
        self.gradients: list[Any] = [
            Tensor(rng.standard_normal(shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        if sparse:
            rows = Tensor(np.array([1, 3], np.int32))
            self.gradients[0] = RowTensorInner(rows, Tensor(np.ones((2, 16)), dtypes[0]), (32, 16))
        params = [{"params": self.parameters[:1], "grad_centralization": True}, {"params": self.parameters[1:]}]
        self.tf = kind is TFStyleAdam
        self.optimizer = kind(**options) if self.tf else kind(params if groups else self.parameters, **options)
        if self.tf:
            self.optimizer.build(self.parameters)
        self.step()

    def step(self) -> None:
        if self.tf:
            self.optimizer.apply_gradients(list(zip(self.gradients, self.parameters, strict=True)))
        else:
            self.optimizer(tuple(self.gradients))

    def state(self) -> list[Any]:
        own = self.optimizer.variables if self.tf else list(self.optimizer.parameters_dict().values())
        return [one.astype(ms.float32).asnumpy().copy() for one in [*self.parameters, *own]]


def plain(kind: Any, **options: Any) -> Callable[[], Training]:
    return lambda: OnMindSpore(kind, [F4] * 4, **options)


PATHS: dict[str, Callable[[], Training]] = {
    "Adam": plain(Adam),
    "Adam, options": plain(Adam, use_amsgrad=True, weight_decay=0.1, loss_scale=2.0),
    "Adam, dtypes": lambda: OnMindSpore(Adam, [F2, BF, F8, F4]),
    "Adam, centralized": plain(Adam, groups=True),
    "Adam, offload": plain(Adam, use_offload=True),
    "Adam, rows": plain(Adam, sparse=True),
    "AdamWeightDecay": plain(AdamWeightDecay, weight_decay=0.1),
    "AdamWeightDecay, dtypes": lambda: OnMindSpore(AdamWeightDecay, [BF, F4, BF, F4]),
    "TFStyleAdam": plain(TFStyleAdam),
    "TFStyleAdam, everything": plain(TFStyleAdam, **EVERYTHING),
    "TFStyleAdam, dtypes": lambda: OnMindSpore(TFStyleAdam, [F2, BF, F8, F4], use_ema=True),
}
_NAMES = ("Adam", "Adam, options", "AdamWeightDecay", "TFStyleAdam", "TFStyleAdam, everything")
IN_GRAPHS = {name: PATHS[name] for name in _NAMES}


@pytest.fixture
def graph() -> Any:
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


def whole(found: Tried, least: int) -> None:
    assert found.half == 0, f"{found.half} of {found.tries} interrupted steps were half-applied"
    assert found.tries >= least


@pytest.mark.parametrize("name", PATHS)
def test_an_exception_at_every_line(name: str, executor: str) -> None:
    stride = STRIDE * (5 if "dtypes" in name else 1)
    whole(at_every_point(PATHS[name], Points(fail, FILES), stride=stride, equal=alike), max(1, 60 // STRIDE // 5))


@pytest.mark.parametrize("name", IN_GRAPHS)
def test_an_exception_at_every_line_around_a_graph(name: str, graph: None) -> None:
    whole(at_every_point(IN_GRAPHS[name], Points(fail, FILES), equal=alike), 5)


@pytest.mark.parametrize("name", PATHS)
def test_a_signal_at_every_line(name: str) -> None:
    previous = signal.getsignal(signal.SIGUSR2)
    try:
        arrive = from_a_handler(signal.SIGUSR2)
        whole(
            at_every_point(PATHS[name], Points(arrive, FILES), first=2, stride=7 * STRIDE, equal=alike),
            max(1, 60 // STRIDE // 7),
        )
    finally:
        signal.signal(signal.SIGUSR2, previous)

"""Steps in MindSpore's graphs that call the compiled update, against those of MindSpore's own operators."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, nn, ops  # noqa: E402
from mindspore._c_expression.typing import type_to_type_id  # noqa: E402
from mindspore.common.sparse_tensor import RowTensorInner  # noqa: E402

from adamcompat.mindspore import Adam, AdamWeightDecay, TFStyleAdam, graph_call, joint_update, library  # noqa: E402
from tests.mindspore.mindspore_bits import HAS_FMA  # noqa: E402

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) not in (("linux", "x86_64"), ("linux", "aarch64")),
        reason="graphs call no Python on this machine",
    ),
]

SHAPES: list[tuple[int, ...]] = [(3,), (17, 5), (), (1,), (4, 16), (1000,)]
_RNG = np.random.default_rng(0)
START = [np.asarray(_RNG.standard_normal(shape), np.float32) for shape in SHAPES]
GRADIENTS = [[np.asarray(_RNG.standard_normal(shape), np.float32) for shape in SHAPES] for _ in range(3)]


class Decreasing(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
    def construct(self, step: Any) -> Any:
        return 0.1 / (1.0 + step.astype(ms.float32))


def by_kind(parameters: list[Any]) -> list[dict[str, Any]]:
    return [
        {"params": parameters[:2], "lr": 0.1},
        {"params": parameters[2:4], "weight_decay": 0.1},
        {"params": parameters[4:], "lr": Decreasing()},
    ]


def with_lists(parameters: list[Any]) -> list[dict[str, Any]]:
    return [{"params": parameters[:2], "lr": 0.1}, {"params": parameters[2:], "lr": [0.1, 0.2, 0.3]}]


OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "nesterov": {"use_nesterov": True},
    "amsgrad": {"use_amsgrad": True},
    "lazy": {"use_lazy": True},
    "decay": {"weight_decay": 0.1},
    "loss scale": {"loss_scale": 8.0},
    "schedule": {"learning_rate": Decreasing()},
    "list": {"learning_rate": [0.1, 0.2, 0.3]},
    "tensor": {"learning_rate": Tensor(0.1)},
    "constants": {"eps": 0.1, "beta1": 0.5, "beta2": 0.9},
    "groups": {"groups": by_kind},
    "lists in groups": {"groups": with_lists, "learning_rate": [0.1, 0.2, 0.3]},
}


@pytest.fixture(autouse=True)
def _however_few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "where_it_pays" not in request.node.name:
        monkeypatch.setattr(joint_update, "FEW", 1)


@pytest.fixture
def graph() -> Any:
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


def called(optimizer: Any) -> bool:
    """Return whether a graph has called the compiled update."""
    return optimizer._joint is not None and bool(optimizer._joint._written)


def made(kind: Any, start: list[Any] = START, groups: Any = None, dtype: Any = None, **options: Any) -> Any:
    # With these options nn.Adam's operators take no Parameters of shape ().
    refuses = options.get("use_amsgrad") or options.get("use_offload")
    chosen = [i for i, array in enumerate(start) if array.ndim or not refuses]
    parameters = [Parameter(Tensor(start[i], dtype), name=f"p{i}") for i in chosen]
    return kind(parameters if groups is None else groups(parameters), **options)


def state(optimizer: Any) -> list[Any]:
    maxima = optimizer.vhat if optimizer.use_amsgrad else ()
    counters = (optimizer.beta1_power, optimizer.beta2_power, optimizer.global_step)
    everything = (*optimizer.parameters, *optimizer.moment1, *optimizer.moment2, *maxima, *counters)
    return [item.asnumpy().copy() for item in everything]


def three_steps(optimizer: Any, dtype: Any = None) -> None:
    places = [int(parameter.name[1:]) for parameter in optimizer.parameters]
    for arrays in GRADIENTS:
        optimizer(tuple(Tensor(arrays[i], dtype) for i in places))


def stepped(optimizer: Any, dtype: Any = None) -> list[Any]:
    three_steps(optimizer, dtype)
    return state(optimizer)


def assert_same(ours: Any, theirs: Any) -> None:
    for one, other in zip(ours, theirs, strict=True):
        if HAS_FMA:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_the_bits_of_the_original(name: str, graph: None) -> None:
    ours = made(Adam, **OPTIONS[name])
    assert_same(stepped(ours), stepped(made(nn.Adam, **OPTIONS[name])))
    assert called(ours)


class LessDecay(nn.Cell):  # type: ignore[misc]
    def construct(self, step: Any) -> Any:
        return 0.1 / (1.0 + step.astype(ms.float32))


def with_cells(parameters: list[Any]) -> list[dict[str, Any]]:
    return [
        {"params": parameters[:2], "lr": 0.1, "weight_decay": LessDecay()},
        {"params": parameters[2:], "lr": [0.1, 0.2, 0.3]},
    ]


DECOUPLED: dict[str, dict[str, Any]] = {
    "default": {},
    "decay": {"weight_decay": 0.1},
    "decay of a step": {"weight_decay": LessDecay()},
    "schedule": {"learning_rate": Decreasing(), "weight_decay": 0.01},
    "list": {"learning_rate": [0.1, 0.2, 0.3]},
    "constants": {"eps": 0.1, "beta1": 0.5, "beta2": 0.9},
    "groups": {"groups": by_kind, "learning_rate": 0.05},
    "cells in groups": {"groups": with_cells, "learning_rate": [0.1, 0.2, 0.3], "weight_decay": 0.3},
}


@pytest.mark.parametrize("name", DECOUPLED)
def test_decoupled_decay_has_the_bits_of_the_original(name: str, graph: None) -> None:
    found = []
    for kind in (AdamWeightDecay, nn.AdamWeightDecay):
        optimizer = made(kind, **DECOUPLED[name])
        three_steps(optimizer)
        everything = (*optimizer.parameters, *optimizer.moments1, *optimizer.moments2, optimizer.global_step)
        found.append([item.asnumpy().copy() for item in everything])
        assert kind is nn.AdamWeightDecay or called(optimizer)
    assert_same(*found)


@pytest.mark.parametrize("dtype", [ms.float32, ms.float16])
def test_the_original_decays_where_it_may_differ(dtype: Any, graph: None) -> None:
    found = []
    for kind in (AdamWeightDecay, nn.AdamWeightDecay):
        # The original's single operators take no single numbers.
        optimizer = made(kind, START[:2], dtype=dtype, weight_decay=0.1)
        if dtype == ms.float32:
            optimizer.use_fused_opt = False
        three_steps(optimizer, dtype)
        found.append([item.asnumpy().copy() for item in (*optimizer.parameters, optimizer.global_step)])
        assert kind is nn.AdamWeightDecay or not called(optimizer)
    assert_same(*found)


def other_operator(optimizer: Any) -> None:
    optimizer.opt = ops.Adam(use_nesterov=True)


def asks_for_a_cache() -> None:
    os.environ["MS_COMPILER_CACHE_ENABLE"] = "1"


def sets_a_cache() -> None:
    ms.set_context(enable_compile_cache=True)


def shares_parameters() -> None:
    ms.set_auto_parallel_context(parallel_mode="semi_auto_parallel")


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "0")
    yield
    ms.reset_auto_parallel_context()
    ms.set_context(enable_compile_cache=False)


@pytest.mark.parametrize("change", [asks_for_a_cache, sets_a_cache, shares_parameters])
def test_graphs_that_outlive_or_leave_the_process_do_not_call(change: Callable[[], None], as_before: None) -> None:
    number = made(Adam)._joint_number
    assert graph_call.may_call.fn(number)
    change()
    assert not graph_call.may_call.fn(number)


def test_a_graph_that_is_kept_on_disk_runs_in_another_process(tmp_path: Path) -> None:
    code = """
        import sys
        import numpy as np, mindspore as ms
        from mindspore import Parameter, Tensor, nn
        from adamcompat.mindspore import Adam

        class Net(nn.Cell):
            def __init__(self):
                super().__init__()
                self.a = Parameter(Tensor(np.ones((3, 3), np.float32)), name="a")

            def construct(self, x):
                return (x * self.a).sum()

        ms.set_context(mode=ms.GRAPH_MODE)
        net = Net()
        step = nn.TrainOneStepCell(net, Adam(net.trainable_params(), 0.1))
        for _ in range(3):
            step(Tensor(np.ones((3, 3), np.float32)))
        print(net.a.asnumpy()[0, 0])
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    caches = {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(tmp_path / "graphs")}
    found = []
    for environment in ({}, caches, caches):
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(float(done.stdout))
    assert found == [found[0]] * 3
    assert found[0] == pytest.approx(0.7, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "change", "dtype"),
    [
        ({"use_offload": True}, None, None),
        ({}, None, ms.float16),
        ({}, other_operator, None),
    ],
    ids=["offload", "float16", "another operator"],
)
def test_the_original_makes_the_step_where_it_may_differ(options: Any, change: Any, dtype: Any, graph: None) -> None:
    found = []
    for kind in (Adam, nn.Adam):
        optimizer = made(kind, dtype=dtype, **options)
        if change is not None:
            change(optimizer)
        found.append(stepped(optimizer, dtype))
        assert kind is nn.Adam or not called(optimizer)
    assert_same(*found)


def test_another_executor_does_not_call(monkeypatch: pytest.MonkeyPatch, graph: None) -> None:
    monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", "numpy")
    optimizer = made(Adam)
    assert_same(stepped(optimizer), stepped(made(nn.Adam)))
    assert not called(optimizer)


def test_gradients_of_rows_are_the_operators(graph: None) -> None:
    found = []
    for kind in (Adam, nn.Adam):
        optimizer = made(kind, [np.ones((4, 3), np.float32)])
        optimizer.target = "CPU"

        class Step(nn.Cell):  # type: ignore[misc]
            def __init__(self, optimizer: Any) -> None:
                super().__init__(auto_prefix=False)
                self.optimizer = optimizer

            def construct(self, rows: Any, values: Any) -> Any:
                return self.optimizer((RowTensorInner(rows, values, (4, 3)),))

        step = Step(optimizer)
        for _ in range(2):
            step(Tensor(np.array([1, 3], np.int32)), Tensor(np.ones((2, 3), np.float32)))
        found.append(state(optimizer))
        assert kind is nn.Adam or not called(optimizer)
    assert_same(*found)


def test_a_gradient_of_the_wrong_shape_is_refused_as_by_the_original(graph: None) -> None:
    for kind in (nn.Adam, Adam):
        with pytest.raises(ValueError):
            made(kind, [np.ones((4, 3), np.float32)])((Tensor(np.ones((2, 3), np.float32)),))


class Net(nn.Cell):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(1)
        self.a = Parameter(Tensor(rng.standard_normal((5, 9), dtype=np.float32)), name="a")
        self.b = Parameter(Tensor(rng.standard_normal((9,), dtype=np.float32)), name="b")
        self.c = Parameter(Tensor(rng.standard_normal((9, 3), dtype=np.float32)), name="c")

    def construct(self, x: Any) -> Any:
        return ((ops.tanh(ops.matmul(x, self.a) + self.b) @ self.c) ** 2).mean()


X = Tensor(np.random.default_rng(2).standard_normal((7, 5), dtype=np.float32))


def in_a_cell(net: Any, optimizer: Any, value_and_grad: Any) -> list[Any]:
    step = nn.TrainOneStepCell(net, optimizer)
    step.set_train()
    return [step(X) for _ in range(4)]


def in_a_function(net: Any, optimizer: Any, value_and_grad: Any) -> list[Any]:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        loss, gradients = value_and_grad(x)
        return ops.depend(loss, optimizer(gradients))

    return [step(X) for _ in range(4)]


def in_a_loop(net: Any, optimizer: Any, value_and_grad: Any) -> list[Any]:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        total = 0.0
        for _ in range(3):
            loss, gradients = value_and_grad(x)
            optimizer(gradients)
            total = total + loss
        return total

    return [step(X) for _ in range(2)]


def in_a_loop_of_the_graph(net: Any, optimizer: Any, value_and_grad: Any) -> list[Any]:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(x: Any, count: Any) -> Any:
        total, i = x.sum() * 0.0, count * 0
        while i < count:
            loss, gradients = value_and_grad(x)
            optimizer(gradients)
            total, i = total + loss, i + 1
        return total

    return [step(X, Tensor(3, ms.int32)) for _ in range(2)]


def beside_other_writing(net: Any, optimizer: Any, value_and_grad: Any) -> list[Any]:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        loss, gradients = value_and_grad(x)
        optimizer(gradients)
        ops.assign(net.b, net.b * 0.5)
        return loss, net.b

    found = []
    for i in range(4):
        found += step(X)
        if i == 1:
            net.b.set_data(Tensor(np.ones(9, np.float32)))
        if i == 2:
            net.c.asnumpy()[...] *= 0.5
    return found


def gradients_that_are_parameters(net: Any, optimizer: Any, value_and_grad: Any) -> list[Any]:
    for _ in range(3):
        optimizer(tuple(net.trainable_params()))
    return []


USES = [
    in_a_cell,
    in_a_function,
    in_a_loop,
    in_a_loop_of_the_graph,
    beside_other_writing,
    gradients_that_are_parameters,
]


@pytest.mark.parametrize("use", USES)
def test_every_use_in_a_graph_trains_as_the_original(use: Callable[..., list[Any]], mode: str) -> None:
    found = []
    for kind in (nn.Adam, Adam):
        net = Net()
        optimizer = kind(net.trainable_params(), 0.01)
        values = use(net, optimizer, ms.value_and_grad(net, None, optimizer.parameters))
        found.append([value.asnumpy().copy() for value in values] + state(optimizer))
    assert_same(*found)
    by_python = use in (in_a_cell, gradients_that_are_parameters) and mode == "pynative"
    assert called(optimizer) != by_python


class Holder:
    value: Any = None


HOLDER = Holder()


def from_python(optimizer: Any) -> Any:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        scale = x.asnumpy().sum()
        optimizer((x * float(scale),))
        return x

    return step


def from_an_object(optimizer: Any) -> Any:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        HOLDER.value = x * 2
        optimizer((HOLDER.value,))
        return x

    return step


def from_a_branch(optimizer: Any) -> Any:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        gradient = x
        if x.sum() > 1:
            gradient = x * 2
        optimizer((gradient,))
        return x

    return step


def of_an_unknown_length(optimizer: Any) -> Any:
    @ms.jit(input_signature=(Tensor(shape=[None], dtype=ms.float32),))  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        optimizer((x * 2,))
        return x

    return step


def by_name(optimizer: Any) -> Any:
    return lambda x: optimizer((x,))


def named(kind: Any) -> Any:
    class Halved(kind):  # type: ignore[misc]
        def construct(self, gradients: Any) -> Any:
            return kind.construct(self, (gradients[0] * 0.5,))

    return Halved


@pytest.mark.filterwarnings("ignore:.*an overridden construct:UserWarning")
@pytest.mark.parametrize("use", [from_python, from_an_object, from_a_branch, of_an_unknown_length, by_name])
def test_gradients_whose_type_a_graph_learns_late(use: Callable[[Any], Any], mode: str) -> None:
    found = []
    for kind in (nn.Adam, Adam):
        optimizer = made(named(kind) if use is by_name else kind, [np.ones(3, np.float32)], learning_rate=0.1)
        step = use(optimizer)
        for _ in range(3):
            step(Tensor(np.arange(3, dtype=np.float32)))
        found.append(state(optimizer))
    assert_same(*found)


@pytest.mark.parametrize(
    ("kind", "count", "size", "calls"),
    [
        (Adam, 3, 9, False),
        (Adam, 500, 9, True),
        (Adam, 64, 1 << 15, True),
        (Adam, 1, 2 << 20, False),
        (AdamWeightDecay, 3, 9, False),
        (AdamWeightDecay, 1, 2 << 20, True),
    ],
)
def test_a_graph_calls_where_it_pays(kind: Any, count: int, size: int, calls: bool, graph: None) -> None:
    optimizer = kind([Parameter(Tensor(np.ones(size, np.float32)), name=f"p{i}") for i in range(count)])
    optimizer(tuple(Tensor(np.ones(size, np.float32)) for _ in range(count)))
    assert called(optimizer) == calls
    assert (optimizer.parameters[0].asnumpy() < 1).all()


def test_graphs_with_other_constants_share_an_optimizer(graph: None) -> None:
    found = []
    for kind in (Adam, nn.Adam):
        net = Net()
        optimizer = kind(net.trainable_params(), 0.1)
        optimizer(tuple(Tensor(np.ones(p.shape, np.float32)) for p in optimizer.parameters))
        optimizer.eps = Tensor(0.1, ms.float32)
        step = nn.TrainOneStepCell(net, optimizer)
        for _ in range(2):
            step(X)
        found.append(state(optimizer))
        assert kind is nn.Adam or called(optimizer)
    assert_same(*found)


class Product(nn.Cell):  # type: ignore[misc]
    """The gradient of each Parameter is the other Parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Parameter(Tensor(np.arange(1, 5, dtype=np.float32)), name="a")
        self.b = Parameter(Tensor(np.arange(2, 6, dtype=np.float32)), name="b")

    def construct(self) -> Any:
        return (self.a * self.b).sum()


@pytest.mark.parametrize(("kind", "original"), [(Adam, nn.Adam), (AdamWeightDecay, nn.AdamWeightDecay)])
def test_a_gradient_that_is_another_parameter_is_read_in_the_originals_order(
    kind: Any, original: Any, graph: None
) -> None:
    found = []
    for one in (kind, original):
        net = Product()
        optimizer = one(net.trainable_params(), 0.1)
        step = nn.TrainOneStepCell(net, optimizer)
        for _ in range(3):
            step()
        found.append([item.asnumpy().copy() for item in optimizer.get_parameters()])
        assert one is original or called(optimizer)
    assert_same(*found)


def test_a_learning_rate_that_is_trained_is_read_anew_for_each(graph: None) -> None:
    found = []
    for kind in (Adam, nn.Adam):
        parameters = [Parameter(Tensor(np.ones(1, np.float32)), name=f"p{i}") for i in range(3)]
        optimizer = kind(parameters, 0.1)
        optimizer.learning_rate = parameters[0]
        for _ in range(2):
            optimizer(tuple(Tensor(np.full(1, 0.5, np.float32)) for _ in parameters))
        found.append(state(optimizer))
    assert_same(*found)


def test_a_graph_may_outlive_its_optimizer(graph: None) -> None:
    found = []
    for kind in (Adam, nn.Adam):
        parameters = [Parameter(Tensor(np.ones(3, np.float32)), name="p")]

        class Step(nn.Cell):  # type: ignore[misc]
            def __init__(self, optimizer: Any) -> None:
                super().__init__(auto_prefix=False)
                self.optimizer = optimizer

            def construct(self, gradient: Any) -> Any:
                return self.optimizer((gradient,))

        step = Step(kind(parameters, 0.1))
        for rate in (0.2, 0.3):
            step(Tensor(np.ones(3, np.float32)))
            step.optimizer = kind(parameters, rate)
            gc.collect()
        step(Tensor(np.ones(3, np.float32)))
        found.append([parameter.asnumpy().copy() for parameter in parameters])
    assert_same(*found)


def test_an_exported_training_runs_elsewhere(tmp_path: Path, graph: None) -> None:
    net = Product()
    step = nn.TrainOneStepCell(net, Adam(net.trainable_params(), 0.1))
    ms.export(step, file_name=str(tmp_path / "net"), file_format="MINDIR")
    code = """
        import sys
        import mindspore as ms
        from mindspore import nn

        ms.set_context(mode=ms.GRAPH_MODE)
        step = nn.GraphCell(ms.load(sys.argv[1]))
        print(*[float(step().asnumpy()) for _ in range(3)])
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "net.mindir")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    losses = list(map(float, done.stdout.split()))
    assert losses[0] > losses[1] > losses[2]


def test_a_schedule_goes_on_after_a_graph() -> None:
    found = []
    for between in (False, True):
        parameters = [Parameter(Tensor(np.ones(3, np.float32)), name="p")]
        optimizer = TFStyleAdam(learning_rate=Decreasing())
        optimizer.build(parameters)

        @ms.jit  # type: ignore[untyped-decorator]
        def compiled(gradient: Any) -> Any:
            return optimizer.apply((gradient,))  # noqa: B023

        for number in range(4):
            gradient = Tensor(np.ones(3, np.float32))
            if between and number == 1:
                compiled(gradient)
            else:
                optimizer.apply([gradient])
        found.append([item.asnumpy().copy() for item in (*parameters, *optimizer.variables)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradients_of_unknown_length_are_the_formulas() -> None:
    parameter = Parameter(Tensor(np.ones(3, np.float32)), name="p")
    optimizer = TFStyleAdam(learning_rate=0.1)
    optimizer.build([parameter])

    @ms.jit(input_signature=(Tensor(shape=[None], dtype=ms.float32),))  # type: ignore[untyped-decorator]
    def compiled(gradient: Any) -> Any:
        return optimizer.apply((gradient * 2,))

    compiled(Tensor(np.ones(3, np.float32)))
    np.testing.assert_allclose(parameter.asnumpy(), 0.9, rtol=1e-5)
    for length in (2, 5):
        with suppress(Exception):
            compiled(Tensor(np.ones(length, np.float32)))
    assert parameter.shape == (3,)


def test_two_graphs_with_gradients_of_other_dtypes(graph: None) -> None:
    found = []
    for kind in (nn.Adam, Adam):
        optimizer = made(kind, [np.ones(9, np.float32)], learning_rate=0.1)
        for dtype in (ms.float32, ms.float16, ms.float32):
            optimizer((Tensor(np.ones(9), dtype),))
        found.append(state(optimizer))
    assert_same(*found)


def test_loaded_values_are_trained(mode: str) -> None:
    found = []
    for kind in (nn.Adam, Adam):
        net = Net()
        optimizer = kind(net.trainable_params(), 0.01)
        step = nn.TrainOneStepCell(net, optimizer)
        step(X)
        net.a.set_data(Tensor(np.full((5, 9), 0.1, np.float32)))
        optimizer.moment2[0].set_data(Tensor(np.full((5, 9), 0.2, np.float32)))
        if mode == "graph":
            step(X)
        found.append(state(optimizer))
    assert_same(*found)


def test_a_step_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], graph: None
) -> None:
    optimizer = made(Adam)
    stepped(optimizer)
    before = state(optimizer)

    def refuse(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(optimizer._joint._batch, "update", refuse)
    with pytest.raises(RuntimeError, match=library.SYMBOL):
        stepped(optimizer)
    assert "a step failed in a graph: MemoryError: no room" in capfd.readouterr().err
    assert_same(state(optimizer)[:-3], before[:-3])


def test_threads_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, graph: None) -> None:
    optimizer = made(Adam, [np.ones((1 << 20,), np.float32)])
    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="ADAMCOMPAT_NUM_THREADS"):
        optimizer((Tensor(np.ones((1 << 20,), np.float32)),))


def test_a_signal_while_a_graph_runs_loses_no_step(graph: None) -> None:
    class Stop(Exception):  # noqa: N818
        """The handler raises it."""

    def handle(*_: Any) -> None:
        raise Stop

    class Large(nn.Cell):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a = Parameter(Tensor(np.full((600, 600), 0.01, np.float32)), name="a")

        def construct(self, x: Any) -> Any:
            for _ in range(4):
                x = ops.matmul(x, self.a)
            return (x**2).mean()

    net = Large()
    optimizer = Adam(net.trainable_params(), 1e-3)
    step = nn.TrainOneStepCell(net, optimizer)
    x = Tensor(np.full((600, 600), 0.01, np.float32))
    step(x)
    previous, main, over = signal.signal(signal.SIGUSR2, handle), threading.get_ident(), threading.Event()

    def send() -> None:
        for _ in range(20):
            time.sleep(0.037)
            signal.pthread_kill(main, signal.SIGUSR2)
        over.set()

    sender = threading.Thread(target=send)
    caught = steps = 0
    try:
        sender.start()
        while not over.is_set():
            try:
                steps += 1
                step(x)
            except Stop:  # noqa: PERF203
                caught += 1
    finally:
        sender.join()
        signal.signal(signal.SIGUSR2, previous)
    assert caught
    # A signal may come between two steps, or before one begins.
    assert steps + 1 - caught <= int(optimizer.global_step.asnumpy()[0]) <= steps + 1
    assert np.isfinite(net.a.asnumpy()).all()


def test_a_process_may_end_right_after_a_step(tmp_path: Path) -> None:
    code = """
        import numpy as np, mindspore as ms
        from mindspore import Parameter, Tensor
        from adamcompat.mindspore import Adam
        optimizer = Adam([Parameter(Tensor(np.ones(9, np.float32)), name="p")])

        @ms.jit
        def step(g):
            return optimizer((g,))

        for _ in range(3):
            step(Tensor(np.ones(9, np.float32)))
    """
    # MindSpore reads the source of what it compiles.
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "adamcompat" not in done.stderr


@pytest.mark.parametrize("machine", library._MACHINES)
def test_the_library_is_one_for_its_machine(machine: str, tmp_path: Path) -> None:
    entry = library._MACHINES[machine]
    found = library.content(entry.number, entry.functions())
    assert found[:6] == b"\x7fELF\x02\x01"
    assert int.from_bytes(found[18:20], "little") == entry.number
    for name, code in entry.functions().items():
        assert name.encode() + b"\0" in found
        assert code in found
    if machine == platform.machine():
        path = tmp_path / "call.so"
        path.write_bytes(found)
        assert library.calls(path)
        functions = ctypes.CDLL(str(path))
        assert getattr(functions, f"{library.SYMBOL}InferType")() == int(type_to_type_id(ms.float32))
        assert not hasattr(functions, "another")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "adamcompat" / "mindspore" / f"call-{platform.machine()}.so"


def test_a_library_that_was_damaged_or_removed_is_written_anew(home: Path) -> None:
    kept = library.Library()
    assert kept.path() == home
    home.unlink()
    assert kept.path() == home
    assert home.is_file()
    home.write_bytes(b"nothing")
    assert library.Library().path() == home
    assert home.read_bytes().startswith(b"\x7fELF")


def test_without_a_folder_of_caches_it_lies_in_one_of_the_process(home: Path) -> None:
    home.parent.parent.parent.write_text("a file where a folder should be")
    path = library.Library().path()
    assert path is not None
    assert path != home
    assert library.calls(path)


@pytest.mark.parametrize("name", ["with:colon", os.fsdecode(b"no\xfftext")], ids=["colon", "bytes"])
def test_folders_that_mindspore_cannot_name_are_left_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    path = library.Library().path()
    assert path is not None
    assert tmp_path not in path.parents


def test_a_child_leaves_the_folder_of_its_parent(home: Path) -> None:
    home.parent.parent.parent.write_text("a file where a folder should be")
    path = library.Library().path()
    assert path is not None
    library._remove(path.parent, os.getpid() + 1)
    assert path.is_file()
    library._remove(path.parent, os.getpid())
    assert not path.exists()


def test_other_systems_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert library.Library().path() is None


def test_where_mindspore_refuses_the_library_the_original_makes_the_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, graph: None
) -> None:
    monkeypatch.setenv("MS_CUSTOM_AOT_WHITE_LIST", str(tmp_path))
    optimizer = made(Adam)
    assert_same(stepped(optimizer), stepped(made(nn.Adam)))
    assert not called(optimizer)


STYLE: dict[str, dict[str, Any]] = {
    "default": {},
    "amsgrad": {"amsgrad": True},
    "clip": {"global_clipnorm": 0.1},
    "average": {"use_ema": True, "ema_overwrite_frequency": 2},
    "accumulated": {"gradient_accumulation_steps": 2},
    "schedule": {"learning_rate": Decreasing()},
}


@pytest.mark.parametrize("name", STYLE)
def test_the_engine_makes_the_steps_of_tensorflows_style(name: str, mode: str) -> None:
    options = STYLE[name]
    found = []
    for inside in (False, True):
        parameters = [Parameter(Tensor(array), name=f"p{i}") for i, array in enumerate(START)]
        optimizer = TFStyleAdam(**options)
        optimizer.build(parameters)
        current = mode if inside else "pynative"
        ms.set_context(mode=ms.GRAPH_MODE if current == "graph" else ms.PYNATIVE_MODE)

        @ms.jit  # type: ignore[untyped-decorator]
        def step(*gradients: Any) -> Any:
            return optimizer.apply(gradients)  # noqa: B023

        for arrays in GRADIENTS:
            gradients = list(map(Tensor, arrays))
            if inside and current == "pynative":
                step(*gradients)
            else:
                optimizer.apply(gradients)
        found.append([item.asnumpy().copy() for item in (*parameters, *optimizer.variables)])
        assert optimizer._graph.call_number
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)

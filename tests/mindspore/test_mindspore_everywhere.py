"""Wherever nn.Adam works on a CPU, the drop-in works and gives the same bits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, amp, dataset, nn, ops  # noqa: E402
from mindspore.common.initializer import initializer  # noqa: E402
from mindspore.common.sparse_tensor import RowTensorInner  # noqa: E402

from adamcompat import MindSporeStyleAdam, RowSparse  # noqa: E402
from adamcompat.mindspore import Adam, AdamWeightDecay  # noqa: E402
from tests.mindspore.mindspore_bits import assert_same, needs_products_of_bfloat16  # noqa: E402

pytestmark = pytest.mark.frameworks

KINDS = (Adam, nn.Adam)
DECAYS = (AdamWeightDecay, nn.AdamWeightDecay)
DATA = np.random.default_rng(0).standard_normal((24, 3)).astype(np.float32)
LABELS = (DATA @ np.array([[1.0], [2.0], [-1.0]]) + 0.5).astype(np.float32)


def network() -> Any:
    rng = np.random.default_rng(1)
    return nn.SequentialCell(
        nn.Dense(3, 7, weight_init=Tensor(rng.standard_normal((7, 3)), ms.float32), bias_init="zeros"),
        nn.Tanh(),
        nn.Dense(7, 1, weight_init=Tensor(rng.standard_normal((1, 7)), ms.float32), bias_init="zeros"),
    )


def batches() -> list[tuple[Any, Any]]:
    return [(Tensor(DATA[i : i + 6]), Tensor(LABELS[i : i + 6])) for i in range(0, 24, 6)] * 2


def differentiated(kind: Any, *, jit: bool = False, change: Callable[[Any], Any] | None = None) -> Any:
    net, loss = network(), nn.MSELoss()
    optimizer = kind(net.trainable_params(), 0.05, weight_decay=0.01)

    def forward(x: Any, y: Any) -> Any:
        return loss(net(x), y)

    gradient = ms.value_and_grad(forward, None, optimizer.parameters)

    def step(x: Any, y: Any) -> Any:
        value, grads = gradient(x, y)
        optimizer(grads if change is None else change(grads))
        return value

    run = ms.jit(step) if jit else step
    for x, y in batches():
        run(x, y)
    return net


def with_value_and_grad(kind: Any, path: Path) -> Any:
    return differentiated(kind)


def with_jit(kind: Any, path: Path) -> Any:
    return differentiated(kind, jit=True)


def with_clip_by_global_norm(kind: Any, path: Path) -> Any:
    return differentiated(kind, change=lambda grads: ops.clip_by_global_norm(grads, 0.1))


def with_dynamic_loss_scaler(kind: Any, path: Path) -> Any:
    scaler = amp.DynamicLossScaler(scale_value=2.0**10, scale_factor=2, scale_window=3)
    return differentiated(kind, change=lambda grads: scaler.unscale(tuple(g * 1024 for g in grads)))


def with_train_one_step_cell(kind: Any, path: Path) -> Any:
    net = network()
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), kind(net.trainable_params(), 0.05))
    step.set_train()
    for x, y in batches():
        step(x, y)
    return net


def with_schedule_in_train_one_step_cell(kind: Any, path: Path) -> Any:
    net = network()
    split = [{"params": net.trainable_params()[:2], "lr": nn.ExponentialDecayLR(0.1, 0.9, 3)}]
    optimizer = kind([*split, {"params": net.trainable_params()[2:], "weight_decay": 0.1}], nn.WarmUpLR(0.1, 4))
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
    step.set_train()
    for x, y in batches():
        step(x, y)
    return net


def with_build_train_network(level: str) -> Callable[[Any, Path], Any]:
    def run(kind: Any, path: Path) -> Any:
        net = network()
        step = amp.build_train_network(net, kind(net.trainable_params(), 0.05), nn.MSELoss(), level=level)
        step.set_train()
        for x, y in batches():
            step(x, y)
        return net

    return run


def with_model(sink: bool, manager: bool = False) -> Callable[[Any, Path], Any]:
    def run(kind: Any, path: Path) -> Any:
        net = network()
        arguments: dict[str, Any] = {}
        if manager:
            arguments["loss_scale_manager"] = amp.FixedLossScaleManager(128.0, drop_overflow_update=False)
        optimizer = kind(net.trainable_params(), 0.05, **({"loss_scale": 128.0} if manager else {}))
        model = ms.Model(net, nn.MSELoss(), optimizer, **arguments)
        data = dataset.NumpySlicesDataset({"x": DATA, "y": LABELS}, shuffle=False).batch(6)
        model.train(2, data, dataset_sink_mode=sink)
        return net

    return run


def with_offload(kind: Any, path: Path) -> Any:
    net = network()
    optimizer = kind(net.trainable_params(), 0.05, use_offload=True, use_nesterov=True, weight_decay=0.1)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
    for x, y in batches():
        step(x, y)
    return net


PLACES: dict[str, Callable[[Any, Path], Any]] = {
    "value_and_grad": with_value_and_grad,
    "jit": with_jit,
    "clip_by_global_norm": with_clip_by_global_norm,
    "DynamicLossScaler": with_dynamic_loss_scaler,
    "TrainOneStepCell": with_train_one_step_cell,
    "groups and schedules": with_schedule_in_train_one_step_cell,
    "build_train_network O0": with_build_train_network("O0"),
    "build_train_network O3": with_build_train_network("O3"),
    "Model": with_model(sink=False),
    "Model, sink": with_model(sink=True),
    "Model, FixedLossScaleManager": with_model(sink=False, manager=True),
    "use_offload": with_offload,
}


def values(net: Any) -> list[NDArray[Any]]:
    return [parameter.asnumpy().copy() for parameter in net.trainable_params()]


# Those of nn.AdamWeightDecay, each with another way to the step.
OF_DECAY = ["jit", "groups and schedules", "build_train_network O0", "Model", "Model, sink"]


@pytest.mark.parametrize(
    ("kinds", "place"), [*((KINDS, place) for place in PLACES), *((DECAYS, place) for place in OF_DECAY)]
)
def test_place(kinds: Any, place: str, mode: str, tmp_path: Path) -> None:
    ours, theirs = (values(PLACES[place](kind, tmp_path)) for kind in kinds)
    for a, b, start in zip(ours, theirs, values(network()), strict=True):
        assert_same(a, b)
        assert not np.array_equal(a, start), "nothing was trained"


class Embedding(nn.Cell):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        table = Tensor(np.linspace(-1, 1, 24).reshape(6, 4), ms.float32)
        self.table = nn.EmbeddingLookup(6, 4, sparse=True, target="CPU", param_init=table)
        self.dense = nn.Dense(4, 2, weight_init="ones", bias_init="zeros")

    def construct(self, rows: Any) -> Any:
        return (self.dense(self.table(rows)) ** 2).sum()


SPARSE: dict[str, dict[str, Any]] = {
    "plain": {},
    "lazy": {"use_lazy": True},
    "lazy nesterov": {"use_lazy": True, "use_nesterov": True},
    "decay_and_scale": {"weight_decay": 0.1, "loss_scale": 4.0},
}


@pytest.mark.parametrize("target", ["CPU", None])
@pytest.mark.parametrize("case", [*SPARSE, "nesterov"])
def test_sparse_gradients_in_a_graph(case: str, target: str | None) -> None:
    """With the target "CPU" one operator makes the step, otherwise several, which add up repeated rows otherwise."""
    if case == "nesterov" and target:
        pytest.skip("the operator reads memory that nobody wrote")
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        found = []
        for kind in KINDS:
            net = Embedding()
            optimizer = kind(net.trainable_params(), 0.1, **SPARSE.get(case, {"use_nesterov": True}))
            if target:
                optimizer.target = target
            step = nn.TrainOneStepCell(net, optimizer)
            # Of one length, so that one graph serves all steps.
            for rows in ([0, 2, 2, 5], [1, 1, 3, 1], [5, 0, 0, 4]):
                step(Tensor(rows, ms.int32))
            found.append(values(net))
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)
    for a, b in zip(*found, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("case", [*SPARSE, "nesterov"])
@pytest.mark.parametrize("gradient", ["float64", "float32", "float16", "int32"])
def test_sparse_gradients_of_other_dtypes_in_a_graph(gradient: str, case: str) -> None:
    """For float64 nn.Adam has operators for rows, and none for dense gradients."""
    arguments = SPARSE.get(case, {"use_nesterov": True})
    found = []
    for kind in KINDS:
        table = Parameter(Tensor(np.linspace(-1, 1, 24).reshape(6, 4), ms.float64), name="table")
        optimizer = kind([table], 0.1, **arguments)

        def step(rows: Any, content: Any) -> Any:
            return optimizer((RowTensorInner(rows, content, (6, 4)),))  # noqa: B023

        run = ms.jit(step)
        try:
            for rows in ([0, 2, 2, 5], [1, 1, 1, 4]):
                run(Tensor(rows, ms.int32), Tensor(np.arange(16.0).reshape(4, 4)).astype(getattr(ms, gradient)))
            found.append(table.asnumpy())
        except TypeError:
            assert kind is nn.Adam, "ours fails"
            assert "weight_decay" in arguments
            assert gradient != "float64"
            return
    assert_same(*found)


@pytest.mark.parametrize("as_triple", [False, True], ids=["RowTensor", "triple"])
@pytest.mark.parametrize("case", SPARSE)
def test_sparse_gradients_in_pynative(case: str, as_triple: bool) -> None:
    """The rows that a compiled function returns, or a RowTensor: what nn.Adam refuses here."""
    arguments = SPARSE[case]
    steps = [([0, 2, 2, 5], 1.0), ([1, 1, 1, 4], -2.0), ([5, 0, 0, 3], 0.5)]

    def run(kind: Any, graph: bool) -> list[NDArray[Any]]:
        table = Parameter(Tensor(np.linspace(-1, 1, 24).reshape(6, 4), ms.float32), name="table")
        other = Parameter(Tensor(np.ones(3), ms.float32), name="other")
        optimizer = kind([table, other], 0.1, **arguments)
        optimizer.target = "CPU"

        def step(rows: Any, content: Any, dense: Any) -> Any:
            return optimizer((RowTensorInner(rows, content, (6, 4)), dense))

        for rows, factor in steps:
            given = (
                Tensor(rows, ms.int32),
                Tensor(np.arange(16.0).reshape(4, 4) * factor, ms.float32),
                Tensor([1.0, 2.0, 3.0], ms.float32),
            )
            if graph:
                ms.jit(step)(*given)
            elif as_triple:
                optimizer(((given[0], given[1], (6, 4)), given[2]))
            else:
                step(*given)
        kept = optimizer.parameters_dict()
        return [kept[name].asnumpy().copy() for name in kept]

    theirs = run(nn.Adam, graph=True)
    for a, b in zip(run(Adam, graph=False), theirs, strict=True):
        assert_same(a, b)
    if case == "plain" and not as_triple:
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            run(nn.Adam, graph=False)


@pytest.mark.parametrize("arguments", [{"use_nesterov": True}, {"use_amsgrad": True}], ids=str)
def test_sparse_gradients_where_nn_adam_has_no_right_operator(arguments: dict[str, bool], mode: str) -> None:
    """With Nesterov's form its operator reads memory that nobody wrote; for AMSGrad there is none."""
    start = np.linspace(-1, 1, 24).reshape(6, 4).astype(np.float32)
    content = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    steps = [[0, 2, 2, 5], [1, 1, 1, 4], [0, 2, 2, 5]]

    def run(kind: Any) -> NDArray[Any]:
        table = Parameter(Tensor(start), name="table")
        optimizer = kind([table], 0.1, **arguments)
        optimizer.target = "CPU"

        def step(indices: Any, values: Any) -> Any:
            return optimizer((RowTensorInner(indices, values, (6, 4)),))

        for rows in steps:
            (ms.jit(step) if mode == "graph" else step)(Tensor(rows, ms.int32), Tensor(content))
        found: NDArray[Any] = table.asnumpy()
        return found

    expected = start.copy()
    reference: Any = MindSporeStyleAdam([expected], **{"learning_rate": 0.1, **arguments})
    for rows in steps:
        reference((RowSparse(rows, content),))
    np.testing.assert_allclose(run(Adam), expected, atol=1e-5)
    if mode == "graph" and "use_nesterov" in arguments:
        assert not np.allclose(run(nn.Adam), expected, atol=1e-3), "MindSpore has mended this"
    elif mode == "graph":
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            run(nn.Adam)


@pytest.mark.parametrize("row", [-1, 6])
def test_rows_that_do_not_exist(row: int) -> None:
    table = Parameter(Tensor(np.ones((6, 4)), ms.float32), name="table")
    with pytest.raises(ValueError, match=f"names row {row}, but rows run from 0 to 5"):
        Adam([table])((RowTensorInner(Tensor([row, 2], ms.int32), Tensor(np.ones((2, 4)), ms.float32), (6, 4)),))


def test_lost_row_numbers_are_explained() -> None:
    net = Embedding()
    optimizer = Adam(net.trainable_params(), 0.1)
    differentiate, table = ms.value_and_grad(net, None, optimizer.parameters), net.table.embedding_table
    _, gradients = differentiate(Tensor([0, 2, 2, 5], ms.int32))
    with pytest.raises(ValueError, match=r"loses the row numbers .* under mindspore.jit, or set sparse=False"):
        optimizer(gradients)
    assert optimizer.global_step.asnumpy().tolist() == [0]

    def compiled_differentiate(rows: Any) -> Any:
        return differentiate(rows)

    before = table.asnumpy().copy()
    _, gradients = ms.jit(compiled_differentiate)(Tensor([0, 2, 2, 5], ms.int32))
    optimizer(gradients)
    assert np.flatnonzero((table.asnumpy() != before).any(axis=1)).tolist() == [0, 2, 5]


@pytest.mark.parametrize("form", ["ckpt", "safetensors"])
@pytest.mark.parametrize("writer", KINDS, ids=["from ours", "from nn.Adam"])
def test_checkpoints_load_in_the_other(form: str, writer: Any, mode: str, tmp_path: Path) -> None:
    reader = nn.Adam if writer is Adam else Adam
    arguments: dict[str, Any] = {"learning_rate": 0.05, "use_nesterov": True, "weight_decay": 0.1}
    rng = np.random.default_rng(0)
    gradients = [tuple(Tensor(rng.standard_normal(s), ms.float32) for s in ((3, 5), (7,))) for _ in range(8)]

    def parameters(seed: int) -> list[Any]:
        random = np.random.default_rng(seed)
        return [
            Parameter(Tensor(random.standard_normal(shape), ms.float32), name=name)
            for shape, name in (((3, 5), "a"), ((7,), "b"))
        ]

    first = writer(parameters(1), **arguments)
    for step in gradients[:4]:
        first(step)
    file = str(tmp_path / f"state.{form}")
    ms.save_checkpoint(first, file, format=form)
    second = reader(parameters(2), **arguments)
    for step in gradients[:2]:
        second(step)
    if reader is nn.Adam:
        # nn.Adam must not have run before it loads.
        second = reader(parameters(2), **arguments)
    missing, unknown = ms.load_param_into_net(second, ms.load_checkpoint(file, format=form))
    assert not missing
    assert not unknown
    for step in gradients[4:]:
        first(step)
        second(step)
    theirs = second.parameters_dict()
    for name, value in first.parameters_dict().items():
        assert_same(value.asnumpy(), theirs[name].asnumpy(), name)


def compiled(optimizer: Any) -> Any:
    @ms.jit  # type: ignore[untyped-decorator]
    def step(gradient: Any) -> Any:
        return optimizer((gradient,))

    return step


def test_modes_may_change_between_steps() -> None:
    rng = np.random.default_rng(0)
    gradients = [Tensor(rng.standard_normal(2003), ms.float32) for _ in range(9)]
    found = []
    for kind in KINDS:
        parameter = Parameter(Tensor(np.linspace(-1, 1, 2003), ms.float32), name="weight")
        optimizer = kind([parameter], 0.05, use_nesterov=True)
        run = compiled(optimizer)
        for i, gradient in enumerate(gradients):
            if kind is nn.Adam or i % 3 == 0:
                optimizer((gradient,))
            elif i % 3 == 1:
                run(gradient)
            else:
                ms.set_context(mode=ms.GRAPH_MODE)
                optimizer((gradient,))
                ms.set_context(mode=ms.PYNATIVE_MODE)
        found.append([value.asnumpy().copy() for value in optimizer.parameters_dict().values()])
    for a, b in zip(*found, strict=True):
        assert_same(a, b)


def test_gradients_that_are_still_being_computed() -> None:
    """Operators run in the background; the step must wait for them."""
    weight = Parameter(Tensor(np.ones((400, 400)), ms.float32), name="weight")
    optimizer, expected = Adam([weight], 0.1), np.ones((400, 400), np.float32)
    reference = MindSporeStyleAdam([expected], 0.1, numerics="mindspore")
    big = Tensor(np.full((400, 400), 1 / 400), ms.float32)
    for _ in range(5):
        gradient = weight
        for _ in range(10):
            gradient = ops.matmul(gradient, big)
        optimizer((gradient,))
        reference((gradient.asnumpy(),))
        np.testing.assert_allclose(weight.asnumpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_another_device_would_run(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from the CPU a PYNATIVE call is nn.Adam's own construct; its results are the same."""
    found = []
    for elsewhere in (False, True):
        parameters = [
            Parameter(Tensor(np.linspace(-1, 1, 2003), getattr(ms, dtype)), name="a"),
            Parameter(Tensor(np.ones((3, 5)), ms.float32), name="b"),
        ]
        groups = [{"params": parameters[:1], "weight_decay": 0.1}, {"params": parameters[1:], "lr": 0.3}]
        optimizer = Adam(groups, 0.05, use_nesterov=True, loss_scale=3.0)
        if elsewhere:
            # Were it called, TypeError would say so.
            monkeypatch.setattr(optimizer, "_pynative", SimpleNamespace(ready=lambda: False))
        for step in range(6):
            optimizer(tuple(Tensor(np.sin(np.arange(p.size) + step).reshape(p.shape), p.dtype) for p in parameters))
        found.append([value.asnumpy().copy() for value in optimizer.parameters_dict().values()])
    for a, b in zip(*found, strict=True):
        # For float64 there is no operator of nn.Adam to agree with, only the same update.
        np.testing.assert_allclose(a, b, rtol=1e-12 if dtype == "float64" else 0, atol=0)


@pytest.mark.parametrize("dtype", ["complex64", "int32", "bool_"])
@pytest.mark.parametrize("arguments", [{}, {"use_amsgrad": True}, {"use_offload": True}, {"use_lazy": True}], ids=str)
def test_parameters_that_are_not_real(arguments: dict[str, bool], dtype: str, mode: str) -> None:
    """They are taken, as in networks whose other Parameters are trained elsewhere, and a step fails."""
    kind = getattr(ms, dtype)
    parameters = [
        Parameter(Tensor(np.ones(3), kind), name="weight"),
        Parameter(Tensor(np.ones(3), ms.float32), name="b"),
    ]
    text = r"'weight' is (Complex64|Int32|Bool), but only .*Float32.* can be updated; leave it out"
    for optimizer, expected in ((nn.Adam(parameters, **arguments), "."), (Adam(parameters, **arguments), text)):
        assert optimizer.moment1[0].dtype == kind
        with pytest.raises(TypeError, match=expected):
            optimizer((Tensor(np.ones(3), kind), Tensor(np.ones(3), ms.float32)))


def test_several_threads_share_an_optimizer() -> None:
    parameters = [Parameter(Tensor(np.zeros(9), ms.float32), name=f"p{i}") for i in range(3)]
    optimizer = Adam(parameters, 0.1)
    gradients = tuple(Tensor(np.ones(9), ms.float32) for _ in parameters)
    optimizer(gradients)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: optimizer(gradients), range(40)))
    finally:
        sys.setswitchinterval(interval)
    assert optimizer.global_step.asnumpy().tolist() == [41]
    np.testing.assert_allclose(parameters[2].asnumpy(), -4.1, atol=1e-4)


def test_hooks_run() -> None:
    parameter = Parameter(Tensor([1.0], ms.float32), name="weight")
    optimizer = Adam([parameter], 0.1)
    seen = []
    optimizer.register_forward_pre_hook(lambda cell, inputs: seen.append("before"))
    optimizer.register_forward_hook(lambda cell, inputs, output: seen.append("after"))
    optimizer((Tensor([1.0], ms.float32),))
    assert seen == ["before", "after"]
    assert parameter.asnumpy() == pytest.approx(0.9)


def test_attributes_that_change_between_steps() -> None:
    found = []
    for kind in KINDS:
        parameter = Parameter(initializer("ones", (3,), ms.float32), name="weight")
        optimizer = kind([parameter], 0.1)
        optimizer((Tensor(np.ones(3), ms.float32),))
        ops.assign(optimizer.learning_rate, Tensor(0.5, ms.float32))
        optimizer((Tensor(np.ones(3), ms.float32),))
        found.append(parameter.asnumpy())
    assert_same(*found)


def test_it_is_an_nn_adam() -> None:
    parameter = Parameter(Tensor(np.ones(3), ms.float32), name="weight")
    ours, theirs = Adam([parameter], use_amsgrad=True), nn.Adam([parameter], use_amsgrad=True)
    assert isinstance(ours, nn.Adam)
    assert list(ours.parameters_dict()) == list(theirs.parameters_dict())
    assert ours.get_lr_parameter(parameter).asnumpy() == pytest.approx(0.001)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_without_numba(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if dtype == "bfloat16":
        needs_products_of_bfloat16()
    found = []
    for executor in ("numba", "numpy"):
        monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", executor)
        parameter = Parameter(Tensor(np.linspace(-1, 1, 35).reshape(5, 7), getattr(ms, dtype)), name="weight")
        optimizer = Adam([parameter], 0.05, use_nesterov=True, weight_decay=0.1)
        for step in range(5):
            optimizer((Tensor(np.sin(np.arange(35.0) + step).reshape(5, 7), getattr(ms, dtype)),))
        found.append(parameter.astype(ms.float64).asnumpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-6 if dtype.endswith(("32", "64")) else 5e-3)

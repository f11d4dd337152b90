"""What nn.Adam silently gets wrong: each test shows the original failing, and ours not."""

from __future__ import annotations

import ast
import inspect
import logging
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, nn  # noqa: E402
from mindspore.common.initializer import One  # noqa: E402

from adamcompat import MindSporeStyleAdam  # noqa: E402
from adamcompat import TFStyleAdam as NumPyTFStyleAdam  # noqa: E402
from adamcompat.mindspore import Adam, TFStyleAdam  # noqa: E402
from adamcompat.mindspore.memory import Regions  # noqa: E402
from tests.mindspore.mindspore_bits import assert_same, needs_products_of_bfloat16  # noqa: E402

pytestmark = pytest.mark.frameworks


def weight(value: Any, dtype: Any = ms.float32, name: str = "weight") -> Any:
    return Parameter(Tensor(np.asarray(value), dtype), name=name)


def ones(*shape: int, dtype: Any = ms.float32) -> Any:
    return Tensor(np.ones(shape), dtype)


LOADS: dict[str, Callable[[Any, Any], Any]] = {
    "set_data": lambda parameter, value: parameter.set_data(value),
    "assign_value": lambda parameter, value: parameter.assign_value(value),
    "load_param_into_net": lambda parameter, value: ms.load_param_into_net(
        Holder(parameter), {"weight": Parameter(value, name="weight")}
    ),
}


class Holder(nn.Cell):  # type: ignore[misc]
    def __init__(self, parameter: Any) -> None:
        super().__init__()
        self.weight = parameter


@pytest.mark.parametrize("load", LOADS)
def test_training_goes_on_after_a_load(load: str) -> None:
    found = {}
    for kind in (Adam, nn.Adam):
        parameter = weight([1.0])
        optimizer = kind([parameter], 0.1)
        optimizer((ones(1),))
        LOADS[load](parameter, Tensor([5.0], ms.float32))
        trajectory = []
        for _ in range(2):
            optimizer((ones(1),))
            trajectory.append(round(float(parameter.asnumpy()[0]), 5))
        found[kind] = trajectory
    assert found[nn.Adam] == [5.0, 5.0], "MindSpore has mended this; the README says otherwise"
    assert found[Adam] == [4.9, 4.8]


@pytest.mark.parametrize("kind", [Adam, nn.Adam], ids=["ours", "nn.Adam"])
def test_a_load_before_a_compiled_step(kind: Any) -> None:
    """A function under jit keeps the memory that it saw first, with an optimizer and without; copy_ writes there."""
    parameter = weight([1.0])
    optimizer = kind([parameter], 0.1)

    def make_step(gradient: Any) -> Any:
        return optimizer((gradient,))

    def double() -> Any:
        return parameter * 2

    step, read = ms.jit(make_step), ms.jit(double)
    step(ones(1))
    assert float(read()[0]) == pytest.approx(1.8)

    parameter.copy_(Tensor([5.0], ms.float32))
    step(ones(1))
    assert float(parameter.asnumpy()[0]) == pytest.approx(4.9)
    assert float(read()[0]) == pytest.approx(9.8)

    parameter.set_data(Tensor([7.0], ms.float32))
    step(ones(1))
    assert float(parameter.asnumpy()[0]) == 7.0, "MindSpore has mended this; the documentation says otherwise"
    assert float(read()[0]) == pytest.approx(9.6)


def test_a_load_of_another_shape() -> None:
    """Parameter and state grow between two steps, as for a longer vocabulary."""
    parameter = weight(np.ones(3))
    optimizer = Adam([parameter], 0.1)
    optimizer((ones(3),))
    for tensor in (parameter, optimizer.moment1[0], optimizer.moment2[0]):
        tensor.set_data(Tensor(np.zeros(20), ms.float32), slice_shape=True)
    optimizer((ones(20),))
    expected = -0.1 * np.sqrt(1 - 0.999**2) / (1 - 0.9**2) * 0.1 / np.sqrt(0.001)
    np.testing.assert_allclose(parameter.asnumpy(), np.full(20, expected), rtol=1e-4)


def test_state_may_be_loaded_too() -> None:
    """Moments, powers and the step: what load_param_into_net(optimizer, ...) replaces."""
    rng = np.random.default_rng(0)
    gradients = [Tensor(rng.standard_normal(11), ms.float32) for _ in range(6)]
    straight = weight(np.linspace(1, 2, 11))
    optimizer = Adam([straight], 0.1)
    for gradient in gradients[:3]:
        optimizer((gradient,))
    kept = {name: Parameter(value.asnumpy().copy()) for name, value in optimizer.parameters_dict().items()}
    for gradient in gradients[3:]:
        optimizer((gradient,))
    resumed = weight(np.zeros(11))
    other = Adam([resumed], 0.1)
    other((gradients[0],))
    ms.load_param_into_net(other, kept)
    for gradient in gradients[3:]:
        other((gradient,))
    np.testing.assert_array_equal(resumed.asnumpy(), straight.asnumpy())
    assert other.global_step.asnumpy().tolist() == [6]


def test_amsgrad_with_nesterov_is_refused() -> None:
    plain, both = (weight([1.0, 2.0]) for _ in range(2))
    for parameter, nesterov in ((plain, False), (both, True)):
        optimizer = nn.Adam([parameter], 0.1, use_amsgrad=True, use_nesterov=nesterov)
        for gradient in ([1.0, -2.0], [0.5, 3.0]):
            optimizer((Tensor(gradient, ms.float32),))
    np.testing.assert_array_equal(plain.asnumpy(), both.asnumpy())
    with pytest.raises(ValueError, match="'use_amsgrad' and 'use_nesterov' exclude each other"):
        Adam([weight([1.0])], use_amsgrad=True, use_nesterov=True)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_list_of_rates_that_is_too_short(mode: str, grouped: bool) -> None:
    parameter = weight([1.0])
    optimizer = Adam([{"params": [parameter], "lr": [0.1, 0.1]}] if grouped else [parameter], [0.1, 0.1])
    for _ in range(2):
        optimizer((ones(1),))
    before = {name: value.asnumpy().copy() for name, value in optimizer.parameters_dict().items()}
    for _ in range(3):
        with pytest.raises(RuntimeError, match="list of 2 values, but this is step 3; give one value for each step"):
            optimizer((ones(1),))
    for name, value in optimizer.parameters_dict().items():
        np.testing.assert_array_equal(value.asnumpy(), before[name], err_msg=name)


def test_a_list_that_is_too_short_in_a_compiled_cell() -> None:
    """There the runtime speaks, of its operator and then of a previous error: an error each time, and no step."""
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        net = nn.Dense(2, 1, weight_init="ones")
        optimizer = Adam(net.trainable_params(), [0.1, 0.1])
        train = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
        for _ in range(2):
            train(ones(3, 2), ones(3, 1))
        before = {name: value.asnumpy().copy() for name, value in optimizer.parameters_dict().items()}
        for text in ("Gather.* range .0, 2., but got 2", "previous step", "previous step"):
            with pytest.raises(RuntimeError, match=text):
                train(ones(3, 2), ones(3, 1))
        with pytest.raises(RuntimeError, match="list of 2 values, but this is step 3"):
            optimizer((ones(1, 2), ones(1)))
        for name, value in optimizer.parameters_dict().items():
            np.testing.assert_array_equal(value.asnumpy(), before[name], err_msg=name)
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)


def test_nn_adam_says_little_about_such_a_list() -> None:
    """It names an operator, and afterwards only that something failed before."""
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        optimizer = nn.Adam([weight([1.0])], [0.1, 0.1])
        for _ in range(2):
            optimizer((ones(1),))
        for text in ("Gather", "previous step", "previous step"):
            with pytest.raises(RuntimeError, match=text):
                optimizer((ones(1),))
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.mark.parametrize("shape", [(4, 16), (4, 3), (2, 16, 3, 3), (5,)], ids=str)
def test_centralization(shape: tuple[int, ...], mode: str) -> None:
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal(shape), rng.standard_normal(shape)
    arguments = {"learning_rate": 0.1, "weight_decay": 0.5, "loss_scale": 2.0, "eps": 1e-3}

    def run(kind: Any) -> NDArray[Any]:
        parameter = weight(start)
        kind([{"params": [parameter], "grad_centralization": True}], **arguments)((Tensor(gradient, ms.float32),))
        found: NDArray[Any] = parameter.asnumpy()
        return found

    array = start.astype(np.float32)
    MindSporeStyleAdam([{"params": [array], "grad_centralization": True}], **arguments)((gradient.astype(np.float32),))
    np.testing.assert_allclose(run(Adam), array, atol=1e-6)
    if shape[1:2] == (16,):
        with pytest.raises(RuntimeError, match="Centralization"):
            run(nn.Adam)
    elif len(shape) > 1:
        assert np.abs(run(nn.Adam) - array).max() > 1e-3, "MindSpore centralizes this shape now"


def test_offload_does_not_drop_centralization(mode: str) -> None:
    found: list[NDArray[Any]] = []
    for offload in (False, True):
        parameter = weight(np.linspace(1, 2, 12).reshape(4, 3))
        group = {"params": [parameter], "grad_centralization": True}
        Adam([group], 0.1, eps=1e-3, use_offload=offload)((Tensor(np.arange(12.0).reshape(4, 3), ms.float32),))
        found.append(parameter.asnumpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "tolerance", "arguments"),
    [
        ("float64", 1e-6, {}),
        ("float64", 1e-6, {"use_nesterov": True, "weight_decay": 0.1}),
        ("bfloat16", 2e-2, {}),
        ("bfloat16", 2e-2, {"use_nesterov": True, "loss_scale": 4.0}),
        ("bfloat16", 2e-2, {"use_amsgrad": True, "weight_decay": 0.1}),
        ("float16", 2e-3, {"use_amsgrad": True}),
    ],
)
def test_dtypes_that_nn_adam_refuses(dtype: str, tolerance: float, arguments: dict[str, Any], mode: str) -> None:
    if dtype == "bfloat16" and not arguments.keys().isdisjoint(("loss_scale", "weight_decay")):
        needs_products_of_bfloat16()
    kind = getattr(ms, dtype)
    rng = np.random.default_rng(0)
    shapes = [(3, 5), (17,)]
    starts = [rng.uniform(-0.5, 0.5, shape) for shape in shapes]
    gradients = [[rng.standard_normal(shape) for shape in shapes] for _ in range(20)]

    def run(optimizer: Any) -> list[Any]:
        # One parameter of float32 between: a list may mix dtypes.
        parameters = [weight(x, kind, f"w{i}") for i, x in enumerate(starts)] + [weight(np.ones(3), name="plain")]
        chosen = optimizer(parameters, 0.01, eps=1e-3, **arguments)
        for step in gradients:
            chosen((*(Tensor(g, kind) for g in step), ones(3)))
        assert parameters[0].dtype == kind
        assert chosen.moment1[0].dtype == kind
        return [p.astype(ms.float64).asnumpy() for p in parameters]

    expected = [x.copy() for x in starts]
    reference = MindSporeStyleAdam(expected, 0.01, eps=1e-3, **arguments)
    for step in gradients:
        reference(step)
    for ours, theirs in zip(run(Adam), expected, strict=False):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)
    with pytest.raises(TypeError):
        run(nn.Adam)


@pytest.mark.parametrize("grouped", [False, True])
def test_both_modes_agree_on_float64(grouped: bool) -> None:
    found = []
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        try:
            parameters = [weight(np.linspace(1, 2, 19), ms.float64, name) for name in ("w", "bn.gamma")]
            groups = [
                {"params": parameters[:1], "weight_decay": 0.3, "lr": 0.02},
                {"params": parameters[1:], "weight_decay": 0.7},
            ]
            optimizer = Adam(groups if grouped else parameters, 0.01, use_nesterov=True, weight_decay=0.1, eps=1.0)
            for step in range(10):
                optimizer((Tensor(np.sin(np.arange(19.0) + step), ms.float64),) * 2)
            found.append([parameter.asnumpy() for parameter in parameters])
        finally:
            ms.set_context(mode=ms.PYNATIVE_MODE)
    pynative, graph = found
    for ours, theirs in zip(pynative, graph, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    weights, gammas = graph
    assert not np.array_equal(weights, gammas), "gamma is not decayed, or otherwise"


def test_a_schedule_that_holds_a_parameter_sees_what_is_loaded_into_it() -> None:
    class Held(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.base = weight(0.1, name="base")

        def construct(self, step: Any) -> Any:
            return self.base * 1.0

    found = {}
    for kind in (Adam, nn.Adam):
        parameter, rate = weight([1.0]), Held()
        optimizer = kind([parameter], rate)
        optimizer((ones(1),))
        rate.base.set_data(Tensor(0.5, ms.float32))
        optimizer((ones(1),))
        found[kind] = round(float(parameter.asnumpy()[0]), 4)
    assert found == {Adam: 0.4, nn.Adam: 0.8}


def test_the_signature_is_that_of_nn_adam() -> None:
    assert str(inspect.signature(nn.Adam)) == "(*args, **kwargs)"
    tree = ast.parse(textwrap.dedent(inspect.getsource(nn.Adam)))
    initializer = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    theirs = initializer.args
    names = [argument.arg for argument in theirs.args[1:]]
    defaults = [ast.literal_eval(default) for default in theirs.defaults]
    ours = list(inspect.signature(Adam).parameters.values())
    assert [p.name for p in ours] == [*names, theirs.kwarg.arg if theirs.kwarg else None]
    assert [p.default for p in ours if p.default is not p.empty] == defaults
    assert ours[-1].kind is ours[-1].VAR_KEYWORD
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in ours[:-1])


def test_no_deprecation_on_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    from mindspore import log
    from mindspore.common import _decorator

    records: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    logger, handler = log._get_logger(), Collect(logging.WARNING)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        monkeypatch.setattr(_decorator, "DEPRECATE_SET", set())
        Adam([weight([1.0])])
        assert not records
        monkeypatch.setattr(_decorator, "DEPRECATE_SET", set())
        nn.Adam([weight([1.0])])
        if not records:
            pytest.skip("this MindSpore does not yet call a part of nn.Adam deprecated")
        assert any("deprecated" in text for text in records)
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def test_integer_gradients_with_a_loss_scale() -> None:
    found = {}
    for kind in (Adam, nn.Adam):
        parameter = weight([1.0])
        kind([parameter], 0.1, loss_scale=8.0)((Tensor([8], ms.int32),))
        found[kind] = float(parameter.asnumpy()[0])
    assert found[nn.Adam] == 1.0, "the original turned 1/8 into the integer 0"
    assert found[Adam] == pytest.approx(0.9)


def test_gradients_that_are_parameters() -> None:
    """A gradient that lies in memory which the step writes is read before."""
    first, second = weight(np.arange(1.0, 12.0), name="first"), weight(np.arange(2.0, 13.0), name="second")
    expected = [first.asnumpy().copy(), second.asnumpy().copy()]
    MindSporeStyleAdam(expected, 0.1, numerics="mindspore")((expected[1].copy(), expected[0].copy()))
    Adam([first, second], 0.1)((second, first))
    np.testing.assert_array_equal(first.asnumpy(), expected[0])
    np.testing.assert_array_equal(second.asnumpy(), expected[1])


@pytest.mark.parametrize("style", [Adam, TFStyleAdam])
def test_gradients_that_lie_elsewhere_in_the_next_step(style: Any) -> None:
    """Addresses are remembered from step to step: moved, overlapping, of another dtype, and as they were."""
    parameters = [weight(np.arange(1.0, 12.0), name="first"), weight(np.arange(2.0, 13.0), name="second")]
    one, other = parameters
    arrays = [parameter.asnumpy().copy() for parameter in parameters]
    same, moved = ones(11), ones(11)
    if style is Adam:
        ours, reference = Adam(parameters, 0.1), MindSporeStyleAdam(arrays, 0.1, numerics="mindspore")
    else:
        ours, plain = TFStyleAdam(0.1, numerics="mindspore"), NumPyTFStyleAdam(0.1, numerics="mindspore")
        plain.build(arrays)
        ours.build(parameters)
        reference = plain.apply
    wide = Tensor(np.linspace(-3, 3, 11), ms.float64 if style is TFStyleAdam else ms.float16)
    steps = [(same, moved), (same, moved), (other, one), (other, one), (same, moved), (same, wide), (same, moved)]
    for turn, gradients in enumerate(steps):
        if turn in (1, 4):
            moved.assign_value(Tensor(np.full(11, 2.0 + turn, np.float32)))
        reference([gradient.asnumpy().copy() for gradient in gradients])
        ours(gradients)
        for parameter, array in zip(parameters, arrays, strict=True):
            np.testing.assert_array_equal(parameter.asnumpy(), array)


def test_a_gradient_that_has_no_memory_yet() -> None:
    """nn.Adam fails inside of the runtime."""
    gradient = Tensor(shape=(3,), dtype=ms.float32, init=One())
    assert gradient.data_ptr() == 0
    parameters = [weight(np.ones(3)), weight(np.ones(3), name="other")]
    Adam(parameters, 0.1)((gradient, ones(3)))
    late = Tensor(shape=(3,), dtype=ms.float32, init=One())
    TFStyleAdam(0.1).apply_gradients([(late, parameters[0]), (ones(3), parameters[1])])
    for parameter in parameters:
        np.testing.assert_allclose(parameter.asnumpy(), 0.8, atol=1e-6)


def test_views_as_gradients_and_parameters() -> None:
    """Tensors that are not contiguous."""
    base = Tensor(np.arange(12.0).reshape(3, 4), ms.float32)
    found = []
    for kind in (Adam, nn.Adam):
        parameter = weight(np.ones((4, 3)))
        optimizer = kind([parameter], 0.1)
        for _ in range(3):
            optimizer(((base + 0).T,))
        found.append(parameter.asnumpy())
    assert_same(*found)
    straight = np.arange(12.0, dtype=np.float32).reshape(3, 4).T.copy()
    slopes = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    loaded = weight(np.zeros((4, 3)))
    optimizer = Adam([loaded], 0.1, eps=1.0)
    loaded.set_data(base.T)
    assert not loaded.is_contiguous()
    optimizer((Tensor(slopes),))
    MindSporeStyleAdam([straight], 0.1, eps=1.0, numerics="mindspore")((slopes,))
    np.testing.assert_allclose(loaded.asnumpy(), straight, atol=1e-6)


def test_which_memory_overlaps() -> None:
    """Only gradients in memory that is written are copied: before, in, across, between and after two regions."""
    regions = Regions(np.array([200, 100]), np.array([50, 50]))
    starts = np.array([50, 100, 90, 149, 150, 249, 250, 0])
    sizes = np.array([50, 50, 20, 1, 50, 100, 9, 1000])
    assert regions.touch(starts, sizes).tolist() == [1, 2, 3, 5, 7]

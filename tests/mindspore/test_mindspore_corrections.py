"""What nn.Adam gets wrong: each test shows the original, and ours, where it mends that and where it is asked to."""

from __future__ import annotations

import ast
import inspect
import logging
import textwrap
import warnings
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
    assert found[nn.Adam] == [5.0, 5.0], "MindSpore has mended this; docs/originals.md says otherwise"
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_amsgrad_with_nesterov_is_amsgrad(dtype: str, mode: str) -> None:
    """nn.Adam ignores the other without a word, ours with a warning; the styles refuse both together."""

    def run(kind: Any, nesterov: bool) -> NDArray[Any]:
        parameter = weight([1.0, 2.0], getattr(ms, dtype))
        optimizer = kind([parameter], 0.1, use_amsgrad=True, use_nesterov=nesterov)
        for gradient in ([1.0, -2.0], [0.5, 3.0]):
            optimizer((Tensor(gradient, parameter.dtype),))
        found: NDArray[Any] = parameter.astype(ms.float32).asnumpy()
        return found

    plain = run(Adam, False)
    text = "use_amsgrad=True and use_nesterov=True exclude each other; mindspore.nn.Adam ignores use_nesterov"
    with pytest.warns(UserWarning, match=text) as caught:
        np.testing.assert_array_equal(run(Adam, True), plain)
        run(Adam, True)
    assert len(caught) == 1, "once a process"
    assert caught[0].filename == __file__
    if dtype == "float32":
        np.testing.assert_array_equal(run(nn.Adam, True), plain)
    with pytest.raises(ValueError, match="'use_amsgrad' and 'use_nesterov' exclude each other"):
        MindSporeStyleAdam([np.ones(1)], use_amsgrad=True, use_nesterov=True)


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


@pytest.mark.parametrize("lazy", [False, True])
def test_of_two_mistakes_the_gradient_is_named_as_in_nn_adam(mode: str, lazy: bool) -> None:
    """It finds a wrong gradient when it compiles, and a list that is too short when it runs."""
    for kind in (nn.Adam, Adam):
        optimizer = kind([weight([1.0])], [0.1], use_lazy=lazy)
        optimizer((ones(1),))
        with pytest.raises(TypeError):
            optimizer((ones(1).astype(ms.float64),))


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


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("shape", [(4, 16), (4, 3), (2, 16, 3, 3), (5,)], ids=str)
def test_centralization(shape: tuple[int, ...], offload: bool, mode: str) -> None:
    """Where nn.Adam leaves gradients as they are, so does ours without corrections; where it fails, ours works."""
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal(shape), rng.standard_normal(shape)
    arguments = {"learning_rate": 0.1, "weight_decay": 0.5, "loss_scale": 2.0, "eps": 1e-3}

    def run(kind: Any, **more: Any) -> NDArray[Any]:
        parameter = weight(start)
        groups = [{"params": [parameter], "grad_centralization": True}]
        kind(groups, **arguments, use_offload=offload, **more)((Tensor(gradient, ms.float32),))
        found: NDArray[Any] = parameter.asnumpy()
        return found

    array = start.astype(np.float32)
    MindSporeStyleAdam([{"params": [array], "grad_centralization": True}], **arguments)((gradient.astype(np.float32),))
    np.testing.assert_allclose(run(Adam, corrections=True), array, atol=1e-6)
    if len(shape) == 1:
        assert_same(run(Adam), run(nn.Adam))
    elif shape[1] == 16 and not offload:
        with pytest.raises(RuntimeError, match="Centralization"):
            run(nn.Adam)
        np.testing.assert_allclose(run(Adam), array, atol=1e-6)
    else:
        theirs = run(nn.Adam)
        assert np.abs(theirs - array).max() > 1e-3, "MindSpore centralizes this shape now"
        with pytest.warns(UserWarning, match="leaves out parameters whose second axis is no multiple of 16") as caught:
            assert_same(run(Adam), theirs)
            run(Adam)
        assert [warning.filename for warning in caught] == [__file__], "once a process, at the user's line"


def test_groups_in_which_only_some_are_centralized(mode: str) -> None:
    """nn.Adam fails for the first and leaves out the second."""
    shapes = [(4, 16), (4, 3)]
    starts = [np.linspace(-1, 1, a * b).reshape(a, b).astype(np.float32) for a, b in shapes]
    gradients = [np.sin(np.arange(a * b, dtype=np.float32)).reshape(a, b) for a, b in shapes]

    def run(kind: Any, marked: list[bool]) -> list[NDArray[Any]]:
        arrays = [start.copy() for start in starts]
        made: list[Any] = [*arrays]
        if kind is Adam:
            made = [weight(x, name=f"w{i}") for i, x in enumerate(arrays)]
        groups = [{"params": [p], "grad_centralization": mark} for p, mark in zip(made, marked, strict=True)]
        kind(groups, 0.1, eps=1e-3)(
            tuple(gradients) if kind is MindSporeStyleAdam else tuple(Tensor(gradient) for gradient in gradients)
        )
        return [p if kind is MindSporeStyleAdam else p.asnumpy() for p in made]

    with pytest.warns(UserWarning, match="grad_centralization leaves out"):
        found = run(Adam, [True, True])
    for ours, theirs in zip(found, run(MindSporeStyleAdam, [True, False]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


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


@pytest.mark.parametrize("arguments", [{"use_amsgrad": True}, {"use_offload": True}], ids=str)
def test_single_numbers_that_nn_adam_refuses(arguments: dict[str, bool], mode: str) -> None:
    """For a Parameter without axes these have no operator."""
    arrays = [np.array(1.0, np.float32), np.ones(9, np.float32)]
    given: dict[str, Any] = {"learning_rate": 0.1, "eps": 0.1, **arguments}
    gradients = [(np.array(2.0 - step, np.float32), np.full(9, 1.0 + step, np.float32)) for step in range(3)]
    parameters = [weight(array, name=f"w{i}") for i, array in enumerate(arrays)]
    optimizer, reference = Adam(parameters, **given), MindSporeStyleAdam(arrays, **given)
    for step in gradients:
        optimizer(tuple(Tensor(gradient) for gradient in step))
        reference(step)
    for parameter, array in zip(parameters, arrays, strict=True):
        np.testing.assert_allclose(parameter.asnumpy(), array, atol=1e-6)
    with pytest.raises(RuntimeError):
        nn.Adam(parameters, **given)(tuple(Tensor(gradient) for gradient in gradients[0]))


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


def test_the_signature_is_that_of_nn_adam() -> None:
    assert str(inspect.signature(nn.Adam)) == "(*args, **kwargs)"
    tree = ast.parse(textwrap.dedent(inspect.getsource(nn.Adam)))
    initializer = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    theirs = initializer.args
    names = [argument.arg for argument in theirs.args[1:]]
    defaults = [ast.literal_eval(default) for default in theirs.defaults]
    ours = list(inspect.signature(Adam).parameters.values())
    # Beside its own there is one keyword of ours.
    own = [p for p in ours if p.kind is p.KEYWORD_ONLY]
    assert [(p.name, p.default) for p in own] == [("corrections", None)]
    ours = [p for p in ours if p not in own]
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


def unscaled(kind: Any, dtype: Any, scale: float, **more: Any) -> NDArray[Any]:
    parameter = weight([1.0, -1.0, 0.5])
    optimizer = kind([parameter], 0.1, loss_scale=scale, eps=1.0, **more)
    for step in range(3):
        optimizer((Tensor(np.array([9, 3 + step, 0]), dtype),))
    found: NDArray[Any] = parameter.asnumpy()
    return found


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_integer_gradients_of_which_a_loss_scale_leaves_nothing(dtype: str, mode: str) -> None:
    """nn.Adam turns 1/8 into the integer 0, and stands still."""
    kind = getattr(ms, dtype)
    assert unscaled(nn.Adam, kind, 8.0).tolist() == [1.0, -1.0, 0.5]
    np.testing.assert_allclose(unscaled(Adam, kind, 8.0), unscaled(Adam, ms.float32, 8.0), atol=1e-7)


@pytest.mark.parametrize(("dtype", "scale"), [("int32", 0.4), ("int8", 0.3), ("bool_", 8.0), ("bool_", 0.4)])
def test_integer_gradients_of_which_a_loss_scale_leaves_something(dtype: str, scale: float, mode: str) -> None:
    """nn.Adam multiplies by 2 in place of 2.5, and leaves truth values as they are: it trains, and so does ours."""
    kind = getattr(ms, dtype)
    theirs = unscaled(nn.Adam, kind, scale)
    right = unscaled(Adam, ms.float32, scale) if dtype != "bool_" else None
    assert right is None or np.abs(right - theirs).max() > 1e-3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_same(unscaled(Adam, kind, scale), theirs)
        corrected = unscaled(Adam, kind, scale, corrections=True)
    assert [w.filename for w in caught if "multiplied by 1 / loss_scale" in str(w.message)] == [__file__]
    if right is not None:
        np.testing.assert_allclose(corrected, right, atol=1e-6)
    else:
        assert np.abs(corrected - theirs).max() > 1e-3


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

"""What a step in PYNATIVE mode sees of what is loaded or set between two steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops  # noqa: E402

import adamcompat  # noqa: E402
from adamcompat.mindspore import Adam, AdamWeightDecay  # noqa: E402
from tests.mindspore.mindspore_bits import assert_same  # noqa: E402

pytestmark = pytest.mark.frameworks

TEXT = "in PYNATIVE mode a step keeps the learning rate"
RATES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
STOCK: dict[Any, Any] = {Adam: nn.Adam, AdamWeightDecay: nn.AdamWeightDecay}


def number(value: float) -> Any:
    return Tensor(value, ms.float32)


class Rate(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
    """It does not look at the step."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Parameter(number(0.1), name="rate")

    def construct(self, step: Any) -> Any:
        return self.base * 1.0


class Decay(nn.Cell):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.base = Parameter(number(0.1), name="decay")

    def construct(self, step: Any) -> Any:
        return self.base / (step + 1.0)


# Those that put another memory in place of the old one, and those that write into it.
REPLACING: dict[str, Callable[[Any, Any], Any]] = {
    "set_data": lambda parameter, value: parameter.set_data(value),
    "assign_value": lambda parameter, value: parameter.assign_value(value),
    "set_data, copy_": lambda parameter, value: (parameter.set_data(value), parameter.copy_(value / 2)),
    "copy_, set_data": lambda parameter, value: (parameter.copy_(value / 2), parameter.set_data(value)),
}
WRITING: dict[str, Callable[[Any, Any], Any]] = {
    "assign": ops.assign,
    "copy_": lambda parameter, value: parameter.copy_(value),
}
HOLDERS: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[Any], Any]]] = {
    "rate": (lambda: {"learning_rate": 0.1}, lambda optimizer: optimizer.learning_rate),
    "schedule": (lambda: {"learning_rate": Rate()}, lambda optimizer: optimizer.learning_rate.base),
    "list": (lambda: {"learning_rate": RATES}, lambda optimizer: optimizer.learning_rate.learning_rate),
    "decay": (lambda: {"weight_decay": Decay()}, lambda optimizer: optimizer.weight_decay.weight_decay.base),
}
ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "learning_rate = Tensor": lambda optimizer: setattr(optimizer, "learning_rate", number(0.5)),
    "learning_rate = Parameter": lambda o: setattr(o, "learning_rate", Parameter(number(0.5), name="learning_rate")),
    "weight_decay": lambda optimizer: setattr(optimizer, "weight_decay", number(5.0)),
    "beta1": lambda optimizer: setattr(optimizer, "beta1", number(0.5)),
    "eps": lambda optimizer: setattr(optimizer, "eps", number(10.0)),
    "reciprocal_scale": lambda optimizer: setattr(optimizer, "reciprocal_scale", number(1.0)),
    "need_scale": lambda optimizer: setattr(optimizer, "need_scale", False),
    "decay_flags": lambda optimizer: setattr(optimizer, "decay_flags", (False,)),
    "weight_decay.assign_value": lambda optimizer: optimizer.weight_decay.assign_value(number(5.0)),
}
# Whether what is written into them in place is seen: the others are folded into the graph.
CONSTANTS = {
    Adam: {"beta1": True, "beta2": True, "eps": True, "weight_decay": False, "reciprocal_scale": False},
    AdamWeightDecay: {"beta1": True, "beta2": True, "eps": True, "weight_decay": True},
}
# nn.AdamWeightDecay has no loss scale.
OF_BOTH = [(kind, name) for kind in STOCK for name in ATTRIBUTES if kind is Adam or "scale" not in name]
both = pytest.mark.parametrize("kind", STOCK)


def trained(
    kind: Any, change: Callable[[Any], Any], dtypes: tuple[Any, ...] = (), first: bool = False, **arguments: Any
) -> list[NDArray[Any]]:
    """A parameter after each of some steps; the change comes after the first one, or before."""
    parameter = Parameter(Tensor([1.0], ms.float32), name="w")
    scale = {"loss_scale": 2.0} if issubclass(kind, nn.Adam) else {}
    given = {"learning_rate": 0.1, "eps": 1.0, "weight_decay": 0.1, **scale, **arguments}
    optimizer = kind([parameter], **given)
    found = []
    for turn, dtype in enumerate(dtypes or (ms.float32,) * 4):
        if turn == (0 if first else 1):
            change(optimizer)
        optimizer((Tensor([1.0 + turn], dtype),))
        found.append(parameter.asnumpy().copy())
    return found


def assert_as_stock(
    kind: Any, change: Callable[[Any], Any], *, stale: bool, make: Callable[[], dict[str, Any]] = dict
) -> None:
    """Compare with the original; where it does not see the change, compare also with corrections."""
    theirs = trained(STOCK[kind], change, **make())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = trained(kind, change, **make())
        corrected = trained(kind, change, corrections=True, **make())
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    said = [warning.filename for warning in caught if TEXT in str(warning.message)]
    assert said == ([__file__] if stale else []), "once a process, at the user's line"
    assert np.array_equal(corrected[0], ours[0])
    assert np.array_equal(corrected[-1], ours[-1]) != stale


@pytest.mark.parametrize("way", REPLACING)
@pytest.mark.parametrize("holder", HOLDERS)
@both
def test_what_takes_the_place_of_a_value_is_not_seen(kind: Any, holder: str, way: str) -> None:
    make, held = HOLDERS[holder]

    def change(optimizer: Any) -> None:
        place = held(optimizer)
        REPLACING[way](place, Tensor(np.full(place.shape, 0.5), ms.float32))

    assert_as_stock(kind, change, stale=True, make=make)


@pytest.mark.parametrize("way", WRITING)
@pytest.mark.parametrize("holder", HOLDERS)
@both
def test_what_is_written_into_a_value_is_seen(kind: Any, holder: str, way: str) -> None:
    make, held = HOLDERS[holder]

    def change(optimizer: Any) -> None:
        place = held(optimizer)
        WRITING[way](place, Tensor(np.full(place.shape, 0.5), ms.float32))

    assert_as_stock(kind, change, stale=False, make=make)


@pytest.mark.parametrize(("kind", "name"), OF_BOTH)
def test_attributes_that_are_set_are_not_seen(kind: Any, name: str) -> None:
    assert_as_stock(kind, ATTRIBUTES[name], stale=True)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in CONSTANTS.items() for name in names])
def test_constants_that_are_written_in_place(kind: Any, name: str) -> None:
    def change(optimizer: Any) -> None:
        place = getattr(optimizer, name)
        place.copy_(Tensor(np.full(place.shape, 0.3), ms.float32))

    theirs = trained(STOCK[kind], change)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours, corrected = trained(kind, change), trained(kind, change, corrections=True)
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    untouched = trained(kind, lambda optimizer: None)
    assert np.array_equal(ours[-1], untouched[-1]) != CONSTANTS[kind][name]
    assert any(TEXT in str(warning.message) for warning in caught) != CONSTANTS[kind][name]
    assert not np.array_equal(corrected[-1], untouched[-1])


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_loaded_before_the_first_step_counts(holder: str) -> None:
    make, held = HOLDERS[holder]

    def change(optimizer: Any) -> None:
        place = held(optimizer)
        place.set_data(Tensor(np.full(place.shape, 0.5), ms.float32))

    ours, theirs = (trained(kind, change, first=True, **make()) for kind in (Adam, nn.Adam))
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    assert not np.array_equal(ours[-1], trained(Adam, lambda optimizer: None, **make())[-1])


@pytest.mark.parametrize("change", [None, "get_lr"])
def test_a_first_step_that_fails_has_seen_nothing(change: str | None) -> None:
    """Then nn.Adam is not compiled yet."""

    def half_rate() -> Any:
        return number(0.25)

    found = []
    for kind in (Adam, nn.Adam):
        parameter = Parameter(Tensor([1.0], ms.float32), name="w")
        optimizer = kind([parameter], 0.1)
        with pytest.raises(ValueError):
            optimizer((Tensor([1.0, 2.0], ms.float32),))
        if change is None:
            optimizer.learning_rate.set_data(number(0.5))
        else:
            optimizer.get_lr = half_rate
        optimizer((Tensor([1.0], ms.float32),))
        found.append(parameter.asnumpy())
    assert_same(*found)
    np.testing.assert_allclose(found[0], [0.5 if change is None else 0.75], atol=1e-6)


@both
def test_gradients_of_another_dtype_have_a_graph_of_their_own(kind: Any) -> None:
    """It keeps what it saw first, and so do those of the dtypes before."""
    later = (ms.float16, ms.float32, ms.float16, ms.bfloat16)

    def change(optimizer: Any) -> None:
        optimizer.learning_rate.set_data(number(0.5))
        optimizer.eps = number(0.1)

    arguments: dict[str, Any] = {"weight_decay": 0.0, **({"loss_scale": 1.0} if kind is Adam else {})}
    for dtypes in ((ms.float32, *later), (ms.float16, *later), (ms.bfloat16, *later)):
        theirs = trained(STOCK[kind], change, dtypes, **arguments)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", f".*{TEXT}")
            ours = trained(kind, change, dtypes, **arguments)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)


def test_rates_of_groups(mode: str) -> None:
    """Beside a list the rate of the other group is computed as rate + 1 - 1."""
    found = []
    for kind in (Adam, nn.Adam):
        parameters = [Parameter(Tensor(np.linspace(1, 2, 9), ms.float32), name=f"p{i}") for i in range(2)]
        optimizer = kind([{"params": parameters[:1], "lr": RATES}, {"params": parameters[1:], "lr": 0.001}], eps=1e-3)
        for turn in range(4):
            optimizer(tuple(Tensor(np.sin(np.arange(9.0) + turn), ms.float32) for _ in parameters))
            ops.assign(optimizer.learning_rate[1].learning_rate, number(0.001 * (turn + 1)))
        found.append([parameter.asnumpy() for parameter in parameters])
    for a, b in zip(*found, strict=True):
        assert_same(a, b)


def load(optimizer: Any, values: dict[str, Any]) -> None:
    loaded = {name: Parameter(Tensor(value), name=name) for name, value in values.items()}
    ms.load_param_into_net(optimizer, loaded)


def stateful(kind: Any) -> tuple[Any, Any]:
    parameter = Parameter(Tensor(np.linspace(1, 2, 9), ms.float32), name="w")
    return parameter, kind([parameter], 0.1, eps=1.0)


@pytest.mark.parametrize("corrections", [False, True])
@pytest.mark.parametrize("dtype", [ms.float32, ms.float16])
@both
def test_a_whole_checkpoint_is_seen_at_once(kind: Any, dtype: Any, corrections: bool) -> None:
    """Its learning rate too: the original would go on with what nobody sees."""
    source, first = stateful(kind)
    for _ in range(3):
        first((Tensor(np.linspace(-1, 1, 9), ms.float32),))
    ops.assign(first.learning_rate, number(0.7))
    values = {name: value.asnumpy().copy() for name, value in first.parameters_dict().items()}
    parameter, second = stateful(lambda *args, **kwargs: kind(*args, corrections=corrections, **kwargs))
    gradient = Tensor(np.linspace(-1, 1, 9), dtype)
    second((gradient,))
    load(second, values)
    for optimizer in (first, second):
        for _ in range(2):
            optimizer((gradient,))
    assert_same(parameter.asnumpy(), source.asnumpy())
    assert second.global_step.asnumpy().tolist() == [5]


@both
def test_what_was_not_seen_is_seen_when_a_parameter_is_loaded(kind: Any) -> None:
    """As if the original had compiled its graph again, which is what helps it."""
    parameter, optimizer = stateful(kind)
    gradient = (Tensor(np.ones(9), ms.float32),)
    optimizer(gradient)
    optimizer.eps = number(1e-8)
    optimizer.learning_rate.set_data(number(0.5))
    with pytest.warns(UserWarning, match=TEXT):
        optimizer(gradient)
    before = parameter.asnumpy().copy()
    parameter.set_data(Tensor(before))
    optimizer(gradient)
    moments = [getattr(optimizer, name)[0].asnumpy() for name in optimizer._attributes.moments]
    # After three steps of ones; nn.AdamWeightDecay corrects no bias.
    step = 0.5 if kind is Adam else 0.5 * moments[0] / (np.sqrt(moments[1]) + 1e-8)
    np.testing.assert_allclose(before - parameter.asnumpy(), step, atol=1e-3)


@pytest.mark.parametrize(
    ("member", "name"),
    [
        *((Adam, name) for name in ("moment1", "moment2", "beta1_power", "global_step")),
        *((AdamWeightDecay, name) for name in ("moments1", "moments2", "global_step")),
    ],
)
def test_state_that_is_loaded_alone_is_seen(member: Any, name: str) -> None:
    """In the original it stands still from then on: what is saved is not what it computes with."""
    found = {}
    for kind in (member, STOCK[member]):
        _, optimizer = stateful(kind)
        gradient = (Tensor(np.ones(9), ms.float32),)
        optimizer(gradient)
        state = getattr(optimizer, name)
        place = state[0] if isinstance(state, ParameterTuple) else state
        place.set_data(place * 2)
        before = place.asnumpy().copy()
        optimizer(gradient)
        found[kind] = np.array_equal(place.asnumpy(), before)
    assert found == {member: False, STOCK[member]: True}


def test_corrections_of_install_and_of_a_call() -> None:
    def change(optimizer: Any) -> None:
        optimizer.learning_rate.set_data(number(0.5))

    corrected = trained(Adam, change, corrections=True)[-1]
    with adamcompat.installed(corrections=True):
        assert_same(trained(nn.Adam, change)[-1], corrected)
        with pytest.warns(UserWarning, match=TEXT):
            plain = trained(nn.Adam, change, corrections=False)[-1]
    assert_same(plain, trained(nn.Adam, change)[-1])
    assert not np.array_equal(plain, corrected)
    with pytest.raises(TypeError, match="corrections must be True, False or None, got 1"):
        trained(Adam, change, corrections=1)


@pytest.mark.parametrize("holder", HOLDERS)
def test_graph_mode_sees_what_is_loaded(holder: str) -> None:
    make, held = HOLDERS[holder]

    def change(optimizer: Any) -> None:
        place = held(optimizer)
        place.set_data(Tensor(np.full(place.shape, 0.5), ms.float32))

    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        ours, theirs = (trained(kind, change, **make()) for kind in (Adam, nn.Adam))
        assert not np.array_equal(ours[-1], trained(Adam, lambda optimizer: None, **make())[-1])
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)

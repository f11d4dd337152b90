"""Parameters that become other arrays between two steps are followed or refused, never written to as they were."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam
from adamcompat.executors import compiled, headers
from adamcompat.executors.regions import Regions

Array = NDArray[Any]
Step = Callable[[Array], object]


def trained(style: str, variables: list[Any]) -> tuple[Any, Callable[..., object]]:
    """An optimizer after one step, and what makes one more with the given gradients."""
    optimizer: Any = TFStyleAdam(0.1) if style == "tf" else MindSporeStyleAdam(variables, 0.1)

    def step(*gradients: Array) -> object:
        if style == "tf":
            return optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))
        return optimizer(gradients)

    step(*(np.ones(np.shape(variable), np.asarray(variable).dtype) for variable in variables))
    return optimizer, step


@pytest.fixture(params=["tf", "ms"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_parameter_that_holds_another_array_is_followed(style: str, executor: str) -> None:
    one, other = Parameter(np.ones(3, np.float32), "one"), Parameter(np.ones((2, 4000), np.float32), "other")
    _, step = trained(style, [one, other])
    old = one.data
    before = old.copy()
    one.data = np.full(3, 5, np.float32)
    plain = [np.ones(3, np.float32), np.ones((2, 4000), np.float32)]
    _, undisturbed = trained(style, plain)
    plain[0][:] = 5
    for _ in range(3):
        step(np.ones(3, np.float32), np.ones((2, 4000), np.float32))
        undisturbed(np.ones(3, np.float32), np.ones((2, 4000), np.float32))
    np.testing.assert_array_equal(old, before)
    np.testing.assert_array_equal(one.data, plain[0])
    np.testing.assert_array_equal(other.data, plain[1])


def test_an_average_overwrites_the_array_that_a_parameter_holds_now() -> None:
    parameter = Parameter(np.ones(3), "p")
    optimizer = TFStyleAdam(0.1, use_ema=True)
    optimizer.apply_gradients([(np.ones(3), parameter)])
    old = parameter.data
    parameter.data = np.full(3, 5.0)
    optimizer.finalize_variable_values([parameter])
    np.testing.assert_array_equal(old, parameter.data)
    assert old is not parameter.data


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (np.ones(3), ValueError, "dtype float64, but the optimizer keeps moments of shape .* and dtype float32"),
        (np.ones(4, np.float32), ValueError, r"now has shape \(4,\)"),
    ],
)
def test_a_parameter_that_holds_another_kind_of_array_is_refused(
    value: Array, error: type[Exception], text: str, style: str
) -> None:
    parameter = Parameter(np.ones(3, np.float32), "w")
    _, step = trained(style, [parameter])
    before, parameter.data = parameter.data, value
    with pytest.raises(error, match=text):
        step(np.ones(value.shape, value.dtype))
    parameter.data = before
    step(np.ones(3, np.float32))
    np.testing.assert_allclose(before, 0.8, rtol=1e-5)


def test_two_parameters_that_come_to_share_memory_are_refused(style: str) -> None:
    one, other = Parameter(np.ones(3), "one"), Parameter(np.ones(3), "other")
    _, step = trained(style, [one, other])
    other.data = one.data
    with pytest.raises(ValueError, match="one and other share memory"):
        step(np.ones(3), np.ones(3))


@pytest.mark.parametrize("bad", [None, [1.0], np.ones(3, np.int32), np.broadcast_to(np.ones(1), (3,))], ids=str)
def test_what_is_no_parameter_cannot_be_assigned(bad: Any) -> None:
    parameter = Parameter(np.ones(3), "w")
    with pytest.raises((TypeError, ValueError), match="'w'"):
        parameter.data = bad
    np.testing.assert_array_equal(parameter.data, np.ones(3))


# What NumPy lets a user do to an array in place.
CHANGES: dict[str, tuple[Callable[[Array], object], str]] = {
    "read-only": (lambda w: w.setflags(write=False), "read-only"),
    "another dtype": (lambda w: setattr(w, "dtype", np.int32), "dtype int32"),
    "another kind of float": (lambda w: setattr(w, "dtype", np.float64), "now has shape"),
    "fewer elements": (lambda w: w.resize((4,), refcheck=False), "now has shape"),
    "more elements": (lambda w: w.resize((10_000,), refcheck=False), "now has shape"),
    "another shape": (lambda w: setattr(w, "shape", (4, 16)), "now has shape"),
    "as many axes": (lambda w: setattr(w, "shape", (8, 8)), "now has shape"),
    "shared elements": (lambda w: setattr(w, "strides", (0,) * w.ndim), "share memory"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("size", [64, 9000 * 64])
@pytest.mark.parametrize("change", CHANGES)
def test_an_array_that_was_changed_in_place_is_refused(change: str, size: int, style: str, executor: str) -> None:
    act, text = CHANGES[change]
    weight: Array = np.ones(size, np.float32)
    if change == "as many axes":
        weight = weight.reshape(4, -1).copy()
    if change.startswith(("another shape", "as many")) and size > 64:
        pytest.skip("one size is enough")
    other = np.ones(5, np.float32)
    shape = weight.shape
    _, step = trained(style, [weight, other])
    act(weight)
    before = weight.copy(), other.copy()
    with pytest.raises((TypeError, ValueError), match=text):
        step(np.ones(shape, np.float32), np.ones(5, np.float32))
    np.testing.assert_array_equal(weight, before[0])
    np.testing.assert_array_equal(other, before[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_memory_exchanged_in_place_is_followed(style: str, executor: str) -> None:
    weight: Any = np.ones(4, np.float32)
    _, step = trained(style, [weight])
    old = weight.view()
    try:
        weight.data = np.full(4, 5, np.float32).data
    except (AttributeError, TypeError):
        pytest.skip("this NumPy does not let the memory of an array be exchanged")
    before = old.copy()
    step(np.ones(4, np.float32))
    np.testing.assert_array_equal(old, before)
    np.testing.assert_allclose(weight, 4.9, rtol=1e-5)


def test_state_cannot_be_resized_or_made_read_only_through_what_is_handed_out(executor: str) -> None:
    weight = np.ones(64, np.float32)
    optimizer, step = trained("tf", [weight])
    named, call = trained("ms", [np.ones(64, np.float32)])
    for array in [*optimizer.variables, *list(named.parameters_dict().values())[3:], named.global_step]:
        array.setflags(write=False)
        with pytest.raises(ValueError, match="own"):
            array.resize((2 * array.size,), refcheck=False)
    step(np.ones(64, np.float32))
    call(np.ones(64, np.float32))
    assert optimizer.iterations == 2 and int(named.global_step[0]) == 2


# NumPy 2.4 advises against some of these changes, and makes them.
@pytest.mark.filterwarnings("ignore:Setting the :DeprecationWarning")
def test_headers_are_read_as_numpy_writes_them(monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    """Where they lie otherwise, the arrays themselves are asked."""
    assert headers.KNOWN
    for known in (True, False):
        monkeypatch.setattr(headers, "KNOWN", known)
        for change, (act, _) in CHANGES.items():
            arrays: list[Array] = [np.ones(3), np.ones((4, 16), np.float32), np.ones(())]
            noted = headers.Headers(arrays)
            assert noted.unchanged(compiled()) and noted.unchanged(None)
            if change != "another shape":
                act(arrays[1])
                assert not noted.unchanged(compiled()) and not noted.unchanged(None), change


# What weight decay leaves alone is known by the arrays themselves.


def decayed(optimizer: TFStyleAdam, variables: list[Any]) -> list[bool]:
    """Which of them lose something of themselves without a gradient."""
    optimizer.apply_gradients([(np.zeros(2), variable) for variable in variables])
    return [bool((np.asarray(variable) < 1).all()) for variable in variables]


def excluding(*variables: Any) -> TFStyleAdam:
    optimizer = TFStyleAdam(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(variables)
    return optimizer


def test_an_exclusion_goes_to_no_other_array_at_the_old_address() -> None:
    for _ in range(50):
        one = np.ones(2)
        optimizer = excluding(one)
        del one
        others = [np.ones(2) for _ in range(3)]
        with pytest.warns(UserWarning, match="none of them is among those that are trained"):
            assert decayed(optimizer, others) == [True] * 3


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_an_exclusion_goes_along_with_its_variables(duplicate: Callable[[Any], Any]) -> None:
    variables = [np.ones(2), np.ones(2)]
    optimizer, copied = duplicate((excluding(variables[0]), variables))
    assert decayed(optimizer, copied) == [False, True]


def test_a_copy_of_the_optimizer_alone_excludes_the_same_variables() -> None:
    variables = [np.ones(2), np.ones(2)]
    assert decayed(copy.deepcopy(excluding(variables[0])), variables) == [False, True]


def test_a_pickle_of_the_optimizer_alone_excludes_variables_by_name() -> None:
    variables = [Parameter(np.ones(2), "a"), Parameter(np.ones(2), "b")]
    optimizer = pickle.loads(pickle.dumps(excluding(variables[0])))
    assert decayed(optimizer, variables) == [False, True]
    nameless = [np.ones(2), np.ones(2)]
    with pytest.warns(UserWarning, match="after unpickling, again"):
        assert decayed(pickle.loads(pickle.dumps(excluding(nameless[0]))), nameless) == [True, True]


def test_equal_names_alone_exclude_nothing() -> None:
    trained_one, other = Parameter(np.ones(2), "a"), Parameter(np.ones(2), "a")
    with pytest.warns(UserWarning, match="none of them"):
        assert decayed(excluding(other), [trained_one]) == [True]


def test_which_memory_overlaps() -> None:
    """Only gradients in memory that is written are copied: before, in, across, between and after two regions."""
    regions = Regions(np.array([200, 100]), np.array([50, 50]))
    starts = np.array([50, 100, 90, 149, 150, 249, 250, 0])
    sizes = np.array([50, 50, 20, 1, 50, 100, 9, 1000])
    assert regions.touch(starts, sizes).tolist() == [1, 2, 3, 5, 7]
    # One at a time, as arrays are asked for.
    pairs = zip(starts, sizes, strict=True)
    assert [place for place, (start, size) in enumerate(pairs) if regions.overlaps(start, start + size)] == [
        1,
        2,
        3,
        5,
        7,
    ]

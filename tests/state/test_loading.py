"""State in and out of NumPy optimizers: exact, whole, or refused with nothing changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam
from adamcompat.mapping.tables import MAPPING
from adamcompat.state import AdamState, StateError
from adamcompat.state.slots import gathered, name_of, role_of

Array = NDArray[Any]
SHAPES = ((3, 5), (7,), (2, 3, 3, 4), ())
NUMERICS = tuple(MAPPING.numerics)


def parameters(seed: int = 0, prefix: str = "p") -> list[Parameter]:
    rng = np.random.default_rng(seed)
    return [
        Parameter(np.asarray(rng.standard_normal(shape), np.float32), f"{prefix}{i}") for i, shape in enumerate(SHAPES)
    ]


def gradients(steps: int, seed: int = 1) -> list[list[Array]]:
    rng = np.random.default_rng(seed)
    return [[np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES] for _ in range(steps)]


def tf_style(steps: int = 5, **options: Any) -> tuple[TFStyleAdam, list[Parameter]]:
    weights, optimizer = parameters(), TFStyleAdam(0.01, **options)
    optimizer.build(weights)
    for step in gradients(steps):
        optimizer.apply_gradients(zip(step, weights, strict=True))
    return optimizer, weights


def everything(optimizer: Any) -> list[Array]:
    return [array.copy() for _, _, array in optimizer._state()]


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("numerics", NUMERICS)
def test_the_other_style_goes_on_bit_for_bit(numerics: str, amsgrad: bool) -> None:
    old, weights = tf_style(amsgrad=amsgrad, numerics=numerics)
    others = parameters(seed=9)
    new = MindSporeStyleAdam(others, 0.01, eps=1e-7, use_amsgrad=amsgrad, numerics=numerics)
    AdamState.of(old).load_into(new, with_parameters=True)
    for step in gradients(5, seed=2):
        old.apply_gradients(zip(step, weights, strict=True))
        new(step)
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    back, last = TFStyleAdam(0.01, amsgrad=amsgrad, numerics=numerics), parameters(seed=8)
    state = AdamState.of(new)
    assert state.step == 10
    state.load_into(back, parameters=last, with_parameters=True)
    for step in gradients(5, seed=3):
        back.apply_gradients(zip(step, last, strict=True))
        new(step)
    for one, other in zip(last, others, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_state_is_a_copy() -> None:
    old, weights = tf_style()
    state = AdamState.of(old)
    before = np.array(state.first_moment["p0"])
    old.apply_gradients(zip(gradients(1)[0], weights, strict=True))
    np.testing.assert_array_equal(np.asarray(state.first_moment["p0"]), before)


def test_parameters_move_only_when_asked_for() -> None:
    state = AdamState.of(tf_style()[0])
    others = parameters(seed=9)
    state.load_into(MindSporeStyleAdam(others, eps=1e-7))
    np.testing.assert_array_equal(others[0].data, parameters(seed=9)[0].data)


def test_layouts_reach_moments_and_parameters() -> None:
    kernel = np.asarray(np.random.default_rng(0).standard_normal((3, 5)), np.float32)
    old = TFStyleAdam(0.01)
    old.apply_gradients([(kernel * 2, Parameter(kernel, "net/fc/kernel"))])
    weight = np.zeros((5, 3), np.float32)
    new = MindSporeStyleAdam([Parameter(weight, "fc.weight")], 0.01, eps=1e-7)
    assert " ".join(str(AdamState.of(old).load_into(new, with_parameters=True)).split()).endswith("dense (1,0) by name")
    np.testing.assert_array_equal(weight, kernel.T)
    np.testing.assert_array_equal(AdamState.of(new).second_moment["fc.weight"], old._engine.slots[0].v.T)


def test_a_matching_can_be_looked_at_and_used() -> None:
    state = AdamState.of(tf_style()[0])
    new = MindSporeStyleAdam(parameters(prefix="q"), eps=1e-7)
    matching = state.match(new, rename="order")
    assert state.load_into(new, matching) is matching
    assert matching.by_target["q1"].source == "p1"
    with pytest.raises(StateError, match="not both"):
        state.load_into(new, matching, rename="order")
    other = MindSporeStyleAdam(parameters(prefix="r"), eps=1e-7)
    with pytest.raises(StateError, match="not for the parameters of this optimizer: q0"):
        state.load_into(other, matching)
    shapes = {f"q{i}": (*shape, 1) for i, shape in enumerate(SHAPES)}
    reshaped = replace(
        matching,
        pairs=tuple(
            replace(pair, transform=replace(pair.transform, shape=shapes[pair.target])) for pair in matching.pairs
        ),
    )
    with pytest.raises(StateError, match="the matching has 'q0' in shape"):
        state.load_into(new, reshaped)


# Accumulation and averages.


def test_accumulation_is_counted_in_updates() -> None:
    old, weights = tf_style(steps=6, gradient_accumulation_steps=3, numerics="tf1")
    state = AdamState.of(old)
    assert (state.step, state.accumulated_calls, state.accumulated_gradient) == (2, 0, None)
    plain = MindSporeStyleAdam(parameters(), 0.01, eps=1e-7, numerics="tf1")
    state.load_into(plain)
    assert plain.global_step[0] == 2
    np.testing.assert_array_equal(plain._engine.powers, old._engine.powers)
    new = TFStyleAdam(0.01, gradient_accumulation_steps=2, numerics="tf1")
    state.load_into(new, parameters=weights)
    assert (new.iterations, int(new._engine.iterations)) == (2, 4)


def test_the_middle_of_an_accumulation_goes_where_there_is_the_same() -> None:
    old, weights = tf_style(steps=5, gradient_accumulation_steps=3)
    state = AdamState.of(old)
    assert (state.step, state.accumulated_calls) == (1, 2)
    others = parameters()
    same = TFStyleAdam(0.01, gradient_accumulation_steps=3)
    same.build(others)
    state.load_into(same, with_parameters=True)
    step = gradients(1)[0]
    old.apply_gradients(zip(step, weights, strict=True))
    same.apply_gradients(zip(step, others, strict=True))
    np.testing.assert_array_equal(weights[0].data, others[0].data)
    for options in ({}, {"gradient_accumulation_steps": 2}):
        with pytest.raises(StateError, match="in the middle of an accumulation"):
            state.load_into(TFStyleAdam(0.01, **options), parameters=parameters())


def test_what_was_accumulated_before_loading_is_forgotten() -> None:
    target, _ = tf_style(steps=2, gradient_accumulation_steps=3)
    state = AdamState.of(tf_style()[0])
    state.load_into(target)
    assert not any(slot.accumulated.any() for slot in target._engine.slots if slot.accumulated is not None)
    assert target.iterations == 5


def test_averages_move() -> None:
    old, weights = tf_style(use_ema=True, ema_momentum=0.9)
    others = parameters(seed=9)
    new = TFStyleAdam(0.01, use_ema=True, ema_momentum=0.9)
    AdamState.of(old).load_into(new, parameters=others, with_parameters=True)
    step = gradients(1)[0]
    old.apply_gradients(zip(step, weights, strict=True))
    new.apply_gradients(zip(step, others, strict=True))
    for one, other in zip(everything(old), everything(new), strict=True):
        np.testing.assert_array_equal(one, other)


# Refusals.


def refused(state: AdamState, optimizer: Any, said: str, **options: Any) -> None:
    before = everything(optimizer)
    with pytest.raises(StateError) as caught:
        state.load_into(optimizer, **options)
    assert said in str(caught.value)
    for one, other in zip(before, everything(optimizer), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_maximum_is_named_and_can_be_made_up() -> None:
    state = AdamState.of(tf_style()[0])
    target, _ = tf_style(steps=1, amsgrad=True)
    refused(state, target, "keeps maximum_second_moment, and the state has none")
    replace(state, maximum_second_moment=state.second_moment).load_into(target)
    np.testing.assert_array_equal(target._engine.slots[0].vhat, state.second_moment["p0"])


def test_what_the_target_does_not_keep_is_not_dropped() -> None:
    state = AdamState.of(tf_style(amsgrad=True, use_ema=True)[0])
    target, _ = tf_style(steps=1)
    refused(state, target, "make it with amsgrad=True")
    state = replace(state, maximum_second_moment=None)
    refused(state, target, "make it with use_ema=True")
    replace(state, average=None).load_into(target)
    refused(AdamState.of(target), tf_style(use_ema=True)[0], "state.parameters")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: replace(s, step=2**31), "does not fit the counter"),
        (
            lambda s: replace(
                s,
                **{
                    role: {name: np.asarray(tensor, np.float64) for name, tensor in s.tensors[role].items()}
                    for role in ("first_moment", "second_moment")
                },
            ),
            "pass cast=True",
        ),
        (
            lambda s: replace(
                s,
                **{
                    role: {name: tensor for name, tensor in s.tensors[role].items() if name != "p1"}
                    for role in ("first_moment", "second_moment")
                },
                parameters=None,
            ),
            "p1 (7,) of the target has none",
        ),
    ],
)
def test_refusals_change_nothing(change: Callable[[AdamState], AdamState], said: str) -> None:
    state = AdamState.of(tf_style()[0])
    refused(change(state), MindSporeStyleAdam(parameters(), eps=1e-7), said)


def test_a_state_without_parameters_says_so() -> None:
    state = replace(AdamState.of(tf_style()[0]), parameters=None)
    refused(state, MindSporeStyleAdam(parameters(), eps=1e-7), "the state has no parameters", with_parameters=True)


def test_a_failure_while_writing_is_taken_back() -> None:
    """A tensor that turns out to be unreadable when its turn comes, as in a damaged file."""

    class Broken:
        shape, dtype = (), np.dtype(np.float32)

        def __array__(self, *_: Any, **__: Any) -> Array:
            raise OSError("damaged")

    state = AdamState.of(tf_style()[0])
    damaged = replace(state, second_moment={**state.second_moment, "p3": Broken()})
    target = MindSporeStyleAdam(parameters(seed=3), eps=1e-7)
    before = everything(target)
    with pytest.raises(OSError, match="damaged"):
        damaged.load_into(target, with_parameters=True)
    for one, other in zip(before, everything(target), strict=True):
        np.testing.assert_array_equal(one, other)


def test_casts_are_made_when_asked_for_and_never_overflow() -> None:
    weight = np.ones(3)
    old = TFStyleAdam(0.1)
    old.apply_gradients([(np.full(3, 1e5), Parameter(weight, "w"))])
    half = MindSporeStyleAdam([Parameter(np.ones(3, np.float16), "w")], 0.1, eps=1e-7)
    refused(AdamState.of(old), half, "too large for float16", cast=True)
    single = MindSporeStyleAdam([Parameter(np.ones(3, np.float32), "w")], 0.1, eps=1e-7)
    AdamState.of(old).load_into(single, cast=True)
    np.testing.assert_allclose(AdamState.of(single).first_moment["w"], 1e4)
    AdamState.of(single).load_into(TFStyleAdam(0.1), parameters=[Parameter(np.ones(3), "w")])


def test_unbuilt_and_foreign_optimizers_are_refused() -> None:
    state = AdamState.of(tf_style()[0])
    with pytest.raises(StateError, match=r"no state yet; make a step, or call its build"):
        AdamState.of(TFStyleAdam())
    with pytest.raises(StateError, match=r"no state yet; pass parameters="):
        state.load_into(TFStyleAdam())
    with pytest.raises(StateError, match=r"expected keras\.optimizers\.Adam.*got builtins\.dict"):
        AdamState.of({})
    with pytest.raises(StateError, match="session"):
        AdamState.of(tf_style()[0], session=object())
    optimizer, _ = tf_style()
    with pytest.raises(StateError, match="not the 4 arrays"):
        AdamState.of(optimizer, parameters())


def test_names_can_be_given() -> None:
    optimizer, weights = tf_style()
    named = {f"n{i}": weight for i, weight in enumerate(weights)}
    assert AdamState.of(optimizer, named).names == ("n0", "n1", "n2", "n3")


# Hyperparameters.


def test_other_betas_are_warned_of_and_their_own_products_used() -> None:
    state = AdamState.of(tf_style()[0])
    target = MindSporeStyleAdam(parameters(), beta1=0.8, eps=1e-7, numerics="mindspore")
    with pytest.warns(UserWarning, match=r"beta1 0\.8 instead of 0\.9\. Loading"):
        state.load_into(target)
    product = np.float32(1)
    for _ in range(5):
        product = product * np.float32(0.8)
    assert target.parameters_dict()["beta1_power"] == product


def test_dialects_defaults_differ_and_that_is_said() -> None:
    state = AdamState.of(tf_style()[0])
    with pytest.warns(UserWarning, match="epsilon 1e-08 instead of 1e-07"):
        state.load_into(MindSporeStyleAdam(parameters()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state.load_into(MindSporeStyleAdam(parameters(), eps=1e-7, beta1=float(np.float32(0.9))))


def test_a_warning_as_an_error_changes_nothing() -> None:
    target = MindSporeStyleAdam(parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            AdamState.of(tf_style()[0]).load_into(target)
    assert not target.parameters_dict()["moment1.p0"].any()


# Two minds about the step.


def test_a_counter_that_contradicts_the_products_is_refused() -> None:
    optimizer, _ = tf_style(numerics="tf1")
    optimizer.iterations = 100
    with pytest.raises(StateError, match=r"of two minds.*100 \(its counter\) and 5 \(beta1_power\)"):
        AdamState.of(optimizer)
    assert AdamState.of(optimizer, step=5).step == 5


# The value itself.


def test_a_state_is_checked_when_it_is_made() -> None:
    one, two = {"a": np.ones(2)}, {"a": np.ones(3)}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"step": -1}, "at least 0"),
        ({"step": 1.5}, "whole number"),
        ({"second_moment": {"b": np.ones(2)}}, "do not have the same parameters: a, b"),
        ({"second_moment": two}, r"second_moment of 'a' has shape \(3,\)"),
        ({"second_moment": {"a": np.ones(2, int)}}, "must hold real numbers"),
        ({"accumulated_calls": 1}, "between 0 and accumulation_steps - 1 = 0"),
        ({"accumulated_calls": 1, "accumulation_steps": 2}, "accumulated_gradient is None"),
        ({"dialect": "jax"}, "dialect must be one of keras3"),
        ({"numerics": "jax"}, "numerics must be one of canonical"),
    ]
    for change, said in cases:
        with pytest.raises(StateError, match=said):
            AdamState(**{"step": 1, "first_moment": one, "second_moment": one, **change})


# Slots by the dialect's own names.


@pytest.mark.parametrize("dialect", MAPPING.dialects)
def test_slot_names_are_read_as_they_are_written(dialect: str) -> None:
    for block in MAPPING.dialects[dialect].slots:
        for slot in block:
            name = name_of(slot.role, "block/conv1/kernel", dialect)
            assert name is not None
            assert role_of(name, dialect) == (slot.role, "block/conv1/kernel" if slot.per_parameter else "")


def test_state_from_named_tensors() -> None:
    weights = parameters()
    optimizer = MindSporeStyleAdam(weights, use_amsgrad=True, numerics="mindspore")
    optimizer(gradients(1)[0])
    state = gathered(optimizer.parameters_dict(), "mindspore", convention="mindspore")
    assert (state.step, state.names, state.convention) == (1, ("p0", "p1", "p2", "p3"), "mindspore")
    for role, tensors in AdamState.of(optimizer).tensors.items():
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(np.asarray(state.tensors[role][name]), np.asarray(tensor))
    tf1: dict[str, Any] = {"w/Adam": np.ones(2), "w/Adam_1": np.ones(2), "beta2_power": np.float32(0.999**8)}
    assert gathered(tf1, "tf1", hyperparameters={"beta2": 0.999}).step == 7
    with pytest.raises(StateError, match="'w/Other' is no state of"):
        gathered({"w/Other": np.ones(2)}, "tf1")
    with pytest.raises(StateError, match="there is no first_moment"):
        gathered({"w/Adam_1": np.ones(2)}, "tf1", step=1)
    with pytest.raises(StateError, match="pass step"):
        gathered(tf1, "tf1")

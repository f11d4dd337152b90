"""Whatever is passed to a public entry is honoured, or refused with the dialect's exceptions and nothing changed."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adamcompat
from adamcompat import Parameter, RowSparse
from adamcompat.hyperparameters import exception
from adamcompat.mapping.model import Adapter
from adamcompat.mapping.tables import MAPPING

ADAPTERS = [adapter for adapter in MAPPING.adapters if adapter.runtime == "numpy"]


class Odd:
    """An object that nothing here knows."""


NUMBERS = st.one_of(
    st.floats(), st.integers(), st.just(10**400), st.fractions(), st.decimals(allow_nan=True), st.complex_numbers()
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(NUMBERS, max_size=3),
    st.dictionaries(st.text(max_size=2), NUMBERS, max_size=2),
    st.sampled_from([Odd(), Odd, np.float32(0.5), np.array(0.5), np.array([0.5]), np.array([], str), ...]),
    NUMBERS.map(lambda value: lambda: value),
    NUMBERS.map(lambda value: lambda step: value),
)


def expected(adapter: Adapter) -> tuple[type[Exception], ...]:
    """What a dialect may raise: its own exceptions, TypeError for what is no array, KeyError for a key of a group."""
    errors = MAPPING.dialects[adapter.dialect].errors
    kinds = {exception(getattr(errors, field.name)) for field in dataclasses.fields(errors)}
    return (*kinds, TypeError, KeyError)


def step(optimizer: Any, adapter: Adapter, weight: Any, gradient: Any) -> None:
    protocol = MAPPING.dialects[adapter.dialect].protocol
    if protocol == "call":
        optimizer((gradient,))
    elif protocol == "apply_gradients":
        optimizer.apply_gradients([(gradient, weight)])
    else:
        (parameter,) = optimizer.parameters()
        parameter.grad = gradient
        optimizer.step()


def make(adapter: Adapter, weight: Any, options: dict[str, Any]) -> Any:
    protocol = MAPPING.dialects[adapter.dialect].protocol
    if protocol == "step" and isinstance(weight, np.ndarray):
        weight = Parameter(weight)
    first = () if protocol == "apply_gradients" else ([weight],)
    return getattr(adamcompat, adapter.name)(*first, **options)


def kept_by(optimizer: Any) -> dict[str, Any]:
    """What an optimizer keeps, by its own names, as live arrays."""
    if hasattr(optimizer, "_state"):
        return {name: array for _, name, array in optimizer._state()}
    return {name: array for own in optimizer.state.values() for name, array in own.items()}


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_hyperparameters(adapter: Adapter, data: st.DataObject) -> None:
    dialect = MAPPING.dialects[adapter.dialect]
    names = [fact.name for fact in dialect.facts if MAPPING.canonical[fact.canonical].scope != "input"]
    chosen = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    options = {name: data.draw(JUNK) for name in chosen}
    weight = np.ones(3, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            optimizer = make(adapter, weight, options)
            step(optimizer, adapter, weight, np.full(3, 0.5, np.float32))
        except expected(adapter) as error:
            assert any(character.isalpha() for character in str(error))
            np.testing.assert_array_equal(weight, np.ones(3))
        else:
            steps = kept_by(optimizer)[dialect.slot("step").template]
            assert int(steps.reshape(())) == 1


ARRAYS = st.one_of(
    st.sampled_from(["f2", "f4", "f8", "i8", "u1", "?", "c8", "U3", "O", ">f4", "M8[s]"]).flatmap(
        lambda kind: st.lists(st.integers(0, 3), max_size=4).map(lambda shape: np.zeros(shape, kind))
    ),
    st.floats(width=32).map(lambda value: np.full(3, value, np.float32)),
    st.integers(1, 3).map(lambda stride: np.ones(3 * stride, np.float32)[::stride]),
    st.builds(
        lambda rows, width: RowSparse(rows, np.ones((len(rows), *width))),
        st.lists(st.integers(-1, 4), max_size=4),
        st.sampled_from([(), (2,)]),
    ),
    JUNK,
)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_gradients(adapter: Adapter, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(3,), (3, 2), (), (0,)]))
    weight = np.ones(shape, data.draw(st.sampled_from(["f2", "f4", "f8"])))
    optimizer = make(adapter, weight, {})
    step(optimizer, adapter, weight, np.full(shape, 0.5))
    before = {name: array.copy() for name, array in kept_by(optimizer).items()}
    kept = weight.copy()
    gradient = data.draw(ARRAYS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            step(optimizer, adapter, weight, gradient)
        except expected(adapter) as error:
            assert any(character.isalpha() for character in str(error))
            np.testing.assert_array_equal(weight, kept)
            for name, array in kept_by(optimizer).items():
                np.testing.assert_array_equal(array, before[name], err_msg=name)
        else:
            # PyTorch's call leaves out parameters without a gradient.
            absent = gradient is None and not hasattr(optimizer, "_state")
            assert isinstance(gradient, RowSparse) or absent or np.shape(gradient) == shape


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@settings(max_examples=300, deadline=None)
@given(value=ARRAYS, named=st.booleans())
def test_parameters(adapter: Adapter, value: Any, named: bool) -> None:
    try:
        parameter = Parameter(value, name="w") if named else value
        optimizer = make(adapter, parameter, {})
        step(optimizer, adapter, parameter, np.ones_like(value))
    except expected(adapter) as error:
        assert any(character.isalpha() for character in str(error))
    else:
        assert value.dtype in (np.float16, np.float32, np.float64)

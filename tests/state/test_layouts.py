"""Layouts as permutations: there and back, and what they do to elements."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamcompat.mapping.tables import MAPPING
from adamcompat.state.layout import Transform, all_of, of_layer, permuted, same

sizes = st.integers(1, 4)


def numbered(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.arange(math.prod(shape)).reshape(shape)


@given(st.data())
def test_every_layout_comes_back(data: st.DataObject) -> None:
    layer = data.draw(st.sampled_from([layer for layer in MAPPING.layers.values() if layer.weights["tensorflow"].axes]))
    axes = data.draw(st.sampled_from(layer.weights["tensorflow"].axes))
    dims = {letter: data.draw(sizes) for letter in axes.split()}
    source = tuple(dims.values())
    target_axes = layer.weights["mindspore"].axes[layer.weights["tensorflow"].axes.index(axes)]
    groups = target_axes.replace("(c m)", "cm").split()
    target = tuple(math.prod(dims[letter] for letter in group if letter != "1") for group in groups)
    there = of_layer(layer, source, target, of="tensorflow", to="mindspore")
    back = of_layer(layer, target, source, of="mindspore", to="tensorflow")
    assert there is not None
    array = numbered(source)
    moved = there.apply(array)
    assert moved.shape == target
    np.testing.assert_array_equal(there.inverse.apply(moved), array)
    if back is not None:
        assert back.effect == there.inverse.effect
    else:
        assert "(" in target_axes  # from c*m alone, c and m follow from the other shape; this one had none


def test_the_elements_go_where_they_belong() -> None:
    kernel = numbered((3, 2, 4, 5))
    conv = of_layer(MAPPING.layers["conv"], kernel.shape, (5, 4, 3, 2), of="tensorflow", to="mindspore")
    depthwise = of_layer(MAPPING.layers["depthwise"], kernel.shape, (20, 1, 3, 2), of="tensorflow", to="mindspore")
    assert conv is not None
    assert depthwise is not None
    for h, w, c, m in itertools.product(range(3), range(2), range(4), range(5)):
        assert conv.apply(kernel)[m, c, h, w] == kernel[h, w, c, m]
        assert depthwise.apply(kernel)[c * 5 + m, 0, h, w] == kernel[h, w, c, m]
    line = numbered((3, 4, 6))
    conv1 = of_layer(MAPPING.layers["conv"], line.shape, (6, 4, 1, 3), of="tensorflow", to="mindspore")
    assert conv1 is not None
    assert conv1.apply(line)[5, 2, 0, 1] == line[1, 2, 5]


@given(st.lists(sizes, min_size=1, max_size=4).map(tuple), st.data())
def test_equal_effects_are_equal_results(shape: tuple[int, ...], data: st.DataObject) -> None:
    """`effect` is how ambiguity is told: it must agree with what happens to elements."""
    orders = [*itertools.permutations(range(len(shape)))]
    one, other = (data.draw(st.sampled_from(orders)) for _ in range(2))
    transforms = []
    for order in (one, other):
        transform = permuted(order, shape, tuple(shape[axis] for axis in order))
        assert transform is not None
        transforms.append(transform)
    results = [transform.apply(numbered(shape)) for transform in transforms]
    equal = results[0].shape == results[1].shape and bool((results[0] == results[1]).all())
    assert (transforms[0].effect == transforms[1].effect) == equal
    assert transforms[0].keeps_order == bool((results[0].ravel() == np.arange(math.prod(shape))).all())


@pytest.mark.parametrize(("shape", "count"), [((4, 4), 2), ((4, 5), 1), ((1, 4), 1), ((3,), 1), ((), 1)])
def test_alternatives(shape: tuple[int, ...], count: int) -> None:
    assert len({transform.effect for transform in all_of(shape, shape, of="tensorflow", to="mindspore")}) == count


def test_what_does_not_fit_is_none() -> None:
    assert same((2, 3), (3, 2)) is None
    assert permuted((1, 0), (2, 3), (2, 3)) is None
    assert permuted((0, 0), (2, 2), (2, 2)) is None
    assert of_layer(MAPPING.layers["dense"], (2, 3), (2, 3), of="tensorflow", to="mindspore") is None
    assert of_layer(MAPPING.layers["recurrent"], (2, 3), (3, 2), of="tensorflow", to="mindspore") is None


def test_people_see_what_happens() -> None:
    dense = of_layer(MAPPING.layers["dense"], (2, 3), (3, 2), of="tensorflow", to="mindspore")
    assert str(dense) == "dense (1,0)"
    assert str(same((2, 3), (2, 3))) == "same"
    assert str(Transform("conv", (1, 1, 5), (1, 1, 5), (2, 1, 0), (5, 1, 1, 1))) == "conv (reshaped)"

"""Layouts between any two of three frameworks: PyTorch's beside Keras's and MindSpore's; no framework is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adamcompat.mapping.tables import MAPPING
from adamcompat.state import Matching, StateError
from adamcompat.state.matching import match
from adamcompat.state.naming import convention_of
from adamcompat.state.pairing import put_together
from tests.state.test_compounds import ATTENTION, GRU, LSTM, RNN, Shapes

# A layer as Keras, MindSpore and PyTorch have it.
PLAIN: dict[str, tuple[Shapes, Shapes, Shapes]] = {
    "dense": ({"a/kernel": (3, 5)}, {"a.weight": (5, 3)}, {"a.weight": (5, 3)}),
    "square dense": ({"a/kernel": (4, 4)}, {"a.weight": (4, 4)}, {"a.weight": (4, 4)}),
    "conv1d": ({"a/kernel": (3, 4, 6)}, {"a.weight": (6, 4, 1, 3)}, {"a.weight": (6, 4, 3)}),
    "conv2d": ({"a/kernel": (2, 3, 4, 5)}, {"a.weight": (5, 4, 2, 3)}, {"a.weight": (5, 4, 2, 3)}),
    "conv3d": ({"a/kernel": (2, 3, 7, 4, 5)}, {"a.weight": (5, 4, 2, 3, 7)}, {"a.weight": (5, 4, 2, 3, 7)}),
    "depthwise1d": ({"a/kernel": (3, 4, 2)}, {"a.weight": (8, 1, 1, 3)}, {"a.weight": (8, 1, 3)}),
    "depthwise2d": ({"a/kernel": (2, 3, 4, 2)}, {"a.weight": (8, 1, 2, 3)}, {"a.weight": (8, 1, 2, 3)}),
    "embedding": ({"a/embeddings": (7, 3)}, {"a.embedding_table": (7, 3)}, {"a.weight": (7, 3)}),
    "norm": ({"a/gamma": (3,), "a/beta": (3,)}, {"a.gamma": (3,), "a.beta": (3,)}, {"a.weight": (3,), "a.bias": (3,)}),
}
CONVENTIONS = ("tensorflow", "mindspore", "torch")


def between(name: str, source: str, target: str) -> Matching:
    sides = [PLAIN[name][CONVENTIONS.index(one)] for one in (source, target)]
    return match(*sides, source_convention=source, target_convention=target)


def through(matching: Matching, tensors: dict[str, Any], role: str = "first_moment") -> dict[str, Any]:
    found = {name: put_together(pairs, role, tensors) for name, pairs in matching.of_targets.items()}
    return {name: np.zeros(()) if array is None else array for name, array in found.items()}


@pytest.mark.parametrize("name", PLAIN)
def test_a_way_over_a_third_framework_is_the_direct_way(name: str) -> None:
    rng = np.random.default_rng(0)
    for one, two, three in (("tensorflow", "mindspore", "torch"), ("torch", "tensorflow", "mindspore")):
        tensors = {key: rng.standard_normal(shape) for key, shape in PLAIN[name][CONVENTIONS.index(one)].items()}
        direct = through(between(name, one, three), tensors)
        round_about = through(between(name, two, three), through(between(name, one, two), tensors))
        assert direct.keys() == round_about.keys() == PLAIN[name][CONVENTIONS.index(three)].keys()
        for key, array in direct.items():
            np.testing.assert_array_equal(array, round_about[key])


def test_pytorch_keeps_the_transpose_and_channels_first() -> None:
    kernel = np.arange(15.0).reshape(3, 5)
    dense = through(between("dense", "tensorflow", "torch"), {"a/kernel": kernel})
    np.testing.assert_array_equal(dense["a.weight"], kernel.T)
    line = np.arange(72.0).reshape(3, 4, 6)
    conv = through(between("conv1d", "tensorflow", "torch"), {"a/kernel": line})
    np.testing.assert_array_equal(conv["a.weight"], line.transpose(2, 1, 0))
    deep = np.arange(24.0).reshape(3, 4, 2)
    depthwise = through(between("depthwise1d", "tensorflow", "torch"), {"a/kernel": deep})
    np.testing.assert_array_equal(depthwise["a.weight"], deep.reshape(3, 8).T[:, None])


@pytest.mark.parametrize("sides", [LSTM, GRU, RNN, ATTENTION], ids=["lstm", "gru", "rnn", "attention"])
def test_layers_that_pytorch_has_as_mindspore_has_them(sides: tuple[Shapes, Shapes]) -> None:
    keras, other = sides
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal(shape) for name, shape in keras.items()}
    wanted = through(match(keras, other, source_convention="tensorflow", target_convention="mindspore"), tensors)
    found = through(match(keras, other, source_convention="tensorflow", target_convention="torch"), tensors)
    for name in other:
        np.testing.assert_array_equal(found[name], wanted[name])
    own = {name: rng.standard_normal(shape) for name, shape in other.items()}
    across = match(other, other, source_convention="torch", target_convention="mindspore")
    assert not across.notes, "both add the two biases up, and each goes to its like"
    for role in ("first_moment", "parameter"):
        moved = through(across, own, role)
        for name, array in own.items():
            np.testing.assert_array_equal(moved[name], array)


def test_a_flattened_map_names_the_frameworks_that_are_meant() -> None:
    keras = {"conv/kernel": (3, 3, 1, 4), "fc/kernel": (144, 5)}
    torch = {"conv.weight": (4, 1, 3, 3), "fc.weight": (5, 144)}
    with pytest.raises(StateError, match=r"TensorFlow flattens as \(h w c\) and PyTorch as \(c h w\).* -> o \(c h w\)"):
        match(keras, torch, source_convention="tensorflow", target_convention="torch")
    with pytest.raises(StateError, match=r"PyTorch as \(c h w\).*\(h w c\) o'"):
        match(torch, keras, source_convention="torch", target_convention="tensorflow")
    # Both flatten in one order, so that nothing is to be asked.
    found = match(torch, torch, source_convention="torch", target_convention="mindspore")
    assert [str(pair.transform) for pair in found.pairs] == ["same", "same"]


def test_names_that_two_frameworks_share_are_those_of_the_other_side() -> None:
    names = ["lstm.weight_ih_l0", "fc.weight"]
    assert [convention_of(names, other) for other in (None, *CONVENTIONS)] == [
        *("mindspore", "mindspore", "mindspore", "torch"),
    ]
    assert convention_of(["bn.gamma"]) is None, "Keras keeps other layers in another order than MindSpore"
    square = {"fc.weight": (4, 4)}
    (pair,) = match(square, square, source_convention="torch").pairs
    assert str(pair.transform) == "same"


def test_numbered_names_of_pytorch_by_order() -> None:
    keras, other = LSTM
    numbered = {f"parameter#{i}": shape for i, shape in enumerate([*other.values(), (2, 5)])}
    sides = {**keras, "net/out/kernel": (5, 2)}, numbered
    found = match(*sides, source_convention="tensorflow", target_convention="torch", rename="order")
    assert [(pair.source, pair.target) for pair in found.pairs] == [
        ("net/lstm/lstm_cell/kernel", "parameter#0"),
        ("net/lstm/lstm_cell/recurrent_kernel", "parameter#1"),
        ("net/lstm/lstm_cell/bias", "parameter#2"),
        ("net/lstm/lstm_cell/bias", "parameter#3"),
        ("net/out/kernel", "parameter#4"),
    ]


def test_every_layer_is_known_in_every_framework() -> None:
    assert all(set(layer.weights) == set(CONVENTIONS) for layer in MAPPING.layers.values())

"""Take a tensor from one framework's layout to another's: reshapes and permutations of axes.

The facts (which layer's weight has which axes) are in mapping.yaml under `layers`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.mapping.layers import Layer
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.terms import Shape

SAME = "same"


@dataclass(frozen=True, slots=True)
class Transform:
    """Hold the way from one layout to another: joined axes are taken apart, axes are permuted, and axes are joined.

    The result is ``array.reshape(split).transpose(permutation).reshape(shape)``. With `gates`, the entries along one
    axis of `split` are put in another order before the axes are permuted.

    Attributes:
        name: the name of the layout, for messages.
        source: the shape of the array that comes in.
        split: its shape with joined axes taken apart.
        permutation: for each axis of the result, before axes are joined, the axis of `split` that it comes from.
        shape: the shape of the result.
        gates: an axis of `split`, and for each place along it the place whose entries come there; None where all
            entries keep their places.

    >>> Transform("dense", (2, 3), (2, 3), (1, 0), (3, 2)).apply(np.arange(6).reshape(2, 3)).tolist()
    [[0, 3], [1, 4], [2, 5]]
    """

    name: str
    source: Shape
    split: Shape
    permutation: tuple[int, ...]
    shape: Shape
    gates: tuple[int, tuple[int, ...]] | None = None

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return `array` in the other layout.

        Args:
            array: of the shape `source`, or of any shape with as many elements.

        Returns:
            An array of the shape `shape` and of the same dtype, as a view where that is possible, else as a copy.
        """
        parts = array.reshape(self.split)
        if self.gates is not None:
            axis, order = self.gates
            parts = parts.take(order, axis)
        return parts.transpose(self.permutation).reshape(self.shape)

    @property
    def inverse(self) -> Transform:
        """Return the transform that leads back."""
        permuted = tuple(self.split[axis] for axis in self.permutation)
        back = tuple(int(axis) for axis in np.argsort(self.permutation))
        gates = None
        if self.gates is not None:
            axis, order = self.gates
            gates = self.permutation.index(axis), tuple(int(place) for place in np.argsort(order))
        return Transform(self.name, self.shape, permuted, back, self.source, gates)

    @property
    def effect(self) -> tuple[Shape, tuple[tuple[int, int], ...], tuple[int, tuple[int, ...]] | None]:
        """Return what the transform does to elements: two transforms have equal effects where they do the same.

        Returns:
            The shape of the result; size and stride, in elements, of the axes that are walked one after the other, with
            axes that stay together as one; and the gates.
        """
        strides = [math.prod(self.split[axis + 1 :]) for axis in range(len(self.split))]
        runs: list[tuple[int, int]] = []
        for axis in self.permutation:
            size, stride = self.split[axis], strides[axis]
            if size == 1:
                continue
            if runs and runs[-1][1] == size * stride:
                runs[-1] = (runs[-1][0] * size, stride)
            else:
                runs.append((size, stride))
        return self.shape, tuple(runs), self.gates

    @property
    def keeps_order(self) -> bool:
        """Return whether the elements keep their order in memory, so that nothing but the shape changes."""
        return self.gates is None and len(self.effect[1]) <= 1

    def __str__(self) -> str:
        if "->" in self.name:
            return self.name
        if self.keeps_order:
            return SAME if self.shape == self.source else f"{self.name} (reshaped)"
        gates = "" if self.gates is None else f" gates {self.gates[1]}".replace(", ", ",")
        return f"{self.name} {self.permutation}".replace(" ", "").replace("(", " (", 1) + gates


def unchanged(shape: Shape) -> Transform:
    """Return the transform that leaves a tensor of a shape as it is."""
    return Transform(SAME, shape, shape, tuple(range(len(shape))), shape)


def same(source: Shape, target: Shape) -> Transform | None:
    """Return the transform that leaves a tensor as it is; None if the shapes differ."""
    return unchanged(source) if source == target else None


def permuted(permutation: Sequence[int], source: Shape, target: Shape) -> Transform | None:
    """Return the transform that permutes axes, ``numpy.transpose(array, permutation)``.

    Args:
        permutation: for each axis of the result the axis of the source that it comes from, from 0.
        source: the shape of the tensor.
        target: the shape that the result must have.

    Returns:
        The transform; None if `permutation` does not name each axis of the source once, or the result has another
        shape.
    """
    order = tuple(permutation)
    if sorted(order) != list(range(len(source))) or tuple(source[axis] for axis in order) != target:
        return None
    return Transform("transpose", source, source, order, target)


def rearranged(pattern: str, source: Shape, target: Shape) -> Transform | None:
    """Return the transform that a pattern such as ``(h=6 w=6 c) o -> o (c h w)`` describes.

    Each axis has a letter. Letters in parentheses are one axis, the last letter running fastest; 1 is an axis of size
    one. Of the letters in parentheses all sizes but one must be given, or follow from the other side.

    Args:
        pattern: the axes of the source, ``->``, and the axes of the target.
        source: the shape of the tensor.
        target: the shape that the result must have.

    Returns:
        The transform; None if the shapes do not fit the pattern, or leave a size open.

    Raises:
        ValueError: `pattern` has no ``->``, its sides have different letters, or a side has a letter twice.

    >>> str(rearranged("(h=2 w=2 c) o -> o (c h w)", (12, 5), (5, 12)))
    '(h=2 w=2 c) o -> o (c h w)'
    """
    ours, arrow, theirs = pattern.partition("->")
    if not arrow or sorted(_letters(ours)) != sorted(_letters(theirs)):
        raise ValueError(
            f"{pattern!r} is no layout: write both sides with the same letters, as (h=6 w=6 c) o -> o (c h w)"
        )
    if len(set(_letters(ours))) != len(_letters(ours)):
        raise ValueError(f"{pattern!r} has a letter twice on one side")
    sizes = {letter: int(size) for letter, size in re.findall(r"([a-zA-Z])=(\d+)", pattern)}
    return _between(pattern, ours, source, theirs, target, sizes)


def of_layer(layer: Layer, source: Shape, target: Shape, *, of: str, to: str) -> Transform | None:
    """Return the transform of a layer's weight on its way from one framework to another.

    Args:
        layer: the kind of layer.
        source: the shape that the weight has in the framework `of`.
        target: the shape that it must have in the framework `to`.
        of: "tensorflow", "mindspore" or "torch", where the weight comes from.
        to: "tensorflow", "mindspore" or "torch", where it goes.

    Returns:
        The transform; None if the layer has no weights of such shapes.
    """
    ways = zip(layer.weights[of].axes, layer.weights[to].axes, strict=True)
    found = (_between(layer.name, one, source, another, target, {}) for one, another in ways)
    return next((transform for transform in found if transform is not None), None)


def same_in_both(layer: Layer, one: str, other: str) -> bool:
    """Return whether the weight of a kind of layer has the same axes in two frameworks.

    Args:
        layer: the kind of layer.
        one: "tensorflow", "mindspore" or "torch".
        other: the other framework.

    Returns:
        False also where no axes are known for the layer.
    """
    axes = layer.weights[one].axes
    return bool(axes) and axes == layer.weights[other].axes


def all_of(source: Shape, target: Shape, *, of: str, to: str) -> Iterator[Transform]:
    """Yield every layout that fits two shapes on the way from one framework to another.

    Args:
        source: the shape of the tensor.
        target: the shape that the result must have.
        of: "tensorflow", "mindspore" or "torch", where the tensor comes from.
        to: "tensorflow", "mindspore" or "torch", where it goes.

    Yields:
        First the tensor as it is, if the shapes are equal; then the layout of each kind of layer that fits. Two of them
        may have the same effect.
    """
    unchanged = same(source, target)
    if unchanged is not None:
        yield unchanged
    for layer in MAPPING.layers.values():
        transform = of_layer(layer, source, target, of=of, to=to)
        if transform is not None:
            yield transform


def of_twins(
    name: str, ours: str, source: Shape, theirs: str, target: Shape, gates: tuple[Sequence[str], Sequence[str]]
) -> Transform | None:
    """Return the transform of a weight of a recurrent layer or of attention on its way to the other framework.

    Args:
        name: the name of the layout, for messages.
        ours: the axes of the source, such as ``"i (g u)"``. ``g`` is the axis of the gates, and a capital is another
            axis of the size of its small letter.
        source: the shape of the source.
        theirs: the axes of the target, in the same letters.
        target: the shape that the result must have.
        gates: the order of the gates in the source and in the target; both are empty for a layer without gates.

    Returns:
        The transform, which also puts the gates in order; None if the shapes do not fit.
    """
    ours_gates, theirs_gates = gates
    if ours == theirs and ours_gates == theirs_gates:
        # As between frameworks that have it alike; the shapes need not tell how axes are joined.
        return same(source, target)
    found = _between(name, ours, source, theirs, target, {"g": len(ours_gates)} if ours_gates else {})
    if found is None:
        return None
    letters = "".join(_groups(ours))
    sizes = dict(zip(letters, found.split, strict=True))
    if any(letter.isupper() and sizes.get(letter.lower(), size) != size for letter, size in sizes.items()):
        return None
    return _with_gates(found, letters.find("g"), gates)


def as_given(
    pattern: str, axes: str, source: Shape, target: Shape, gates: tuple[Sequence[str], Sequence[str]]
) -> Transform | None:
    """Return the transform of a pattern that the caller gives for a weight with gates, which are put in order as well.

    Args:
        pattern: as `rearranged` takes it; it need not know of gates.
        axes: the axes of the source, with ``g`` for the gates, as `of_twins` takes them.
        source: the shape of the source.
        target: the shape that the result must have.
        gates: the order of the gates in the source and in the target.

    Returns:
        The transform; None if the shapes do not fit, or if the pattern divides or joins the axis of the gates by
        itself.

    Raises:
        ValueError: `pattern` is no pattern.
    """
    places = [place for place, group in enumerate(_groups(axes)) if "g" in group]
    if not places or not gates[0]:
        return rearranged(pattern, source, target)
    ours, _, theirs = pattern.partition("->")
    joined = _groups(ours)
    if len(joined) <= places[0] or len(joined[places[0]]) != 1:
        return None
    # Two letters that no pattern has meanwhile: the axis is one of gates and one of units.
    letter, apart = joined[places[0]], "λμ"
    sizes = {name: int(size) for name, size in re.findall(r"([a-zA-Z])=(\d+)", pattern)}
    split = [group.replace(letter, apart) for group in joined], [g.replace(letter, apart) for g in _groups(theirs)]
    ours, theirs = (" ".join(f"({group})" if group else "1" for group in groups) for groups in split)
    found = _between(pattern, ours, source, theirs, target, {**sizes, apart[0]: len(gates[0])})
    return None if found is None else _with_gates(found, "".join(split[0]).index(apart[0]), gates)


def _with_gates(found: Transform, axis: int, gates: tuple[Sequence[str], Sequence[str]]) -> Transform:
    ours, theirs = gates
    order = tuple(ours.index(gate) for gate in theirs)
    return found if list(order) == list(range(len(order))) else replace(found, gates=(axis, order))


def _between(
    name: str, source_axes: str, source: Shape, target_axes: str, target: Shape, known: dict[str, int]
) -> Transform | None:
    """Return the transform between two lists of axes such as ``(c m) 1 h w``; None if the shapes do not fit."""
    ours, theirs = _groups(source_axes), _groups(target_axes)
    if len(ours) != len(source) or len(theirs) != len(target):
        return None
    pairs = [*zip(ours, source, strict=True), *zip(theirs, target, strict=True)]
    sizes = dict(known)
    # Single letters first: what is joined on one side may stand alone on the other.
    for group, size in sorted(pairs, key=lambda pair: len(pair[0])):
        unknown = [letter for letter in group if letter not in sizes]
        if len(unknown) == 1:
            rest = math.prod(sizes[letter] for letter in group if letter in sizes)
            sizes[unknown[0]] = size // rest if rest else 0
        elif unknown:
            return None
    if any(math.prod(sizes[letter] for letter in group) != size for group, size in pairs):
        return None
    letters, wanted = "".join(ours), "".join(theirs)
    split = tuple(sizes[letter] for letter in letters)
    return Transform(name, source, split, tuple(letters.index(letter) for letter in wanted), target)


def _groups(axes: str) -> list[str]:
    """Return the letters of each axis: ``(c m) 1 h w`` has ``["cm", "", "h", "w"]``."""
    return ["".join(_letters(part)) for part in re.findall(r"\([^)]*\)|\S+", axes)]


def _letters(axes: str) -> list[str]:
    return re.findall(r"[a-zA-Zλμ]", axes)

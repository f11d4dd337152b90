"""Read the layers of mapping.yaml: what their weights are called, and how their axes lie."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from adamcompat.mapping.layers import Compound, Layer, Share, Twins, Weights
from adamcompat.mapping.nodes import Fields, Node
from adamcompat.mapping.runtimes import ORIGINALS

T = TypeVar("T")


def _by_framework(fields: Fields, read: Callable[[Node], T]) -> dict[str, T]:
    """Read the entry of each framework; frameworks whose entries are equal may share a key."""
    found: dict[str, T] = {}
    for framework in ORIGINALS:
        if framework not in found:
            keys = (key for key in fields.left if framework in key.split() and ORIGINALS.keys() >= set(key.split()))
            key = next(keys, framework)
            found |= dict.fromkeys(key.split(), fields.take(key, read))
    return {framework: found[framework] for framework in ORIGINALS}


def _weights(node: Node) -> Weights:
    fields = node.fields()
    weights = Weights(fields.take("names", Node.texts), fields.take("axes", Node.texts))
    fields.close()
    if not weights.names:
        raise node.error("a weight has a name: names is empty")
    return weights


def _layer(name: str, node: Node) -> Layer:
    fields = node.fields()
    layer = Layer(
        name=name,
        about=fields.take("about", Node.text),
        weights=_by_framework(fields, _weights),
    )
    fields.close()
    first, *others = (weights.axes for weights in layer.weights.values())
    for other in others:
        if len(first) != len(other):
            raise node.error("the axes of the frameworks belong together, and their numbers differ")
        for pair in zip(first, other, strict=True):
            _check_axes(node, *pair)
    return layer


def _check_axes(node: Node, one: str, other: str) -> None:
    letters, others = (sorted(re.findall(r"[a-zA-Z]", axes)) for axes in (one, other))
    if letters != others or len(set(letters)) != len(letters):
        raise node.error(f"{one!r} and {other!r} do not name the same axes, each once")


def _share(node: Node) -> Share:
    fields = node.fields()
    share = Share(
        name=fields.take("name", Node.text),
        axes=fields.take("axes", Node.text),
        part=fields.maybe("part", _part, None),
        addend=fields.maybe("addend", Node.truth, False),
    )
    fields.close()
    return share


def _part(node: Node) -> tuple[int, int]:
    numbers = [item.integer() for item in node.items()]
    if len(numbers) != 2 or not 0 <= numbers[0] < numbers[1]:
        raise node.error(f"expected [i, n] with i from 0 to n - 1, got {numbers}")
    return numbers[0], numbers[1]


def _twins(node: Node) -> Twins:
    fields = node.fields()
    twins = Twins(
        shares=_by_framework(fields, _share),
        optional=fields.maybe("optional", Node.truth, False),
    )
    fields.close()
    first, *others = (share.axes for share in twins.shares.values())
    for other in others:
        _check_axes(node, first, other)
    return twins


def _for_each(node: Node) -> dict[str, tuple[str, ...]]:
    fields = node.fields()
    found = _by_framework(fields, Node.texts)
    fields.close()
    return found


def _compound(name: str, node: Node) -> Compound:
    fields = node.fields()
    compound = Compound(
        name=name,
        about=fields.take("about", Node.text),
        weights=fields.take("weights", lambda child: tuple(_twins(item) for item in child.items())),
        gates=fields.maybe("gates", _for_each, {}),
        cell=fields.maybe("cell", Node.text, None),
        ways=fields.maybe("ways", _for_each, {}),
    )
    fields.close()
    gates = list(compound.gates.values()) or [()]
    for other in gates:
        if sorted(gates[0]) != sorted(other) or len(set(other)) != len(other):
            raise node.error(f"gates: {', '.join(gates[0])} and {', '.join(other)} are not the same gates, each once")
    gated = any("g" in share.axes for twins in compound.weights for share in twins.shares.values())
    if gated != bool(gates[0]):
        raise node.error("gates and an axis g belong together: one of them is missing")
    if any(len(ways) not in (0, 2) for ways in compound.ways.values()):
        raise node.error("ways: expected what says forwards and what says backwards, for each framework")
    if all(twins.optional for twins in compound.weights):
        raise node.error("all weights are optional; make at least one required, so that the layer can be recognised")
    return compound


def layer_or_compound(name: str, node: Node) -> Layer | Compound:
    """Read a layer: one weight, or several that are matched together.

    Args:
        name: the name of the kind of layer.
        node: its block under ``layers``.

    Returns:
        A `Compound` where the block has the key ``weights``, else a `Layer`.

    Raises:
        MappingError: a key is missing or unknown, or names, axes or gates of the frameworks do not belong together.
    """
    several = any(key == "weights" for key, _ in node.entries())
    return _compound(name, node) if several else _layer(name, node)

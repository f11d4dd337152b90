"""Read off the names of parameters what they say about their layers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache

from adamcompat.mapping.runtimes import ORIGINALS
from adamcompat.mapping.tables import MAPPING

FRAMEWORKS = tuple(ORIGINALS)

# A number after this mark tells parameters of one name apart; it says nothing about which is which.
_ANONYMOUS = "#"


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return names without TensorFlow's ``:0``; empty names and names that occur twice get their position.

    >>> unique(["dense/kernel:0", "Variable:0", "Variable:0"])
    ('dense/kernel', 'Variable#1', 'Variable#2')
    """
    plain = [re.sub(r":\d+$", "", name) for name in names]
    return tuple(
        name if name and plain.count(name) == 1 else f"{name}{_ANONYMOUS}{position}"
        for position, name in enumerate(plain)
    )


def numbers(count: int) -> tuple[str, ...]:
    """Return the names that so many parameters without names get.

    >>> numbers(2)
    ('parameter#0', 'parameter#1')
    """
    return tuple(f"parameter{_ANONYMOUS}{position}" for position in range(count))


def is_name(name: str) -> bool:
    """Return whether a name says which parameter it is; a name with ``#`` was made up here and does not."""
    return _ANONYMOUS not in name


def split(name: str) -> tuple[tuple[str, ...], str]:
    """Return the parts of the layer's name, the outermost first, and the name of the weight in it.

    >>> split("net/conv1/kernel"), split("conv1.weight")
    ((('net', 'conv1'), 'kernel'), (('conv1',), 'weight'))
    """
    *module, weight = re.split(r"[/.]", name)
    return tuple(module), weight


def numbered(names: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the parts of names that differ in a number at their end only, by the text that they have in common.

    Frameworks number layers as they are made (``dense``, ``dense_1``, ...; ``0``, ``1``, ...), so that
    the same number in another model may mean another layer.

    >>> sorted(numbered(["net/dense/kernel", "net/dense_1/kernel"])["dense"])
    ['dense', 'dense_1']
    """
    found: dict[str, set[str]] = {}
    for name in names:
        module, weight = split(name)
        for part in module or (weight,):
            found.setdefault(re.sub(r"_?\d+$", "", part), set()).add(part)
    return {common: frozenset(parts) for common, parts in found.items()}


def layers_of(name: str, convention: str | None) -> frozenset[str]:
    """Return the kinds of layers that a weight of that name may belong to; none where the name says nothing.

    Args:
        name: of the parameter, with its layer.
        convention: "tensorflow", "mindspore" or "torch", whose names are meant; None for any of them.
    """
    _, weight = split(name)
    frameworks = FRAMEWORKS if convention is None else (convention,)
    return frozenset(
        layer.name
        for layer in MAPPING.layers.values()
        if any(fnmatchcase(weight, known) for framework in frameworks for known in layer.weights[framework].names)
    )


def convention_of(names: Iterable[str], other: str | None = None) -> str | None:
    """Return the framework whose names these are.

    Args:
        names: of parameters.
        other: the framework on the other side, which is meant where the names may be several frameworks'.

    Returns:
        "tensorflow", "mindspore" or "torch". Where several frameworks have such names, one of them, if they keep the
        weights of all layers alike; else None. None also where the names say nothing.

    >>> convention_of(["dense/kernel", "dense/bias"]), convention_of(["bias"])
    ('tensorflow', None)
    >>> convention_of(["dense.weight"]), convention_of(["dense.weight"], "torch")
    ('mindspore', 'torch')
    """
    known = [frozenset(framework for framework in FRAMEWORKS if layers_of(name, framework)) for name in names]
    told = [frameworks for frameworks in known if frameworks]
    fitting = [framework for framework in FRAMEWORKS if told and all(framework in one for one in told)]
    if not fitting or any(_differ(fitting[0], framework) for framework in fitting):
        return None
    return other if other in fitting else fitting[0]


@cache
def _differ(one: str, other: str) -> bool:
    """Return whether two frameworks keep the weight of some layer in another order, axes of size one apart."""

    def orders(framework: str) -> list[list[str]]:
        return [[axes.replace(" 1", "") for axes in layer.weights[framework].axes] for layer in MAPPING.layers.values()]

    return orders(one) != orders(other)

"""Understand what `compare` is asked for, and say what is wrong with what cannot be understood."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

import numpy as np

from adamcompat.comparison.models import shown
from adamcompat.drive import find
from adamcompat.drive.arguments import check_hyperparameters
from adamcompat.kinds import told, whole

Optimizer: TypeAlias = str | tuple[str, Mapping[str, Any]]

RECORDED = "recorded"

_EXPECTED = "an optimizer is a name such as 'keras(epsilon=1e-8)', or a pair such as ('keras', {'epsilon': 1e-8})"


def parsed(optimizer: Optimizer) -> tuple[str, str, dict[str, Any]]:
    """Return label, name and own hyperparameters of an optimizer.

    Raises:
        TypeError: it is of the wrong kind.
        ValueError: it is unknown, or a text that cannot be read.

    >>> parsed("float64(epsilon=1e-8)")
    ('float64(epsilon=1e-8)', 'float64', {'epsilon': 1e-08})
    """
    label, name, own = _read(optimizer) if isinstance(optimizer, str) else _pair(optimizer)
    if name != RECORDED:
        find(name)
    return label, name, own


def _read(optimizer: str) -> tuple[str, str, dict[str, Any]]:
    name, bracket, rest = optimizer.strip().partition("(")
    if not bracket:
        return name, name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(entry.arg is None for entry in call.keywords):
            raise ValueError
        own = {str(entry.arg): ast.literal_eval(entry.value) for entry in call.keywords}
    except (SyntaxError, ValueError):
        raise ValueError(
            f"{optimizer!r} is not a name with hyperparameters such as 'keras(epsilon=1e-8, amsgrad=True)'"
        ) from None
    return optimizer.strip(), name.strip(), own


def _pair(optimizer: object) -> tuple[str, str, dict[str, Any]]:
    if isinstance(optimizer, (tuple, list)) and len(optimizer) == 2:
        name, own = optimizer
        if isinstance(name, str) and isinstance(own, Mapping):
            check_hyperparameters(own, f"the hyperparameters of {name!r}")
            text = ", ".join(f"{key}={shown(value)}" for key, value in own.items())
            return (f"{name}({text})" if own else name), name, dict(own)
    said = f"{_EXPECTED}; got {told(optimizer)}"
    if isinstance(optimizer, Iterable):
        raise TypeError(f"{said}: give several one by one, as in compare('keras', 'mindspore'), or put a * before them")
    raise TypeError(
        f"{said}: compare makes its optimizers itself; what one of yours does, adamcompat.record writes to a file, "
        f"and compare('recorded', 'keras', gradients=file) replays it"
    )


def check(
    hyperparameters: object, tolerance: Any, advance: object, gradients: object, weights: object, names: object
) -> None:
    """Refuse arguments of `compare` that are of the wrong kind.

    Args:
        hyperparameters: a dictionary by name, or None.
        tolerance: a number of spacings, at least 0.
        advance: a function of the steps done and their total, or None.
        gradients: the path of a recording, arrays for each step, or None.
        weights: arrays to begin with, or None.
        names: names of the parameters, or None.

    Raises:
        TypeError: one is.
        ValueError: the tolerance is negative.

    >>> check("epsilon=1e-8", 2.0, None, None, None, None)
    Traceback (most recent call last):
    TypeError: hyperparameters must be a dictionary, such as {'epsilon': 1e-8}; got 'epsilon=1e-8' (str)
    """
    if hyperparameters is not None:
        check_hyperparameters(hyperparameters, "hyperparameters")
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.integer, np.floating)):
        raise TypeError(f"tolerance must be a number of spacings; got {told(tolerance)}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance!r}")
    if advance is not None and not callable(advance):
        raise TypeError(f"advance must be a function of the steps done and their total; got {told(advance)}")
    if gradients is not None and not isinstance(gradients, (str, PathLike)):
        _check_arrays(gradients, "gradients", "a file that adamcompat.record wrote, or ")
    if weights is not None:
        _check_arrays(weights, "weights", "")
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a list with one name a parameter; got {told(names)}")


def _check_arrays(given: object, what: str, also: str) -> None:
    if isinstance(given, Mapping):
        raise TypeError(
            f"{what} must be {also}a list with one array a parameter; got a dictionary: pass the list of its values, "
            f"and its keys as names"
        )
    if not isinstance(given, (Sequence, np.ndarray)) or isinstance(given, (str, bytes)):
        raise TypeError(f"{what} must be {also}a list with one array a parameter; got {told(given)}")


def check_shapes(shapes: object) -> list[tuple[int, ...]]:
    """Return the shapes of random parameters.

    Raises:
        TypeError: they are no list of shapes.
        ValueError: an axis is negative.

    >>> check_shapes((64, 32))
    Traceback (most recent call last):
    TypeError: shapes must be a list with one shape a parameter; got (64, 32) (tuple): for one parameter, [(64, 32)]
    """
    said = f"shapes must be a list with one shape a parameter; got {told(shapes)}"
    if isinstance(shapes, str) or not isinstance(shapes, Iterable):
        raise TypeError(f"{said}, instead of one such as [(64, 32), (10,)]")
    found = []
    listed = list(shapes)
    if listed and all(isinstance(axis, (int, np.integer)) for axis in listed):
        raise TypeError(f"{said}: for one parameter, [({', '.join(map(str, listed))}{',' * (len(listed) == 1)})]")
    for shape in listed:
        if isinstance(shape, str) or not isinstance(shape, Iterable):
            raise TypeError(f"a shape must be a tuple of whole numbers, such as (64, 32); got {told(shape)}")
        axes = tuple(whole(axis, "an axis of a shape") for axis in shape)
        if any(axis < 0 for axis in axes):
            raise ValueError(f"an axis of a shape must be at least 0, got {axes}")
        found.append(axes)
    return found

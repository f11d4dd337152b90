"""Describe other frameworks' calling conventions on TensorFlow's variables for `adamcompat.state`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from adamcompat.state import naming
from adamcompat.state.live import Live, plain_numbers
from adamcompat.state.tensorflow_places import Place
from adamcompat.state.terms import StateError
from adamcompat.tensorflow.arguments import raw
from adamcompat.tensorflow.call_state import OwnGroup, label
from adamcompat.tensorflow.style import StyledAdam


@dataclass(frozen=True, slots=True)
class Steps:
    """Give access to the number of steps of parameters that may have missed some; it is one number where none did.

    Attributes:
        title: the name of the optimizer, for messages.
        iterations: the variable that counts the optimizer's steps.
        missed: the variable with the number of steps that each parameter missed.
    """

    title: str
    iterations: Any
    missed: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one number, which has no axes."""
        return ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype of the counter."""
        return Place(self.iterations).dtype

    def read(self) -> NDArray[Any]:
        """Return the number of steps of every parameter.

        Raises:
            StateError: the parameters were updated different numbers of times.
        """
        steps = np.unique(self.iterations.numpy() - self.missed.numpy())
        if len(steps) > 1:
            raise StateError(
                f"the parameters of this {self.title} were updated {', '.join(map(str, steps))} times; one number of "
                f"steps is carried: save the whole optimizer instead"
            )
        return np.asarray(steps[0])

    def write(self, value: NDArray[Any]) -> None:
        """Set the number of steps of every parameter.

        Args:
            value: the number, without axes; no parameter has missed a step then.
        """
        self.iterations.assign(value)
        self.missed.assign(tf.zeros_like(self.missed))


def call(optimizer: StyledAdam, parameters: Any, session: Any, *, build: bool) -> Live:
    """Describe one of adamcompat's classes that is called as another framework's are, on either Keras.

    Args:
        optimizer: the optimizer.
        parameters: the variables that it updates, in any order: a dictionary from names to them, or a sequence; None
            for those that it knows and their own names. They are needed to build it.
        session: must be None.
        build: whether an optimizer without state is built with `parameters`.

    Returns:
        The description. Its hyperparameters are those that all groups share.

    Raises:
        StateError: `session` is given, the optimizer has no state, or `parameters` are not those of the optimizer.
    """
    title = type(optimizer).__name__
    if session is not None:
        raise StateError(f"session: {title} runs eagerly and in tf.function only")
    private = optimizer._private
    if private.arranged is None or not private.members:
        if not build or parameters is None:
            raise StateError(f"this {title} has no state yet; call its build(variables) first")
        given = parameters.values() if isinstance(parameters, Mapping) else parameters
        optimizer.build(list(given))
    names = _names(title, private.variables, parameters)
    slots = {
        "parameter": list(private.variables),
        "first_moment": [member.m for member in private.members],
        "second_moment": [member.v for member in private.members],
        "maximum_second_moment": [member.vhat for member in private.members],
    }
    products, iterations = next(iter(private.powers.values()), ()), raw(optimizer._iterations)
    kept = {
        role: {name: Place(raw(variable)) for name, variable in zip(names, found, strict=True) if variable is not None}
        for role, found in slots.items()
    }
    return Live(
        title=title,
        dialect=optimizer._dialect().name,
        numerics=private.numerics.name,
        convention="tensorflow",
        shapes={name: tuple(variable.shape) for name, variable in zip(names, private.variables, strict=True)},
        places={role: places for role, places in kept.items() if places},
        step=Place(iterations) if private.missed is None else Steps(title, iterations, raw(private.missed)),
        powers=tuple(
            (role, Place(raw(product))) for role, product in zip(("beta1_power", "beta2_power"), products, strict=False)
        ),
        hyperparameters=_hyperparameters(optimizer),
    )


def _hyperparameters(optimizer: StyledAdam) -> dict[str, Any]:
    """Return the hyperparameters that hold for all parameters: those in which no groups differ."""
    private, rate = optimizer._private, optimizer._rate_variable()
    found = []
    for group, held in zip(private.groups, private.rates, strict=True):
        own = held if isinstance(group, OwnGroup) and group.learning_rate is not None else rate
        values = dict(group.hyper.values if isinstance(group, OwnGroup) else private.hyper.values)
        found.append(plain_numbers(values | ({} if own is None else {"learning_rate": float(raw(own))})))
    first, *others = found
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _names(title: str, variables: list[Any], parameters: Any) -> tuple[str, ...]:
    """Return the names that the caller gives the variables, in any order, or their own names."""
    if parameters is None:
        return naming.unique(label(variable) for variable in variables)
    given = list(parameters.values() if isinstance(parameters, Mapping) else parameters)
    called = list(parameters) if isinstance(parameters, Mapping) else naming.unique(map(label, given))
    names = {id(raw(variable)): name for variable, name in zip(given, called, strict=True)}
    if names.keys() != {id(raw(variable)) for variable in variables}:
        raise StateError(f"parameters: not the {len(variables)} variables that this {title} updates")
    return tuple(names[id(raw(variable))] for variable in variables)

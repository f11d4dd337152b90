"""Read and write variables of TensorFlow and Keras, in which state is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from adamcompat.mapping import lens
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.originals import Original
from adamcompat.mapping.runtimes import FRAMEWORKS
from adamcompat.state import naming
from adamcompat.state.live import plain_numbers
from adamcompat.state.terms import StateError
from adamcompat.tensorflow.arguments import raw


@dataclass(frozen=True, slots=True)
class Place:
    """Give access to a variable, in eager execution or in a Session.

    Attributes:
        variable: of TensorFlow or Keras.
        session: the tf.compat.v1.Session in which its value lives; None in eager execution.
    """

    variable: Any
    session: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the variable's shape."""
        return tuple(self.variable.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return NumPy's dtype for the variable, whatever it is cast to when it is used."""
        kind = getattr(self.variable, "true_dtype", self.variable.dtype)
        return np.dtype(tf.as_dtype(kind).as_numpy_dtype)

    def read(self) -> NDArray[Any]:
        """Return the variable's value; TensorFlow does not write into memory that an array shares.

        Raises:
            StateError: the variable is not initialized in the session.
        """
        if self.session is None:
            return np.asarray(self.variable.numpy())
        try:
            return np.asarray(self.session.run(self.variable))
        except tf.errors.FailedPreconditionError:
            raise StateError(
                f"{self.variable.name} is not initialized; run tf.compat.v1.global_variables_initializer() first"
            ) from None

    def write(self, value: NDArray[Any]) -> None:
        """Assign a value to the variable.

        Args:
            value: an array of the variable's shape and dtype.
        """
        if self.session is None:
            self.variable.assign(value)
        else:
            with self.session.graph.as_default():
                self.variable.load(value, self.session)


def title_of(optimizer: Any, original: Original) -> str:
    """Return what to call an optimizer: the original, or the subclass that it is an object of.

    Args:
        optimizer: an object of the original or of a subclass.
        original: the class of TensorFlow or Keras.
    """
    own = type(optimizer)
    theirs = own.__module__.partition(".")[0] in FRAMEWORKS["tensorflow"].packages
    return original.target if theirs else f"{own.__module__}.{own.__name__}"


def names_of(variables: Sequence[Any], parameters: Any) -> tuple[str, ...]:
    """Return the names of an optimizer's variables: those that the caller gives, or their own.

    Args:
        variables: the variables in the order of the names that are wanted.
        parameters: a dictionary from names to these variables, in this order; anything else gives no names.
    """
    if isinstance(parameters, Mapping):
        return tuple(parameters)
    return naming.unique(getattr(variable, "path", variable.name) for variable in variables)


def listed(parameters: Any) -> list[Any] | None:
    """Return the variables that a caller passed, as a list or as a dictionary from names; None for None."""
    if parameters is None:
        return None
    return list(parameters.values() if isinstance(parameters, Mapping) else parameters)


def check_same(given: Sequence[Any] | None, known: Sequence[Any], title: str) -> None:
    """Refuse variables that are not those of the optimizer, in its order.

    Args:
        given: the variables that the caller passed; None, which passes, if there are none.
        known: the optimizer's own variables.
        title: the name of the optimizer, for the message.

    Raises:
        StateError: `given` are other variables than `known`, or are in another order.
    """
    if given is not None and [id(raw(variable)) for variable in given] != [id(raw(variable)) for variable in known]:
        raise StateError(f"parameters: not the {len(known)} variables that this {title} updates, in its order")


def hyperparameters(dialect: Dialect, values: Mapping[str, Any], session: Any = None) -> dict[str, Any]:
    """Return the canonical hyperparameters that an optimizer holds under native names.

    Args:
        dialect: whose names the values have.
        values: native names to numbers, variables, tensors or callables; None counts as not given.
        session: the tf.compat.v1.Session that reads variables in a graph; None in eager execution.

    Returns:
        Canonical names to numbers and truth values. Values that are no numbers, such as schedules, are left out, and in
        a graph a learning rate that is a tensor.
    """
    found = {}
    for fact in dialect.accepted:
        if values.get(fact.name) is None or fact.alias_of is not None:
            continue
        for part, value in lens.parts(fact, values[fact.name], dialect):
            if part.type == "learning_rate" and session is not None and not isinstance(value, (int, float)):
                # It may be a placeholder, which has no value by itself.
                continue
            now = value() if part.type == "beta" and callable(value) else value
            found[part.canonical] = Place(now, session).read() if tf.is_tensor(now) or hasattr(now, "assign") else now
    return plain_numbers(found)

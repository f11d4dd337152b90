"""The variables that are trained under TensorFlow's call, and steps on pairs of a gradient and a variable."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any

import numpy as np

from adamcompat.groups import Group
from adamcompat.hyperparameters import exception
from adamcompat.numpy.arrays import Array, Parameter, Variable, identity, real_array
from adamcompat.numpy.engine import Engine
from adamcompat.schedules import real_number

# Roles of state that is one number.
_SINGLE = ("learning_rate", "beta1_power", "beta2_power")


class _Chosen:
    """Hold the variables that weight decay leaves alone.

    They are held, so that none of them can be mistaken for another array at its old address. A deep copy knows the
    variables and their copies: either may be what the copied optimizer trains. What comes out of a pickle is known by
    its name too, for it is a stranger to everything that was not pickled with it.
    """

    def __init__(self, variables: Iterable[Variable] = ()) -> None:
        self.variables = list(variables)
        self.pickled = False

    def __deepcopy__(self, memo: dict[int, Any]) -> _Chosen:
        both = _Chosen([*self.variables, *copy.deepcopy(self.variables, memo)])
        both.pickled = self.pickled
        return both

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, pickled=True)

    def among(self, variables: Sequence[Variable], key: Callable[[Variable], Any]) -> set[int]:
        """Return the positions of the chosen ones among `variables`, and warn where there are none."""
        keys = {key(variable) for variable in self.variables}
        names = {one.name for one in self.variables if isinstance(one, Parameter) and one.name and self.pickled}
        found = {
            i
            for i, one in enumerate(variables)
            if key(one) in keys or (isinstance(one, Parameter) and one.name in names)
        }
        if self.variables and not found:
            warnings.warn(
                "exclude_from_weight_decay() was given variables, but none of them is among those that are trained, so "
                "weight decay reaches all of these; call it with the arrays that you train (after unpickling, again)",
                UserWarning,
                stacklevel=6,
            )
        return found


def _key(variable: Variable) -> Any:
    array = variable.data if isinstance(variable, Parameter) else variable
    return identity(array) if isinstance(array, np.ndarray) else id(variable)


class Trained:
    """Know the variables of one optimizer and make its steps; the engine keeps their state.

    Args:
        engine: without state as yet.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.variables: list[Variable] = []
        self._index: dict[Any, int] = {}
        self._last: tuple[list[Variable], tuple[int, ...]] | None = None
        self._excluded = _Chosen()
        self._excluded_names: re.Pattern[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None, "_index": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._look_up()

    def _look_up(self) -> None:
        self._index = {_key(variable): i for i, variable in enumerate(self.variables)}
        self._last = None

    def _error(self, kind: str) -> type[Exception]:
        return exception(getattr(self.engine.dialect.errors, kind))

    @property
    def built(self) -> bool:
        """Return whether there is state, so that the variables are known."""
        return bool(self.variables)

    @property
    def iterations(self) -> int:
        """Number of updates so far; with gradient accumulation, of completed ones."""
        return int(self.engine.iterations) // (self.engine.program.every or 1)

    def count(self, iterations: Any) -> None:
        """Set the number of updates so far.

        Args:
            iterations: a whole number of at least 0, in any form.

        Raises:
            ValueError: it is no such number, or more than the counter can hold.
        """
        number = real_number(iterations)
        if number is None or not float(number).is_integer():
            raise ValueError(f"iterations must be a whole number of at least 0, got {iterations!r}")
        calls = number * (self.engine.program.every or 1)
        self.engine.iterations[...] = fitting("step", "iterations", self.engine.iterations, calls)

    def build(self, variables: Iterable[Variable]) -> None:
        """Create the state for `variables`, if there is none.

        Args:
            variables: float16, float32 or float64 arrays, or `Parameter`.

        Raises:
            TypeError, ValueError: a variable cannot be updated in place, or two share memory.
        """
        if self.built:
            return
        chosen = list(variables)
        group = Group()
        excluded = self._excluded.among(chosen, _key)
        try:
            decays = [i not in excluded for i in range(len(chosen))]
            self.engine.add_all(chosen, [group] * len(chosen), lambda i, name: decays[i] and self._decays(name))
            self.variables = chosen
            self._look_up()
        except BaseException:
            self.forget()
            raise

    def _decays(self, name: str) -> bool:
        if any(part in name for part in self.engine.dialect.semantics.decay_skips):
            return False
        return not (self._excluded_names and self._excluded_names.search(name))

    def exclude(self, variables: Iterable[Variable], names: Iterable[str]) -> None:
        """Name variables that weight decay leaves alone.

        Args:
            variables: the variables themselves.
            names: regular expressions that are searched for in the names of variables.

        Raises:
            ValueError: there is state already.
        """
        if self.built:
            raise ValueError("exclude_from_weight_decay() must be called before the first step, or before build()")
        self._excluded = _Chosen(variables)
        patterns = sorted(set(names))
        self._excluded_names = re.compile("|".join(patterns)) if patterns else None

    def apply(self, gradients: list[Any], variables: list[Variable] | None, guard: Callable[[], Any]) -> None:
        """Make one step, whole or not at all; the first one creates the state.

        Args:
            gradients: one for each variable, or None for a variable that has none.
            variables: in the same order; None stands for those that are known.
            guard: returns a context manager that is held while the step is made.

        Raises:
            ValueError: there are no gradients, their number is wrong, or a variable is unknown.
        """
        if variables is None and not self.built:
            raise self._error("wrong_gradients")(
                "apply() needs the variables until the optimizer is built; pass them, or call build(variables) first"
            )
        variables = self.variables if variables is None else variables
        if len(gradients) != len(variables):
            raise self._error("wrong_gradients")(
                f"got {len(gradients)} gradients for {len(variables)} variables; pass one for each, or None"
            )
        types = set(map(type, gradients))
        if types == {type(None)}:
            raise self._error("wrong_gradients")("No gradients provided for any variable: all of them are None.")
        with guard():
            fresh = not self.built
            try:
                self.build(variables)
                self._step(gradients, variables, type(None) in types)
            except BaseException:
                if fresh and int(self.engine.iterations) == 0:
                    self.forget()
                raise

    def forget(self) -> None:
        """Undo build(), so that a step that failed does not decide which variables there are."""
        self.engine.slots.clear()
        self.variables, self._index, self._last = [], {}, None

    def _step(self, gradients: list[Any], variables: list[Variable], incomplete: bool) -> None:
        self.follow()
        if self._last is not None and len(self._last[0]) == len(variables) and all(map(is_, self._last[0], variables)):
            indices = self._last[1]
        else:
            indices = self.indices(variables)
            self._last = (variables, indices)
        if incomplete:
            missing = [self.engine.slots[i].name for g, i in zip(gradients, indices, strict=True) if g is None]
            warnings.warn(f"Gradients do not exist for variables {missing}; they are left as they are.", stacklevel=5)
            indices = tuple(i for g, i in zip(gradients, indices, strict=True) if g is not None)
            gradients = [gradient for gradient in gradients if gradient is not None]
        self.engine.step(indices, gradients)

    def follow(self) -> None:
        """Follow Parameters that were given other arrays."""
        if self.engine.follow():
            self._look_up()

    def moved(self) -> None:
        """Take note that the variables and their state lie elsewhere."""
        self.engine.forget_memory()
        self._look_up()

    def indices(self, variables: Sequence[Variable]) -> tuple[int, ...]:
        """Return the places of variables, in the order in which the optimizer was built.

        Raises:
            ValueError (or what the dialect raises): one is unknown, or given twice.
        """
        found: dict[int, None] = {}
        for position, variable in enumerate(variables):
            index = self._index.get(_key(variable))
            if index is None:
                label = variable.name if isinstance(variable, Parameter) and variable.name else f"number {position}"
                raise self._error("unknown_parameter")(
                    f"Unknown variable: {label} of shape {np.shape(variable)}. The optimizer keeps state for the "
                    f"{len(self.variables)} variables of its first step; make a new optimizer for others, or "
                    f"call build() with all of them first."
                )
            if index in found:
                raise self._error("repeated_parameter")(
                    f"variable {self.engine.slots[index].name} is given twice; add its gradients up first"
                )
            found[index] = None
        return tuple(found)


def fitting(role: str, name: str, array: Array, value: Any) -> Array:
    """Return a value as an array that may be assigned to a piece of state.

    Args:
        role: which kind of state it is: ``"step"``, ``"learning_rate"``, ``"first_moment"`` and so on. A step must be a
            whole number of at least 0 that its dtype can hold; the learning rate and products of the betas must be
            finite.
        name: of the piece of state, for errors.
        array: the piece of state as it is now.
        value: real numbers, of the array's shape.

    Returns:
        The value in the array's dtype.

    Raises:
        TypeError: the value does not hold real numbers.
        ValueError: it has another shape, or makes no sense in that role.
    """
    new = real_array(value, f"the new value of {name}")
    if array.shape != new.shape:
        raise ValueError(f"{name} has shape {array.shape}, but the given array has shape {new.shape}")
    if role == "step":
        number = float(new.reshape(()))
        if not (number >= 0 and number.is_integer() and number <= np.iinfo(array.dtype).max):
            raise ValueError(f"{name} must be a whole number of at least 0, got {number!r}")
    elif role in _SINGLE and not np.isfinite(new).all():
        raise ValueError(f"{name} must be finite, got {float(new.reshape(()))!r}")
    return new.astype(array.dtype)

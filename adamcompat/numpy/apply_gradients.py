"""TensorFlow's calling convention on NumPy arrays: ``apply_gradients(zip(gradients, variables))``."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from adamcompat.groups import Group
from adamcompat.interrupts import Uninterrupted
from adamcompat.numpy.arrays import Array, Parameter, identity, real_array
from adamcompat.numpy.optimizer import NumPyAdam, Variable
from adamcompat.pairs import split
from adamcompat.schedules import real_number
from adamcompat.whole import whole

if TYPE_CHECKING:
    from typing_extensions import Self

# Roles of state that is one number.
_SINGLE = ("learning_rate", "beta1_power", "beta2_power")


class _Chosen:
    """Variables that weight decay leaves alone.

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
                stacklevel=5,
            )
        return found


class ApplyGradientsAdam(NumPyAdam):
    """Base of the adapters that are called as TensorFlow's optimizers are."""

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        super().__init__(given, extra, numerics)
        self._variables: list[Variable] = []
        self._index: dict[Any, int] = {}
        self._last: tuple[list[Variable], tuple[int, ...]] | None = None
        self._excluded = _Chosen()
        self._excluded_names: re.Pattern[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_last": None, "_index": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._index = {self._key(variable): i for i, variable in enumerate(self._variables)}

    @staticmethod
    def _key(variable: Variable) -> Any:
        array = variable.data if isinstance(variable, Parameter) else variable
        return identity(array) if isinstance(array, np.ndarray) else id(variable)

    @property
    def built(self) -> bool:
        """Return whether the optimizer has state, and so knows its variables."""
        return bool(self._variables)

    @property
    def iterations(self) -> int:
        """Number of updates so far; with gradient accumulation, of completed ones."""
        return int(self._engine.iterations) // (self._hyper["accumulation_steps"] or 1)

    @iterations.setter
    def iterations(self, value: int) -> None:
        number = real_number(value)
        if number is None or not float(number).is_integer():
            raise ValueError(f"iterations must be a whole number of at least 0, got {value!r}")
        calls = number * (self._hyper["accumulation_steps"] or 1)
        self._engine.iterations[...] = _fitting("step", "iterations", self._engine.iterations, calls)

    @property
    def variables(self) -> list[Array]:
        """The live state in Keras's order: iteration, learning rate (if constant), then the slots."""
        return [array.view() for _, _, array in self._state()]

    def build(self, variables: Iterable[Variable]) -> None:
        """Create the state for `variables`; the first `apply_gradients` does it by itself.

        Args:
            variables: float16, float32 or float64 arrays, or `Parameter`.

        Raises:
            TypeError, ValueError: a variable cannot be updated in place, or two share memory.
        """
        if self.built:
            return
        chosen = list(variables)
        group = Group()
        excluded = self._excluded.among(chosen, self._key)
        try:
            self._add(chosen, [group] * len(chosen), lambda i, name: i not in excluded and self._decays(name))
            self._index = {self._key(variable): i for i, variable in enumerate(chosen)}
            self._variables = chosen
        except BaseException:
            self._forget()
            raise

    def _decays(self, name: str) -> bool:
        if any(part in name for part in self._dialect().semantics.decay_skips):
            return False
        return not (self._excluded_names and self._excluded_names.search(name))

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Name variables that weight decay leaves alone; to be called before the first step.

        Args:
            var_list: the variables themselves.
            var_names: regular expressions that are searched for in the names of variables.

        Raises:
            ValueError: the optimizer is already built.
        """
        if self.built:
            raise ValueError("exclude_from_weight_decay() must be called before the first step, or before build()")
        self._excluded = _Chosen(var_list or ())
        patterns = sorted(set(var_names or ()))
        self._excluded_names = re.compile("|".join(patterns)) if patterns else None

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> int:
        """Make one step.

        Args:
            grads_and_vars: pairs of a gradient (array, list of numbers, `RowSparse`, or None for "has
                none") and the variable that it belongs to, which is updated in place.

        Returns:
            How often the optimizer has been called.

        Raises:
            ValueError: no gradient at all, an unknown variable, or a gradient of the wrong shape. Then
                nothing has changed.
        """
        gradients, variables = split(grads_and_vars, self._error("wrong_gradients"))
        self.apply(gradients, variables)
        return int(self._engine.iterations)

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Variable] | None = None) -> None:
        """Make one step; `trainable_variables` default to those the optimizer was built with.

        Args:
            grads: one gradient for each variable.
            trainable_variables: the variables, in the same order.

        Raises:
            ValueError: as `apply_gradients`; or the numbers of gradients and variables differ.
        """
        gradients = list(grads)
        if not gradients:
            return
        if trainable_variables is None and not self.built:
            raise self._error("wrong_gradients")(
                "apply() needs the variables until the optimizer is built; pass them, or call build(variables) first"
            )
        variables = self._variables if trainable_variables is None else list(trainable_variables)
        if len(gradients) != len(variables):
            raise self._error("wrong_gradients")(
                f"got {len(gradients)} gradients for {len(variables)} variables; pass one for each, or None"
            )
        types = set(map(type, gradients))
        if types == {type(None)}:
            raise self._error("wrong_gradients")("No gradients provided for any variable: all of them are None.")
        with self._guard():
            fresh = not self.built
            try:
                self.build(variables)
                self._apply(gradients, variables, type(None) in types)
            except BaseException:
                if fresh and int(self._engine.iterations) == 0:
                    self._forget()
                raise

    def _forget(self) -> None:
        """Undo build(): what failed must not decide which variables there are."""
        self._engine.slots.clear()
        self._variables, self._index, self._last = [], {}, None

    def _apply(self, gradients: list[Any], variables: list[Variable], incomplete: bool) -> None:
        self._follow()
        if self._last is not None and len(self._last[0]) == len(variables) and all(map(is_, self._last[0], variables)):
            indices = self._last[1]
        else:
            indices = self._indices(variables)
            self._last = (variables, indices)
        if incomplete:
            missing = [self._engine.slots[i].name for g, i in zip(gradients, indices, strict=True) if g is None]
            warnings.warn(f"Gradients do not exist for variables {missing}; they are left as they are.", stacklevel=4)
            indices = tuple(i for g, i in zip(gradients, indices, strict=True) if g is not None)
            gradients = [gradient for gradient in gradients if gradient is not None]
        self._engine.step(indices, gradients)

    def _follow(self) -> None:
        """Follow Parameters that were given other arrays."""
        if self._engine.follow():
            self._index = {self._key(variable): i for i, variable in enumerate(self._variables)}
            self._last = None

    def _indices(self, variables: Sequence[Variable]) -> tuple[int, ...]:
        found: dict[int, None] = {}
        for position, variable in enumerate(variables):
            index = self._index.get(self._key(variable))
            if index is None:
                label = variable.name if isinstance(variable, Parameter) and variable.name else f"number {position}"
                raise self._error("unknown_parameter")(
                    f"Unknown variable: {label} of shape {np.shape(variable)}. The optimizer keeps state for the "
                    f"{len(self._variables)} variables of its first step; make a new optimizer for others, or "
                    f"call build() with all of them first."
                )
            if index in found:
                raise self._error("repeated_parameter")(
                    f"variable {self._engine.slots[index].name} is given twice; add its gradients up first"
                )
            found[index] = None
        return tuple(found)

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the loss scale that gradients are divided by."""
        return loss * self._hyper["loss_scale"]

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """With an average, overwrite the variables by it, as after training.

        Raises:
            ValueError: a variable is unknown.
        """
        if self._hyper["use_ema"]:
            self._follow()
            slots = [self._engine.slots[index] for index in self._indices(list(var_list))]

            def overwrite() -> None:
                for slot in slots:
                    slot.array[...] = slot.average

            with Uninterrupted():
                whole([overwrite])

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the state from arrays in the order of `variables`.

        Args:
            weights: arrays of real numbers, each of the shape of its place in `variables`; the step a whole number of
                at least 0, the learning rate and products of the betas finite.

        Raises:
            ValueError: the optimizer is not built, numbers or shapes differ, or a value makes no sense.
            TypeError: an array does not hold real numbers. In any case nothing has changed.
        """
        if not self.built:
            raise ValueError("set_weights() needs an optimizer that is built; call build(variables) first")
        own, new = self._state(), list(weights)
        if len(own) != len(new):
            raise ValueError(f"set_weights() needs {len(own)} arrays, as in variables; got {len(new)}")
        pairs = [
            (array, _fitting(role, name, array, weight)) for (role, name, array), weight in zip(own, new, strict=True)
        ]

        def assign() -> None:
            for array, weight in pairs:
                array[...] = weight

        with np.errstate(all="ignore"), Uninterrupted():
            whole([assign])

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Copy the state into `store` under "0", "1", ..., as Keras does."""
        for position, array in enumerate(self.variables):
            store[str(position)] = array.copy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Set the state from what `save_own_variables` stored.

        Args:
            store: arrays under "0", "1", and so on.

        Raises:
            ValueError, TypeError: as `set_weights`, or a number is missing. Then nothing has changed.
        """
        missing = [str(position) for position in range(len(store)) if str(position) not in store]
        if missing:
            raise ValueError(
                f"load_own_variables() needs the keys '0' to '{len(store) - 1}', but {missing[0]!r} is missing"
            )
        self.set_weights([store[str(position)] for position in range(len(store))])

    def get_config(self) -> dict[str, Any]:
        """The hyperparameters under their native names; `from_config` takes them back."""
        config = {name: value for name, value in self._hyper.native.items() if name in self._given}
        fact = self._dialect().named("learning_rate")
        assert fact is not None
        return config | {fact.name: self.learning_rate, "numerics": self._numerics}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an optimizer from `get_config`'s dictionary; it starts without state."""
        return cls(**config)


def _fitting(role: str, name: str, array: Array, value: Any) -> Array:
    """Return `value` as what may be assigned to `array`, a piece of state of that role.

    Raises:
        TypeError, ValueError: it may not.
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

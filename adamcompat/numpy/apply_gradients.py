"""TensorFlow's calling convention on NumPy arrays: ``apply_gradients(zip(gradients, variables))``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from adamcompat.groups import Group
from adamcompat.numpy.arrays import Array, Parameter, identity
from adamcompat.numpy.optimizer import NumPyAdam, Variable
from adamcompat.pairs import split

if TYPE_CHECKING:
    from typing_extensions import Self


class ApplyGradientsAdam(NumPyAdam):
    """Base of the adapters that are called as TensorFlow's optimizers are."""

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        super().__init__(given, extra, numerics)
        self._variables: list[Variable] = []
        self._index: dict[Any, int] = {}
        self._last: tuple[list[Variable], tuple[int, ...]] | None = None
        self._excluded: set[Any] = set()
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
        """Whether the optimizer has state, and so knows its variables."""
        return bool(self._variables)

    @property
    def iterations(self) -> int:
        """Number of updates so far; with gradient accumulation, of completed ones."""
        return int(self._engine.iterations) // (self._hyper["accumulation_steps"] or 1)

    @iterations.setter
    def iterations(self, value: int) -> None:
        if isinstance(value, bool) or int(value) != value or value < 0:
            raise ValueError(f"iterations must be a whole number of at least 0, got {value!r}")
        self._engine.iterations[...] = int(value) * (self._hyper["accumulation_steps"] or 1)

    @property
    def variables(self) -> list[Array]:
        """The live state in Keras's order: iteration, learning rate (if constant), then the slots."""
        return [array for _, _, array in self._state()]

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
        keys = [self._key(variable) for variable in chosen]
        try:
            self._add(chosen, [group] * len(chosen), lambda i, name: self._decays(keys[i], name))
            self._index = {key: i for i, key in enumerate(keys)}
            self._variables = chosen
        except BaseException:
            self._forget()
            raise

    def _decays(self, key: Any, name: str) -> bool:
        if any(part in name for part in self._dialect().semantics.decay_skips):
            return False
        return key not in self._excluded and not (self._excluded_names and self._excluded_names.search(name))

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
        self._excluded = {self._key(variable) for variable in var_list or ()}
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
            for index in self._indices(list(var_list)):
                slot = self._engine.slots[index]
                assert slot.average is not None
                slot.array[...] = slot.average

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the state from arrays in the order of `variables`.

        Raises:
            ValueError: the optimizer is not built, or numbers or shapes differ. Then nothing has changed.
        """
        if not self.built:
            raise ValueError("set_weights() needs an optimizer that is built; call build(variables) first")
        own, new = self._state(), [np.asarray(weight) for weight in weights]
        if len(own) != len(new):
            raise ValueError(f"set_weights() needs {len(own)} arrays, as in variables; got {len(new)}")
        for (_, name, array), weight in zip(own, new, strict=True):
            if array.shape != weight.shape:
                raise ValueError(f"{name} has shape {array.shape}, but the given array has shape {weight.shape}")
        for (_, _, array), weight in zip(own, new, strict=True):
            array[...] = weight

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Copy the state into `store` under "0", "1", ..., as Keras does."""
        for position, array in enumerate(self.variables):
            store[str(position)] = array.copy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Set the state from what `save_own_variables` stored.

        Raises:
            ValueError: numbers or shapes differ. Then nothing has changed.
        """
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

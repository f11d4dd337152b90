"""TensorFlow's calling convention on NumPy arrays: ``apply_gradients(zip(gradients, variables))``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adamcompat.interrupts import Uninterrupted
from adamcompat.numpy.arrays import Array, Variable
from adamcompat.numpy.optimizer import NumPyAdam
from adamcompat.numpy.trained import Trained, fitting
from adamcompat.pairs import split
from adamcompat.whole import whole

if TYPE_CHECKING:
    from typing_extensions import Self


class ApplyGradientsAdam(NumPyAdam):
    """Base of the adapters that are called as TensorFlow's optimizers are."""

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        super().__init__(given, extra, numerics)
        self._trained = Trained(self._engine)

    @property
    def built(self) -> bool:
        """Return whether the optimizer has state, and so knows its variables."""
        return self._trained.built

    @property
    def iterations(self) -> int:
        """Number of updates so far; with gradient accumulation, of completed ones."""
        return self._trained.iterations

    @iterations.setter
    def iterations(self, value: int) -> None:
        self._trained.count(value)

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
        self._trained.build(variables)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Name variables that weight decay leaves alone; call it before the first step.

        Args:
            var_list: the variables themselves; None stands for none.
            var_names: regular expressions that are searched for in the names of variables; None stands for none.

        Raises:
            ValueError: the optimizer is already built.
        """
        self._trained.exclude(var_list or (), var_names or ())

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> int:
        """Make one step.

        Args:
            grads_and_vars: pairs of a gradient (array, list of numbers, `RowSparse`, or None for "has
                none") and the variable that it belongs to, which is updated in place.

        Returns:
            The number of times that the optimizer has been called.

        Raises:
            ValueError: no gradient at all, an unknown variable, or a gradient of the wrong shape. Then
                nothing has changed.
        """
        gradients, variables = split(grads_and_vars, self._engine.wrong_gradients)
        self.apply(gradients, variables)
        return int(self._engine.iterations)

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Variable] | None = None) -> None:
        """Make one step.

        Args:
            grads: one gradient for each variable, each an array, a list of numbers, `RowSparse` or None. An empty list
                makes no step.
            trainable_variables: the variables, in the same order; None stands for those that the optimizer was built
                with.

        Raises:
            ValueError: as `apply_gradients`; or the numbers of gradients and variables differ.
        """
        gradients = list(grads)
        if not gradients:
            return
        variables = None if trainable_variables is None else list(trainable_variables)
        self._trained.apply(gradients, variables, self._guard)

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the loss scale, by which a step divides gradients."""
        return loss * self._hyper["loss_scale"]

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Overwrite variables by their moving averages, as after training; without ``use_ema`` nothing happens.

        Args:
            var_list: the variables to overwrite.

        Raises:
            ValueError: a variable is unknown.
        """
        if self._hyper["use_ema"]:
            self._trained.follow()
            slots = [self._engine.slots[index] for index in self._trained.indices(list(var_list))]

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
            (array, fitting(role, name, array, weight)) for (role, name, array), weight in zip(own, new, strict=True)
        ]

        def assign() -> None:
            for array, weight in pairs:
                array[...] = weight

        with np.errstate(all="ignore"), Uninterrupted():
            whole([assign])

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Copy the state into `store` under "0", "1", ..., in the order of `variables`, as Keras does."""
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
        """Return the hyperparameters that were given, the learning rate and the numerics, under their native names.

        `from_config` makes an equal optimizer of them.
        """
        config = {name: value for name, value in self._hyper.native.items() if name in self._given}
        fact = self._dialect().named("learning_rate")
        assert fact is not None
        return config | {fact.name: self.learning_rate, "numerics": self._numerics}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return an optimizer with the hyperparameters of `get_config`'s dictionary; it starts without state."""
        return cls(**config)

"""MindSpore's calling convention on NumPy arrays: ``optimizer(gradients)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from adamcompat.groups import Arrangement
from adamcompat.numpy.arrays import Array, Parameter, Variable, identity
from adamcompat.numpy.optimizer import NumPyAdam


def _key(variable: Variable) -> Any:
    return identity(variable.data if isinstance(variable, Parameter) else variable)


class CallAdam(NumPyAdam):
    """Base of the adapters that are called as MindSpore's optimizers are."""

    _step_shape: ClassVar[tuple[int, ...]] = (1,)
    _step_dtype: ClassVar[type[np.integer[Any]]] = np.int32

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        super().__init__(given, extra, numerics)
        arrange = Arrangement(self._dialect(), (np.ndarray, Parameter), "arrays", _key)
        fact = self._dialect().named("parameters")
        assert fact is not None
        arranged = arrange(given[fact.name])
        self._check_unique(arranged.variables)
        self._grouped = arranged.grouped
        skips = () if arranged.grouped else self._dialect().semantics.decay_skips
        self._engine.add_all(
            arranged.variables, arranged.groups, lambda _, name: not any(part in name for part in skips)
        )
        self._all = tuple(range(len(self._engine.slots)))
        self._given[fact.name] = None
        self._hyper.native[fact.name] = None

    def _check_unique(self, variables: Sequence[Any]) -> None:
        names = [variable.name for variable in variables if isinstance(variable, Parameter) and variable.name]
        for name in names:
            if names.count(name) > 1:
                raise self._error("repeated_parameter")(f"two parameters are named {name!r}; names must differ")

    def __call__(self, gradients: Sequence[Any]) -> tuple[bool, ...]:
        """Make one step.

        Args:
            gradients: a tuple or list with one gradient (array or `RowSparse`) for each parameter, in
                the order in which the parameters were given.

        Returns:
            One True for each parameter, as MindSpore does.

        Raises:
            TypeError: `gradients` is no tuple or list, or holds None.
            ValueError: their number or a shape is wrong. In either case nothing has changed.
        """
        if not isinstance(gradients, (tuple, list)):
            raise self._error("wrong_type")(
                f"gradients must be a tuple with one array for each parameter, got {type(gradients).__name__}"
            )
        slots = self._engine.slots
        if len(gradients) != len(slots):
            raise self._error("wrong_gradients")(f"got {len(gradients)} gradients for {len(slots)} parameters")
        with self._guard():
            self._engine.follow()
            self._engine.step(self._all, gradients)
        return (True,) * len(slots)

    def construct(self, gradients: Sequence[Any]) -> tuple[bool, ...]:
        """Make one step; the same as calling the optimizer."""
        return self(gradients)

    @property
    def parameters(self) -> tuple[Array, ...]:
        """The arrays that are updated, in the order of their gradients."""
        return tuple(slot.array for slot in self._engine.slots)

    @property
    def global_step(self) -> Array:
        """Number of steps so far: a live int32 array of shape (1,)."""
        return self._engine.iterations.view()

    def get_lr(self) -> float | tuple[float, ...]:
        """Return the learning rate of the next step; one for each parameter if a group has its own."""
        slots = self._engine.slots
        if any(slot.group.learning_rate is not None for slot in slots):
            return tuple(self._engine.learning_rate(slot.group) for slot in slots)
        return self._engine.learning_rate()

    def get_weight_decay(self) -> float | tuple[float, ...]:
        """Return the weight decay of the next step; one for each parameter if a group has its own."""
        slots = self._engine.slots
        if any(slot.group.weight_decay is not None for slot in slots):
            return tuple(self._engine.decay(slot.group) for slot in slots)
        return self._engine.decay(slots[0].group)

    def parameters_dict(self) -> dict[str, Array]:
        """Return everything that is kept, by MindSpore's names and in its order, as live arrays.

        >>> from adamcompat import MindSporeStyleAdam
        >>> weight = Parameter(np.zeros(3, np.float32), name="dense.weight")
        >>> list(MindSporeStyleAdam([weight], numerics="mindspore").parameters_dict())  # doctest: +NORMALIZE_WHITESPACE
        ['global_step', 'learning_rate', 'dense.weight', 'beta1_power', 'beta2_power',
         'moment1.dense.weight', 'moment2.dense.weight']
        """
        return {name: array if role == "parameter" else array.view() for role, name, array in self._state()}

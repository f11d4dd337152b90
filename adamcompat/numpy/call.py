"""MindSpore's calling convention on NumPy arrays: ``optimizer(gradients)``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from adamcompat.hyperparameters import check_value
from adamcompat.mapping.model import ParameterFact
from adamcompat.numpy.arrays import Array, Parameter, identity
from adamcompat.numpy.optimizer import NumPyAdam, Variable
from adamcompat.numpy.slots import Group


class CallAdam(NumPyAdam):
    """Base of the adapters that are called as MindSpore's optimizers are."""

    _step_shape: ClassVar[tuple[int, ...]] = (1,)
    _step_dtype: ClassVar[type[np.integer[Any]]] = np.int32

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        super().__init__(given, extra, numerics)
        fact = self._dialect().named("parameters")
        assert fact is not None
        entries = self._listed(given[fact.name], fact.name)
        grouped = [isinstance(entry, Mapping) for entry in entries]
        if any(grouped) and not all(grouped):
            raise self._error("wrong_type")(
                f"{fact.name} mixes groups (dictionaries) and parameters; use one or the other"
            )
        if grouped[0]:
            self._grouped(entries)
        else:
            shared, skips = Group(), self._dialect().semantics.decay_skips
            self._check_unique(entries)
            self._add(entries, [shared] * len(entries), lambda _, name: not any(part in name for part in skips))
        self._all = tuple(range(len(self._engine.slots)))
        self._given[fact.name] = None
        self._hyper.native[fact.name] = None

    def _listed(self, value: Any, name: str) -> list[Any]:
        if value is None or (isinstance(value, (list, tuple)) and not value):
            raise self._error("out_of_range")(f"{name} must not be empty; pass the list of arrays to update")
        if isinstance(value, (np.ndarray, Parameter, Mapping, str)) or not isinstance(value, Iterable):
            raise self._error("wrong_type")(
                f"{name} must be a list of arrays, or of groups; got {type(value).__name__}"
            )
        entries = list(value)
        if not entries:
            raise self._error("out_of_range")(f"{name} must not be empty; pass the list of arrays to update")
        return entries

    def _check_unique(self, variables: Sequence[Any]) -> None:
        names = [variable.name for variable in variables if isinstance(variable, Parameter) and variable.name]
        for name in names:
            if names.count(name) > 1:
                raise self._error("repeated_parameter")(f"two parameters are named {name!r}; names must differ")

    def _grouped(self, entries: Sequence[Mapping[str, Any]]) -> None:
        facts = {fact.canonical: fact for fact in self._dialect().groups}
        known = {fact.name for fact in facts.values()}
        variables: list[Variable] = []
        groups: list[Group] = []
        order: list[Variable] | None = None
        for number, entry in enumerate(entries):
            for key in entry:
                if key not in known:
                    raise KeyError(f"group {number} has the key {key!r}; known keys: {', '.join(sorted(known))}")
            order_key = facts["group_order"].name
            if order_key in entry:
                if len(entry) > 1:
                    raise self._error("out_of_range")(f"{order_key!r} must be alone in its group, got {sorted(entry)}")
                order = self._listed(entry[order_key], order_key)
                continue
            parameters_key = facts["group_parameters"].name
            if parameters_key not in entry:
                raise KeyError(f"group {number} has no {parameters_key!r}")
            own = self._listed(entry[parameters_key], parameters_key)
            group = Group(
                self._group_value(facts["group_learning_rate"], entry),
                self._group_value(facts["group_weight_decay"], entry),
                bool(self._group_value(facts["group_centralization"], entry)),
            )
            variables += own
            groups += [group] * len(own)
        if not variables:
            raise self._error("out_of_range")("no group holds a parameter")
        if order is not None:
            variables, groups = self._ordered(variables, groups, order)
        self._check_unique(variables)
        self._add(variables, groups, lambda _, __: True)

    def _group_value(self, fact: ParameterFact, entry: Mapping[str, Any]) -> Any:
        return check_value(fact, entry[fact.name], self._dialect()) if fact.name in entry else None

    def _ordered(
        self, variables: list[Variable], groups: list[Group], order: list[Variable]
    ) -> tuple[list[Variable], list[Group]]:
        def key(variable: Variable) -> Any:
            return identity(variable.data if isinstance(variable, Parameter) else variable)

        if len(order) != len(variables):
            raise self._error("out_of_range")(
                f"the order lists {len(order)} parameters, but the groups hold {len(variables)}; list each once"
            )
        where = {key(variable): i for i, variable in enumerate(variables)}
        missing = [i for i, variable in enumerate(order) if key(variable) not in where]
        if missing:
            raise self._error("out_of_range")(f"parameter {missing[0]} of the order is in no group")
        positions = [where[key(variable)] for variable in order]
        return [variables[i] for i in positions], [groups[i] for i in positions]

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
        return self._engine.iterations

    def get_lr(self) -> float | tuple[float, ...]:
        """The learning rate of the next step; one for each parameter if a group has its own."""
        slots = self._engine.slots
        if any(slot.group.learning_rate is not None for slot in slots):
            return tuple(self._engine.learning_rate(slot.group) for slot in slots)
        return self._engine.learning_rate()

    def get_weight_decay(self) -> float | tuple[float, ...]:
        """The L2 decay of the next step; one for each parameter if a group has its own."""
        slots = self._engine.slots
        if any(slot.group.weight_decay is not None for slot in slots):
            return tuple(self._engine.l2_decay(slot.group) for slot in slots)
        return self._engine.l2_decay(slots[0].group)

    def parameters_dict(self) -> dict[str, Array]:
        """Everything that is kept, by MindSpore's names and in its order, as live arrays.

        >>> from adamcompat import MindSporeStyleAdam
        >>> weight = Parameter(np.zeros(3, np.float32), name="dense.weight")
        >>> list(MindSporeStyleAdam([weight], numerics="mindspore").parameters_dict())  # doctest: +NORMALIZE_WHITESPACE
        ['global_step', 'learning_rate', 'dense.weight', 'beta1_power', 'beta2_power',
         'moment1.dense.weight', 'moment2.dense.weight']
        """
        return {name: array for _, name, array in self._state()}

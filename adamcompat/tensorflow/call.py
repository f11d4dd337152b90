"""MindSpore's calling convention on TensorFlow's variables: ``optimizer(gradients)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from adamcompat.groups import Arranged, Arrangement
from adamcompat.hyperparameters import FIXED_BY_STATE, unknown_keyword
from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow.call_config import described
from adamcompat.tensorflow.call_state import Private, identity, label, live
from adamcompat.tensorflow.style import StyledAdam


class CallAdam(StyledAdam):
    """Share among the adapters that are called as MindSpore's optimizers are, whichever Keras they belong to."""

    @classmethod
    def _grouped(cls, value: Any, given: dict[str, Any]) -> Arranged:
        return Arrangement(cls._dialect(), (tf.Variable, tf.Tensor), "variables", identity)(value)

    def _described(self, serialize: Callable[[Any], Any]) -> Any:
        return described(self._private, self._dialect(), serialize)

    # The call.

    def __call__(self, gradients: Any) -> tuple[bool, ...]:
        """Make one step.

        Args:
            gradients: a tuple or list with one gradient (tensor or IndexedSlices) for each parameter, in
                the order in which the parameters were given.

        Returns:
            One True for each parameter, as MindSpore does.

        Raises:
            TypeError: `gradients` is no tuple or list, or holds None or no numbers.
            ValueError: their number or a shape is wrong. In either case nothing has changed.
            RuntimeError: a list of learning rates has no value for this step.
        """
        if not isinstance(gradients, (tuple, list)):
            raise self._error("wrong_type")(
                f"gradients must be a tuple with one tensor for each parameter, got {type(gradients).__name__}"
            )
        self._check_built()
        variables = self._private.variables
        if len(gradients) != len(variables):
            raise self._error("wrong_gradients")(
                f"got {len(gradients)} gradients for {len(variables)} parameters; differentiate with respect to "
                f"optimizer.parameters"
            )
        for variable, gradient in zip(variables, gradients, strict=True):
            if gradient is None:
                raise self._error("wrong_type")(
                    f"the gradient of {label(variable)!r} is None; pass tf.zeros_like(variable) if it has none"
                )
        self.apply_gradients(zip(gradients, variables, strict=True))
        return (True,) * len(gradients)

    def construct(self, gradients: Any) -> tuple[bool, ...]:
        """Make one step; the same as calling the optimizer."""
        return self(gradients)

    # What is asked of an optimizer.

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The variables that are updated, in the order of their gradients."""
        return tuple(self._private.variables)

    @property
    def global_step(self) -> Any:
        """Number of steps so far, as a variable."""
        return self._iterations

    def get_lr(self) -> Any:
        """Return the learning rate of the next step; one for each parameter if a group has its own."""
        return self._each([group.learning_rate for group in self._private.groups], "rate")

    def get_weight_decay(self) -> Any:
        """Return the weight decay of the next step; one for each parameter if a group has its own."""
        return self._each([group.weight_decay for group in self._private.groups], "decay")

    def _each(self, own: Sequence[Any], what: str) -> Any:
        values = [getattr(number, what) for number in self._numbers()]
        values = [tf.constant(0.0, tf.float64) if value is None else value for value in values]
        if any(item is not None for item in own):
            return tuple(values[member.group] for member in self._private.members)
        return values[0]

    def parameters_dict(self) -> dict[str, Any]:
        """Return all variables that are kept, by MindSpore's names and in its order."""
        private = self._private
        rate = self._learning_rate if private.hyper.schedules["learning_rate"].constant else None
        first = next(iter(private.powers.values()), (None, None))
        single = {"step": self._iterations, "learning_rate": rate, "beta1_power": first[0], "beta2_power": first[1]}
        found = {}
        for slot in (slot for block in self._dialect().slots for slot in block):
            if not slot.per_parameter and single.get(slot.role) is not None:
                found[slot.template] = single[slot.role]
            for variable, member in zip(private.variables, private.members, strict=True):
                kept = {
                    "parameter": variable,
                    "first_moment": member.m,
                    "second_moment": member.v,
                    "maximum_second_moment": member.vhat,
                }
                if slot.per_parameter and kept.get(slot.role) is not None:
                    found[slot.name_for(label(variable))] = kept[slot.role]
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        private: Private | None = self.__dict__.get("_private")
        if private is None or name.startswith("_") or isinstance(getattr(type(self), name, None), property):
            super().__setattr__(name, value)
            return
        fact = self._dialect().find(name)
        if fact is None:
            found = [fact for dialect in MAPPING.dialects.values() if (fact := dialect.find(name)) is not None]
            meant = [MAPPING.canonical[part.canonical] for other in found for part in other.parts]
            if any(item.scope == "hyperparameter" and value not in (None, item.neutral) for item in meant):
                raise AttributeError(f"cannot set {name!r}: {unknown_keyword(name, self._own_adapter())}")
            super().__setattr__(name, value)
            return
        fixed = (*FIXED_BY_STATE, "parameters", "use_locking")
        if any(part.canonical in fixed for part in fact.parts):
            raise AttributeError(f"{name!r} is decided when the optimizer is made; make a new one")
        given = {**private.given, name: live(value)}
        private.take(self._dialect(), self._resolved(given))
        private.given = given
        private.compile_parts(self._dialect())
        object.__setattr__(self, name, value if isinstance(fact, ParameterFact) else private.hyper.native[name])

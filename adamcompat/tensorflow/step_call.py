"""PyTorch's settings on TensorFlow's variables, which are trained as Keras does it: ``apply_gradients`` and ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from numbers import Real
from typing import Any

import tensorflow as tf

from adamcompat.groups import Arranged, Group
from adamcompat.hyperparameters import Hyperparameters
from adamcompat.mapping.tables import MAPPING
from adamcompat.once import depth_outside, warn_once
from adamcompat.schedules import Schedule
from adamcompat.step_groups import GroupReader, Sort, refuse_impossible, settings_named
from adamcompat.tensorflow.arguments import raw
from adamcompat.tensorflow.call_config import entries_of, plain
from adamcompat.tensorflow.call_state import OwnGroup, identity, is_variable, label, live
from adamcompat.tensorflow.style import StyledAdam

_SORT = Sort(
    plural="variables",
    wanted="a tf.Variable or a Keras variable",
    hint="",
    single=(tf.Variable, tf.Tensor),
    is_one=is_variable,
    key=identity,
)
# Those whose lines are not the user's.
_LIBRARIES = ("adamcompat", "keras", "tensorflow", "tf_keras")
# How far a user's call is from where the groups that it gives are read.
_DEPTH = 7
# What to write here in place of each method of PyTorch's call.
_INSTEAD = {
    "step": "variables hold no gradients: write optimizer.apply_gradients(zip(gradients, variables)) with those of a "
    "tf.GradientTape",
    "forget_gradients": "variables hold no gradients, so that there is nothing to forget; leave the line out",
}


@cache
def _reader_of(name: str) -> GroupReader:
    return GroupReader(MAPPING.adapter("tensorflow", name), _SORT)


class StepAdam(StyledAdam):
    """Share the step among the adapters with PyTorch's settings, on Keras 3 and on tf_keras."""

    @classmethod
    def _awaits(cls) -> bool:
        return True

    @classmethod
    def _resolved(cls, given: dict[str, Any]) -> Hyperparameters:
        hyper = super()._resolved(given)
        refuse_impossible(given, cls._dialect(), "tf.Variables")
        return hyper

    @classmethod
    def _grouped(cls, value: Any, given: dict[str, Any]) -> Arranged:
        if isinstance(value, Real):
            rate = cls._dialect().named("learning_rate")
            assert rate is not None
            raise cls._error("wrong_type")(
                f"{_reader_of(cls._adapter).params} must be a list of variables, got {value!r}; a learning rate is "
                f"given by name here: {rate.name}={value!r}"
            )
        reader, grouped, taken = _reader_of(cls._adapter), False, set[Any]()
        variables: list[Any] = []
        groups: list[Group] = []
        for number, entry in enumerate(reader.groups(value)):
            members = reader.members(number, entry, taken, lambda one: f"parameter {label(one)!r}")
            if not members:
                raise cls._error("out_of_range")(f"group {number} has no variables; leave it out")
            reader.say_unknown(number, entry, _DEPTH)
            said = {name: live(item) for name, item in entry.items() if name != reader.params}
            group = cls._group_of(said, given)
            variables += members
            groups += [group] * len(members)
            grouped = grouped or number > 0 or bool(said)
        return Arranged(variables, groups, grouped=grouped)

    @classmethod
    def _group_of(cls, said: dict[str, Any], given: Mapping[str, Any]) -> OwnGroup:
        """Return a group, from its own settings and the optimizer's."""
        reader = _reader_of(cls._adapter)
        hyper = cls._resolved({**given, **reader.settings(said)})
        rate = reader.dialect.named("learning_rate")
        decays = (hyper.schedules.get(name) for name in ("l2_weight_decay", "decoupled_weight_decay"))
        return OwnGroup(
            hyper.schedules["learning_rate"] if rate is not None and rate.name in said else None,
            next((decay for decay in decays if decay is not None), None),
            hyper=hyper,
            said=said,
        )

    def _described(self, serialize: Callable[[Any], Any]) -> Any:
        private, key = self._private, _reader_of(self._adapter).params
        if private.described is not None and not private.members:
            return entries_of(private.described, serialize)
        if private.arranged is None or self._brought:
            return None
        if not private.arranged.grouped:
            return [label(variable) for variable in private.variables]
        return [
            {
                key: [label(variable) for variable in group[key]],
                **{name: plain(group[name], serialize) for name in group.said},
            }
            for group in self.param_groups
        ]

    @property
    def _brought(self) -> bool:
        """Return whether the variables came with the model, and no configuration names them."""
        return self._private.described is None and not self._private.listed

    @property
    def defaults(self) -> dict[str, Any]:
        """Return every setting that a group has where it says nothing else."""
        return dict(self._private.hyper.native)

    def settings(self) -> dict[str, Any] | None:
        """Return the settings of all variables, by name; None where groups differ in one."""
        params = _reader_of(self._adapter).params
        if not self._private.members:
            rate = self._dialect().named("learning_rate")
            held = self._rate_variable()
            return self.defaults | ({} if held is None or rate is None else {rate.name: float(held)})
        first, *others = ({**group, params: None} for group in self.param_groups)
        return None if any(other != first for other in others) else first

    @property
    def param_groups(self) -> tuple[ParamGroup, ...]:
        """The groups, each with every setting. Its learning rate can be set, and acts in traced functions too.

        Raises:
            ValueError: the variables come with the first step, which was not made yet.
        """
        self._check_built()
        return tuple(ParamGroup(self, place) for place in range(len(self._private.groups)))

    def _check_built(self) -> None:
        if not self._private.members:
            raise ValueError(
                "this optimizer has no variables yet: they come with the first step, or with build(variables)"
            )

    def _set_learning_rate(self, value: Any) -> None:
        super()._set_learning_rate(value)
        self._say_kept()

    def _say_kept(self) -> None:
        """Warn of groups that keep their learning rate when the optimizer's own is set."""
        rate = self._dialect().named("learning_rate")
        own = [str(place) for place, group in enumerate(self._private.groups) if group.learning_rate is not None]
        if own and rate is not None:
            warn_once(
                f"learning_rate was set, but the groups {', '.join(own)} have a learning rate of their own and "
                f"keep it; set optimizer.param_groups[{own[0]}][{rate.name!r}]",
                self._adapter,
                "learning_rate",
                stacklevel=depth_outside(_LIBRARIES),
            )

    def _set_group_rate(self, place: int, value: Any) -> None:
        """Replace the learning rate of one group.

        Raises:
            ValueError: the group shares it with others.
        """
        private = self._private
        group, held = private.groups[place], private.rates[place]
        if group.learning_rate is None:
            sharing = [str(i) for i, other in enumerate(private.groups) if other.learning_rate is None]
            if len(sharing) > 1:
                raise ValueError(
                    f"the groups {', '.join(sharing)} share one learning rate: set optimizer.learning_rate, or give a "
                    f"group its own when the optimizer is made"
                )
            super()._set_learning_rate(value)
            return
        schedule = self._rate_given(value, group.learning_rate.constant)
        if held is None:
            group.learning_rate = schedule
            private.functions.clear()
        else:
            raw(held).assign(tf.cast(value, tf.float64) if schedule is None else schedule.at(0))

    def __setattr__(self, name: str, value: Any) -> None:
        private = self.__dict__.get("_private")
        if private is None or name.startswith("_") or isinstance(getattr(type(self), name, None), property):
            super().__setattr__(name, value)
            return
        if any(value not in (None, MAPPING.canonical[canonical].neutral) for canonical in settings_named(name)):
            raise AttributeError(
                f"cannot set {name!r}: the settings are compiled when the optimizer is made. Set "
                f"optimizer.learning_rate, or make a new optimizer"
            )
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        method = type(self)._method(name)
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        if method is not None:
            text += f": {_INSTEAD[method.role]}"
        raise AttributeError(text)


class ParamGroup(Mapping[str, Any]):
    """Show one group of an optimizer: its variables and every setting.

    Args:
        optimizer: the optimizer that has the group.
        place: its place among the groups.
    """

    def __init__(self, optimizer: StepAdam, place: int) -> None:
        self._optimizer = optimizer
        self._place = place
        self._reader = _reader_of(optimizer._adapter)

    @property
    def said(self) -> dict[str, Any]:
        """Return what the group itself sets; the rest are the optimizer's settings."""
        return dict(self._group.said)

    @property
    def _group(self) -> OwnGroup:
        group = self._optimizer._private.groups[self._place]
        assert isinstance(group, OwnGroup)
        return group

    def _variables(self) -> Sequence[Any]:
        private = self._optimizer._private
        pairs = zip(private.variables, private.members, strict=True)
        return [variable for variable, member in pairs if member.group == self._place]

    def _rate(self) -> Any:
        """Return the learning rate as a number; where a schedule gives it, the list or callable that was given."""
        private, group = self._optimizer._private, self._group
        held = self._optimizer._rate_variable() if group.learning_rate is None else private.rates[self._place]
        if held is not None:
            return float(raw(held)) if tf.executing_eagerly() else tf.convert_to_tensor(raw(held))
        schedule: Schedule = group.learning_rate or private.hyper.schedules["learning_rate"]
        return schedule.given

    def __getitem__(self, name: str) -> Any:
        rate = self._reader.dialect.named("learning_rate")
        if name == self._reader.params:
            return self._variables()
        if rate is not None and name == rate.name:
            return self._rate()
        return {**self._group.said, **self._group.hyper.native}[name]

    def __setitem__(self, name: str, value: Any) -> None:
        rate = self._reader.dialect.named("learning_rate")
        if rate is None or name != rate.name:
            raise TypeError(
                f"{name!r} of a group is compiled when the optimizer is made, and cannot be set; make a new optimizer"
            )
        self._optimizer._set_group_rate(self._place, value)

    def __iter__(self) -> Iterator[str]:
        names = dict.fromkeys([self._reader.params, *self._group.hyper.native, *self._group.said])
        return iter(names)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return repr(dict(self))

"""PyTorch's signature on MindSpore's Parameters; a step is called as in MindSpore: ``optimizer(gradients)``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import mindspore
from mindspore import Parameter, ParameterTuple, Tensor, context

from adamcompat.groups import stray_keys
from adamcompat.hyperparameters import FIXED_BY_STATE, Adapted, check_value, named_numerics, unknown_keyword
from adamcompat.mapping import lens
from adamcompat.mindspore import gradients as dense
from adamcompat.mindspore.arguments import refuse
from adamcompat.mindspore.batch import STORAGE
from adamcompat.mindspore.drop_in import in_place_of
from adamcompat.mindspore.gradients import Refusals
from adamcompat.mindspore.grouped import GroupedStep
from adamcompat.mindspore.grouped_steps import GroupedSteps
from adamcompat.mindspore.notes import say_once
from adamcompat.step_groups import refuse_impossible, settings_named

_WHERE = "MindSpore's Parameters"
_REFUSALS = Refusals(no_tuple=TypeError, no_tensor=ValueError, converts=False)
# What to write here in place of each method of PyTorch's call.
_INSTEAD = {
    "step": "Write optimizer(gradients), with a tuple of one gradient for each Parameter; "
    "mindspore.value_and_grad(function, None, optimizer.parameters) computes it",
    "forget_gradients": "Parameters hold no gradients, so that there is nothing to forget; leave the line out",
}
# What is kept for each Parameter: attributes, which are also the beginnings of names.
_MOMENTS, _MAXIMUM = ("exp_avg", "exp_avg_sq"), "max_exp_avg_sq"


class StepAdam(Adapted, GroupedSteps):
    """Share the step among the adapters with PyTorch's signature.

    It is an optimizer of mindspore.experimental.optim, whose learning-rate schedulers work with it.

    Attributes:
        param_groups: the groups, each a dictionary with its Parameters and every setting. A step takes the settings as
            they are then.
        lrs: the learning rate of each group, a Parameter, unless a number stands in the group.
        state_step: how many steps were made.
        exp_avg: the first moments, a Parameter for each.
        exp_avg_sq: the second moments.
        max_exp_avg_sq: the maxima of the second moments, where amsgrad asks for them.
    """

    _runtime: ClassVar[str] = "mindspore"
    _ready = False

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, numerics: str) -> None:
        adapter = self._own_adapter()
        rounding = named_numerics(numerics, adapter)
        self._key, self._of_rate = self._fact("parameters"), self._fact("learning_rate")
        entries = self._listed(given[self._key])
        settings = self._plain({name: value for name, value in given.items() if name != self._key})
        refuse(adapter, {**settings, self._key: entries}, extra)
        # Moments and groups are made together, or neither is.
        super().__init__(entries, {**settings, **self._plain(extra)})
        for name in _MOMENTS:
            setattr(self, name, self.parameters.clone(prefix=name, init="zeros"))
        self._kept: tuple[Any, ...] = ()
        self._keep_maxima()
        self.state_step = Parameter(Tensor(0, mindspore.int32), "state_step", requires_grad=False)
        self._grouped = GroupedStep(self, adapter, rounding, _REFUSALS, dtypes=tuple(STORAGE))
        self._lock = threading.RLock()
        self._make_graphs()
        self._ready = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._ready and not hasattr(type(self), name):
            text = self._instead_of(name)
            if text is not None:
                raise AttributeError(text)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            method = next((method for method in self._dialect().methods if method.name == name), None)
            if method is None:
                raise
            raise AttributeError(f"{error} {_INSTEAD[method.role]}") from None

    @classmethod
    def _instead_of(cls, name: str) -> str | None:
        """Return a text that says what to set in place of an attribute named like a setting; None for other names."""
        meant = settings_named(name)
        if not meant:
            return None
        facts = [fact for fact in cls._dialect().accepted if any(part.canonical in meant for part in fact.parts)]
        if not facts:
            return f"cannot set {name!r}: {unknown_keyword(name, cls._own_adapter())}"
        places = " and ".join(f"optimizer.param_groups[0][{fact.name!r}]" for fact in facts)
        fixed = any(part.canonical in FIXED_BY_STATE for fact in facts for part in fact.parts)
        todo = "make a new optimizer with it" if fixed else f"set {places}, and so for each group"
        return f"cannot set {name!r}: a step reads the settings of the groups; {todo}"

    @classmethod
    def _fact(cls, canonical: str) -> str:
        fact = cls._dialect().named(canonical)
        assert fact is not None
        return fact.name

    def _listed(self, value: Any) -> Any:
        """Return the Parameters or groups of a call in a list, which can be read again; groups are copied."""
        if isinstance(value, Iterator):
            value = list(value)
        if not isinstance(value, (list, tuple)):
            return value
        return [self._group(entry) if isinstance(entry, Mapping) else entry for entry in value]

    def _group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        own = dict(group)
        if isinstance(own.get(self._key), Iterator):
            own[self._key] = list(own[self._key])
        return self._plain(own)

    def _plain(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings with numbers of Python in place of NumPy's numbers and of Tensors without axes.

        The learning rate stays a Tensor where it is one.
        """
        known = {fact.name: fact for fact in self._dialect().accepted if fact.name != self._key}

        def plain(name: str, value: Any) -> Any:
            if getattr(value, "shape", None) != () or (name == self._of_rate and isinstance(value, Tensor)):
                return value
            return value.item()

        return {
            name: lens.each(known[name], value, partial(plain, name)) if name in known else value
            for name, value in settings.items()
        }

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose Parameters are updated from the next step on.

        Args:
            param_group: its Parameters under ``"params"``, and settings where they are not the optimizer's own. Other
                keys are kept for whoever put them there.

        Raises:
            TypeError: it is no dictionary, or holds what is no Parameter.
            KeyError: it holds no Parameters.
            ValueError: a Parameter is in another group already, or a setting is out of range.
        """
        number = len(self.param_groups)
        if not isinstance(param_group, Mapping):
            raise self._error("wrong_type")(f"a group must be a dictionary, got {type(param_group).__name__}")
        if self._key not in param_group:
            raise KeyError(
                f"group {number} has no {self._key!r}; its keys are {', '.join(map(repr, param_group)) or 'none'}"
            )
        group = self._group(param_group)
        refuse(self._own_adapter(), {**self.defaults, self._key: [group]})
        for text in stray_keys(number, group, self._own_adapter()):
            say_once(text)
        settings = {**self.defaults, **group}
        refuse_impossible(settings, self._dialect(), _WHERE)
        self._checked_rate(number, settings[self._of_rate])
        super().add_param_group(group)
        if self._ready:
            self.parameters = ParameterTuple(self.parameters)
            new = ParameterTuple(group[self._key])
            for name in _MOMENTS:
                self._extend(name, new.clone(prefix=name, init="zeros"))
            self._keep_maxima()
            self._make_graphs()

    def _extend(self, name: str, new: Any) -> None:
        """Add Parameters to those that an attribute holds, without changing the known ones.

        Args:
            name: the name of the attribute.
            new: the Parameters to add.
        """
        for parameter in new:
            self.insert_param_to_cell(parameter.name, parameter, check_name_contain_dot=False)
        object.__setattr__(self, name, ParameterTuple((*getattr(self, name), *new)))

    def _keep_maxima(self) -> None:
        """Make the maxima of the second moments of groups that ask for them and have none."""
        flags = [group[self._fact("amsgrad")] for group in self.param_groups for _ in group[self._key]]
        kept = [*self._kept, *[None] * (len(flags) - len(self._kept))]
        wanted = [i for i in range(len(self._kept), len(flags)) if flags[i]]
        if wanted:
            new = ParameterTuple([self.parameters[i] for i in wanted]).clone(prefix=_MAXIMUM, init="zeros")
            for i, parameter in zip(wanted, new, strict=True):
                kept[i] = parameter
                self.insert_param_to_cell(parameter.name, parameter, check_name_contain_dot=False)
        object.__setattr__(self, "_kept", tuple(kept))

    @property
    def max_exp_avg_sq(self) -> tuple[Any, ...]:
        """Return the maximum of each second moment, or None where amsgrad does not ask for it."""
        return self._kept

    def _maxima(self) -> Any:
        return self._kept

    def _settings(self, number: int) -> dict[str, Any]:
        """Return the settings of a group, without the learning rate.

        Raises:
            ValueError: amsgrad was set after the state was made.
        """
        group = self.param_groups[number]
        own = (self._key, self._of_rate)
        found = {fact.name: group[fact.name] for fact in self._dialect().accepted if fact.name not in own}
        refuse_impossible(found, self._dialect(), _WHERE)
        name, start = self._fact("amsgrad"), self.group_start_id[number]
        if group[self._key] and bool(found[name]) != (self._kept[start] is not None):
            raise self._error("out_of_range")(f"{name!r} decides which state is kept and cannot change any more")
        return self._plain(found)

    def _rate(self, number: int) -> float:
        """Return the learning rate of a group: the number or the Tensor that stands there.

        Raises:
            TypeError: it is no number.
            ValueError: it is out of range.
        """
        return self._checked_rate(number, self.param_groups[number][self._of_rate])

    def _checked_rate(self, number: int, rate: Any) -> float:
        fact = self._dialect().named("learning_rate")
        assert fact is not None
        value = rate.asnumpy() if isinstance(rate, Tensor) else rate
        if getattr(value, "shape", None) == ():
            value = float(value) if isinstance(rate, Tensor) and rate.dtype == mindspore.bfloat16 else value.item()
        # The fact's own type takes schedules, which a group cannot hold.
        own = replace(fact, type="number", name=f"{fact.name!r} of group {number}")
        return float(check_value(own, value, self._dialect()))

    def _check_rates(self) -> None:
        """Refuse wrong learning rates, where the step itself does not ask for them.

        Raises:
            TypeError, ValueError: a learning rate is no number, or out of range.
        """
        for number in range(len(self.param_groups)):
            self._rate(number)

    def __call__(self, gradients: Any) -> bool:
        """Make one step.

        Args:
            gradients: a tuple or list with one Tensor for each Parameter, in the order of `parameters`.

        Returns:
            True.

        Raises:
            TypeError: they are no tuple, a gradient is no Tensor or has a dtype that would lose digits, or a learning
                rate is no number.
            ValueError: a gradient is None, or a setting is out of range.
            RuntimeError: there are too few gradients or too many, or one has the wrong shape. In PYNATIVE mode nothing
                has changed in any case.
        """
        if context._get_mode() == context.PYNATIVE_MODE:
            return bool(super().__call__(gradients))
        dense.check(gradients, self.parameters, self._dialect(), _REFUSALS, [False] * len(self.parameters))
        self._check_rates()
        self._follow()
        super().__call__(tuple(gradients))
        return True

    def _step(self, gradients: Any) -> Any:
        """Make the step of `construct`, where Python calls it."""
        with self._lock:
            if self._grouped.ready():
                self._grouped(gradients)
            else:
                dense.check(gradients, self.parameters, self._dialect(), _REFUSALS, [False] * len(self.parameters))
                self._check_rates()
                self._step_by_graph(gradients)
        return True

    construct = in_place_of(GroupedSteps._construct_in_graph)

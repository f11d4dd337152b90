"""Other frameworks' calls on PyTorch's tensors: each class is an optimizer of PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, TypeAlias

import torch

from adamcompat.groups import Arrangement, Group, stray_keys
from adamcompat.hyperparameters import (
    FIXED_BY_STATE,
    Adapted,
    Hyperparameters,
    named_numerics,
    resolve,
    say_borrowed,
    unchanging,
)
from adamcompat.locks import StepLock
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.engine import write
from adamcompat.pairs import split
from adamcompat.torch.arrays import check_parameter, in_memory, number_of, steps_of, untraced
from adamcompat.torch.devices import Elsewhere
from adamcompat.torch.held import PARAMS, RATE, STEP, Held
from adamcompat.torch.looks import Uncopied, same_objects

Parameters: TypeAlias = Iterable[Any]
LearningRate: TypeAlias = float | Sequence[float] | Callable[[int], Any] | Callable[[], Any]
Decay: TypeAlias = float | Callable[[int], Any] | Callable[[], Any]
Beta: TypeAlias = float | Callable[[], float]

# How far a user's call is from where what it gives is read.
_DEPTH = 6


@cache
def _names_of(adapter: str) -> tuple[frozenset[str], str]:
    """Return the names of the settings of one of our classes.

    Args:
        adapter: the name of the class.

    Returns:
        The names under which groups hold settings, without the parameters' and the learning rate's; and the class's own
        name of the learning rate, which groups hold under PyTorch's.
    """
    own = MAPPING.adapter("torch", adapter)
    dialect = MAPPING.dialects[own.dialect]
    facts = (*dialect.accepted, *(fact for _, fact in MAPPING.borrowed(own)))
    rate = dialect.named("learning_rate")
    assert rate is not None
    names = {fact.name for fact in facts if fact.parts[0].canonical != "parameters"}
    return frozenset(names - {RATE, rate.name}), rate.name


class _MovedError(Exception):
    """Say that a parameter went to another group."""


class StyledAdam(Adapted, torch.optim.Optimizer):  # type: ignore[misc]
    """Share among the adapters: groups that hold every setting, one number of steps, and steps on tensors.

    Attributes:
        param_groups: the groups, each a dictionary with its parameters under ``"params"``, the learning rate under
            ``"lr"`` and the other settings under their own names. A step takes them as they are then.
        state: for each parameter that was updated, its moments under PyTorch's names and the number of steps.
    """

    _runtime: ClassVar[str] = "torch"
    param_groups: list[dict[str, Any]]
    state: Any

    def __init__(self, params: Any, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        adapter = self._own_adapter()
        self._rounding, self._numerics = named_numerics(numerics, adapter), numerics
        hyper = resolve(adapter, given, extra)
        say_borrowed(adapter, extra, _DEPTH - 1)
        names, rate = _names_of(self._adapter)
        defaults = {RATE: number_of(hyper.native[rate])}
        defaults |= {name: value for name, value in hyper.native.items() if name in names}
        self._steps: list[tuple[dict[str, Any], Hyperparameters, Held | Elsewhere]] = Uncopied()
        self._states: list[Any] = Uncopied()
        self._groups: list[dict[str, Any]] = Uncopied()
        self._lock = StepLock()
        super().__init__(params, defaults)

    # Groups.

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose parameters are updated from the next step on.

        Args:
            param_group: its parameters under ``"params"``, and settings where they are not the optimizer's own. Other
                keys are kept for whoever put them there.

        Raises:
            TypeError: it is no dictionary, or holds what cannot be updated.
            ValueError: a parameter is in another group already, or a setting is out of range.
        """
        if isinstance(param_group, dict):
            own = dict(param_group)
            if (name := _names_of(self._adapter)[1]) in own and name != RATE:
                own[RATE] = own.pop(name)
            adapter = self._own_adapter()
            strange = {key: value for key, value in own.items() if key not in (PARAMS, RATE, *self._of_groups())}
            for text in stray_keys(len(self.param_groups), strange, adapter):
                warnings.warn(text, UserWarning, stacklevel=_DEPTH)
            self._resolved({**self.defaults, **own})
            param_group = own
        super().add_param_group(param_group)
        try:
            for parameter in self.param_groups[-1][PARAMS]:
                check_parameter(parameter, TypeError)
            self._refuse_joint_norm()
        except BaseException:
            del self.param_groups[-1]
            raise

    def _refuse_joint_norm(self) -> None:
        fact = self._dialect().named("global_clip_norm")
        if fact is not None and len(self.param_groups) > 1 and any(group[fact.name] for group in self.param_groups):
            raise self._error("out_of_range")(
                f"{fact.name} takes the norm of all gradients together, and groups make their steps one by one; leave "
                f"it out and call torch.nn.utils.clip_grad_norm_(parameters, limit) before the step"
            )

    def _settings(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a group that a step reads, by the dialect's names.

        Tensors of one number become numbers.
        """
        names, rate = _names_of(self._adapter)
        found = {name: number_of(group[name]) for name in self.defaults if name in names and name in group}
        return unchanging(found | {rate: number_of(group[RATE])})

    @classmethod
    def _of_groups(cls) -> set[str]:
        return {fact.name for fact in cls._dialect().groups}

    def _resolved(self, group: Mapping[str, Any]) -> Hyperparameters:
        settings = self._settings(group)
        names = {fact.name for fact in self._dialect().parameters}
        given = {name: value for name, value in settings.items() if name in names}
        return resolve(self._own_adapter(), given, {name: settings[name] for name in settings if name not in names})

    def _group_of(self, group: Mapping[str, Any]) -> Group:
        """Return a group for the stages of a step, with what they ask of it beside its settings."""
        return Group()

    def _decays(self, name: str) -> bool:
        """Return whether weight decay reaches a parameter of that name, in a call without groups."""
        return not any(part in name for part in self._dialect().semantics.decay_skips)

    # Steps.

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; whole or not at all where tensors lie in main memory.

        Args:
            closure: called first, with gradients enabled; it may compute them.

        Returns:
            The value that `closure` returned, or None.

        Raises:
            ValueError, TypeError, RuntimeError: a gradient does not fit, or a setting is out of range. Then nothing has
                changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._guarded(lambda parameter: parameter.grad)
        return loss

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> int:
        """Make one step with gradients that are given, as TensorFlow's optimizers do.

        Args:
            grads_and_vars: pairs of a gradient (a tensor, or None) and the parameter that it belongs to.

        Returns:
            The number of steps that were made so far.

        Raises:
            ValueError, TypeError, RuntimeError: no gradient at all, one that does not fit, or a parameter that the
                optimizer does not know. Then nothing has changed.
        """
        gradients, parameters = split(grads_and_vars, self._error("wrong_gradients"))
        known = {id(parameter) for group in self.param_groups for parameter in group[PARAMS]}
        if any(id(parameter) not in known for parameter in parameters):
            raise self._error("unknown_parameter")("a pair names a tensor that is in none of this optimizer's groups")
        if len({id(parameter) for parameter in parameters}) < len(parameters):
            raise self._error("repeated_parameter")("a parameter is given twice; add its gradients up first")
        if all(gradient is None for gradient in gradients):
            raise self._error("wrong_gradients")("no gradients: all of them are None")
        found = {id(parameter): gradient for gradient, parameter in zip(gradients, parameters, strict=True)}
        self._guarded(lambda parameter: found.get(id(parameter)))
        return self.iterations

    @property
    def iterations(self) -> int:
        """Return how many steps were made."""
        return max((int(held.engine.iterations) for _, _, held in self._steps), default=self._count())

    def _count(self) -> int:
        return max((steps_of(state[STEP]) for state in self.state.values() if STEP in state), default=0)

    @untraced  # type: ignore[untyped-decorator]
    def _guarded(self, gradient_of: Callable[[Any], Any]) -> None:
        """Make one step, alone among threads: of two at once one would be lost; see `_make`."""
        with self._lock():
            self._make(gradient_of)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _make(self, gradient_of: Callable[[Any], Any]) -> None:
        """Make one step.

        Args:
            gradient_of: takes a parameter, and returns its gradient or None.
        """
        self._follow()
        try:
            pending, written, some = self._pending(gradient_of)
        except _MovedError:
            self._build()
            pending, written, some = self._pending(gradient_of)
        if not some:
            return
        write(pending)
        torch.autograd.graph.increment_version(written)

    def _pending(self, gradient_of: Callable[[Any], Any]) -> tuple[list[Any], list[Any], bool]:
        """Do all of a step that can fail.

        Args:
            gradient_of: takes a parameter, and returns its gradient or None.

        Returns:
            What is left to write, the tensors that it is written to, and whether a parameter has a gradient.

        Raises:
            _MovedError: a group has a parameter that was in another one at the last step.
            ValueError, TypeError: a gradient does not fit.
        """
        pending, written, begun, some = [], [], [], False
        try:
            for group, (_, _, held) in zip(self.param_groups, self._steps, strict=True):
                pairs = [(p, g) for p in group[PARAMS] if (g := gradient_of(p)) is not None]
                parameters, gradients = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
                if not same_objects(parameters, held.parameters):
                    new = [parameter for parameter in parameters if not self.state.get(parameter)]
                    begun += new
                    self._begin(group, held, new)
                    if not set(map(id, parameters)) <= set(map(id, held.parameters)):
                        raise _MovedError
                pending.append(held.prepared(parameters, gradients, alone=len(self._steps) == 1))
                written += held.versioned(parameters)
                some = some or bool(parameters)
        except BaseException:
            # State is made in the first step, which was not made.
            for parameter in begun:
                self.state.pop(parameter, None)
            self._steps = Uncopied() if begun else self._steps
            raise
        if begun:
            self._states = Uncopied(self._owners())
        return pending, written, some

    def _follow(self) -> None:
        """Let steps stand on the groups, their settings and the tensors as they are now."""
        stands = same_objects(self.param_groups, self._groups) and same_objects(self._owners(), self._states)
        # `load_state_dict` and a refused first step leave no steps.
        stands = stands and len(self._steps) == len(self.param_groups)
        if not stands or not all(held.stands() for _, _, held in self._steps):
            self._build()
            return
        for number, (group, (known, hyper, held)) in enumerate(zip(self.param_groups, self._steps, strict=True)):
            settings = self._settings(group)
            if settings != known:
                new = self._resolved(group)
                for name in FIXED_BY_STATE:
                    if new.values[name] != hyper.values[name] and held.parameters:
                        raise ValueError(f"{name} decides which state is kept and cannot change after the first step")
                held.engine.assign(new)
                self._steps[number] = settings, new, held

    def _owners(self) -> list[Any]:
        """Return the parameters that have state, and then the state of each."""
        return [*self.state, *self.state.values()]

    def _build(self) -> None:
        """Make the steps of all groups anew, from the state that there is.

        Raises:
            ValueError: parameters were not updated equally often, or state does not fit. Then nothing has changed.
        """
        before = dict(self.state)
        try:
            self._steps = Uncopied(self._anew())
        except BaseException:
            self.state.clear()
            self.state.update(before)
            raise
        self._groups = Uncopied(self.param_groups)
        self._states = Uncopied(self._owners())

    def _anew(self) -> list[tuple[dict[str, Any], Hyperparameters, Held | Elsewhere]]:
        # The state says it, which another optimizer may share and a user may edit.
        count = self._count() if any(STEP in state for state in self.state.values()) else self.iterations
        steps: list[tuple[dict[str, Any], Hyperparameters, Held | Elsewhere]] = []
        for group in self.param_groups:
            hyper = self._resolved(group)
            kind = Held if all(map(in_memory, group[PARAMS])) else Elsewhere
            held = kind(self._dialect(), self._rounding, hyper, count, self._group_of(group))
            steps.append((self._settings(group), hyper, held))
            known = [parameter for parameter in group[PARAMS] if self.state.get(parameter)]
            for own in {steps_of(self.state[parameter].get(STEP, count)) for parameter in known}:
                if own != count:
                    raise ValueError(
                        f"the parameters were not updated equally often ({own} and {count} times), and "
                        f"{type(self).__name__} has one number of steps; load a state where they agree"
                    )
            self._begin(group, held, known)
        return steps

    def _begin(self, group: Mapping[str, Any], held: Held | Elsewhere, parameters: Sequence[Any]) -> None:
        """Let a step have parameters, with the state that there is, or with none."""
        if not parameters:
            return
        names = dict(zip(map(id, group[PARAMS]), group.get("param_names", ()), strict=False))
        titles = [names.get(id(one), f"a parameter of shape {tuple(one.shape)}") for one in parameters]
        states = [dict(self.state.get(parameter) or {}) for parameter in parameters]
        held.add(parameters, states, titles, self._decays)
        for parameter, state in zip(parameters, states, strict=True):
            state[STEP] = torch.from_numpy(held.engine.iterations)
            self.state[parameter] = state
        held.settle()

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Return state and groups as PyTorch's optimizers do; each parameter has a number of steps of its own there."""
        found: dict[str, Any] = super().state_dict()
        states = found["state"].items()
        return found | {"state": {key: {**own, STEP: own[STEP].clone()} if STEP in own else own for key, own in states}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state and the settings of another optimizer, of PyTorch's own Adam too.

        Args:
            state_dict: as `state_dict()` returns it. Parameters are matched by their order.

        Raises:
            ValueError: it has other groups, state of other shapes, or parameters that were not updated equally often.
                Nothing has changed then.
        """
        before = self.state, self.param_groups, self._steps
        try:
            super().load_state_dict(state_dict)
            self._steps = Uncopied()
            for group in self.param_groups:
                for name, value in self.defaults.items():
                    group.setdefault(name, value)
            self._build()
        except BaseException:
            self.state, self.param_groups, self._steps = before
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "_numerics": self._numerics,
            "_rounding": self._rounding,
            "_steps": Uncopied(),
            "_states": Uncopied(),
            "_groups": Uncopied(),
            **{name: self.__dict__[name] for name in ("_grouped", "_order") if name in self.__dict__},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._lock = StepLock()
        super().__setstate__(state)


class ApplyGradientsAdam(StyledAdam):
    """Base of the adapters with TensorFlow's settings."""

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the loss scale that gradients are divided by.

        Args:
            loss: a tensor or a number.

        Raises:
            ValueError: groups have loss scales of their own.
        """
        scales = {self._resolved(group)["loss_scale"] for group in self.param_groups}
        if len(scales) > 1:
            raise self._error("out_of_range")(f"groups have the loss scales {sorted(scales)}, and a loss has one")
        return loss * scales.pop()

    def finalize_variable_values(self) -> None:
        """Overwrite the parameters with their moving averages, where ``use_ema`` keeps them."""
        with torch.no_grad():
            for parameter, state in self.state.items():
                if (average := state.get("average")) is not None:
                    parameter.copy_(average)


class CallAdam(StyledAdam):
    """Base of the adapters with MindSpore's settings."""

    _grouped = False

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        fact = self._dialect().named("parameters")
        assert fact is not None
        rest = {name: value for name, value in given.items() if name != fact.name}
        params = given[fact.name]
        params = list(params) if isinstance(params, Iterator) else params
        self._order: list[Any] = []
        super().__init__(self._arranged(params, fact.name), {fact.name: params, **rest}, extra, numerics)
        self._order = self._order or [p for group in self.param_groups for p in group[PARAMS]]

    def _arranged(self, params: Any, name: str) -> Any:
        if not (isinstance(params, (list, tuple)) and any(isinstance(entry, Mapping) for entry in params)):
            return params
        arranged = Arrangement(self._dialect(), (torch.Tensor,), "tensors", id)(params)
        self._grouped, self._order = True, arranged.variables
        keys = {fact.canonical: fact.name for fact in self._dialect().groups}
        found: dict[int, dict[str, Any]] = {}
        for variable, group in zip(arranged.variables, arranged.groups, strict=True):
            said: dict[str, Any] = {PARAMS: []}
            if group.learning_rate is not None:
                said[RATE] = group.learning_rate.given
            if group.weight_decay is not None:
                said[keys["group_weight_decay"]] = group.weight_decay.given
            if group.centralize:
                said[keys["group_centralization"]] = True
            found.setdefault(id(group), said)[PARAMS].append(variable)
        return list(found.values())

    def _group_of(self, group: Mapping[str, Any]) -> Group:
        keys = {fact.canonical: fact.name for fact in self._dialect().groups}
        return Group(centralize=bool(group.get(keys.get("group_centralization", ""))))

    def _decays(self, name: str) -> bool:
        return self._grouped or super()._decays(name)

    def __call__(self, gradients: Sequence[Any]) -> tuple[bool, ...]:
        """Make one step with gradients that are given, as MindSpore's optimizers do.

        Args:
            gradients: a tuple or list with one tensor for each parameter, in the order in which these were given.

        Returns:
            One True for each parameter.

        Raises:
            ValueError: they are no tuple or list, their number is wrong, or one does not fit. Then nothing has changed.
        """
        if not isinstance(gradients, (tuple, list)) or len(gradients) != len(self._order):
            raise self._error("wrong_gradients")(
                f"pass a tuple of {len(self._order)} gradients, one for each parameter"
            )
        self.apply_gradients(zip(gradients, self._order, strict=True))
        return (True,) * len(self._order)

"""PyTorch's calling convention on NumPy arrays: ``parameter.grad = ...``, then ``optimizer.step()``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from adamcompat.hyperparameters import Adapted, Hyperparameters, named_numerics, resolve
from adamcompat.locks import StepLock
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import Array, Parameter, real_array
from adamcompat.numpy.cohorts import Cohort, Cohorts
from adamcompat.numpy.engine import write
from adamcompat.schedules import real_number
from adamcompat.step_groups import GroupReader, Sort, refuse_impossible, settings_named

_SORT = Sort(
    plural="Parameters",
    wanted="an adamcompat.Parameter, which has a gradient",
    hint="write Parameter(array, name=...)",
    single=(np.ndarray, Parameter),
    is_one=lambda value: isinstance(value, Parameter),
    key=id,
)


def _read(value: Any) -> Any:
    """Return a tensor of another library as an array; PyTorch's bfloat16 is widened, for NumPy does not have it."""
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        value = value.float()
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _real(name: str, place: Any, value: Any) -> Array:
    return real_array(_read(value), f"{name!r} of parameter {place}")


@cache
def _reader_of(name: str) -> GroupReader:
    return GroupReader(MAPPING.adapter("numpy", name), _SORT)


class StepAdam(Adapted):
    """Share the step among the adapters that are called as PyTorch's optimizers are.

    Attributes:
        param_groups: the groups, each a dictionary with its parameters and every setting. A step takes the settings as
            they are then.
        defaults: the settings of a group that gives none of its own.
    """

    _runtime: ClassVar[str] = "numpy"

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        self._rounding = named_numerics(numerics, self._own_adapter())
        self._numerics = numerics
        self._params = self._reader.params
        settings = {name: value for name, value in given.items() if name != self._params}
        self._resolve(settings, extra)
        self.defaults: dict[str, Any] = {**settings, **extra}
        self.param_groups: list[dict[str, Any]] = []
        # Of two steps that threads make at once one would be lost.
        self._lock = StepLock()
        self._cohorts: list[Cohorts] = []
        for group in self._reader.groups(given[self._params]):
            self._add(group, 5)

    @property
    def _reader(self) -> GroupReader:
        return _reader_of(self._adapter)

    def _resolve(self, settings: Mapping[str, Any], extra: Mapping[str, Any] = MappingProxyType({})) -> Hyperparameters:
        """Return the hyperparameters of a group; what the dialect does not know is left to its owner.

        Args:
            settings: of the group.
            extra: what came through ``**kwargs`` of the call, of which nothing is left to anybody.

        Raises:
            The dialect's exceptions for wrong values.
        """
        hyper = resolve(self._own_adapter(), self._reader.settings(settings), extra)
        refuse_impossible(settings, self._dialect(), "NumPy arrays")
        return hyper

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose parameters are updated from the next step on.

        Args:
            param_group: its parameters under ``"params"``, and settings where they are not the optimizer's own. Other
                keys are kept for whoever put them there.

        Raises:
            TypeError: it is no dictionary, or holds what is no `Parameter`.
            ValueError: a parameter is in another group already, or a setting is out of range.
        """
        self._add(param_group, 4)

    def _add(self, param_group: dict[str, Any], depth: int) -> None:
        if not isinstance(param_group, dict):
            raise self._error("wrong_type")(f"a group must be a dictionary, got {type(param_group).__name__}")
        number, reader = len(self.param_groups), self._reader
        taken = {id(parameter) for parameter in self.parameters()}
        group = {**self.defaults, **param_group, self._params: reader.members(number, param_group, taken, self.name_of)}
        reader.say_unknown(number, param_group, depth)
        cohorts = self._new_cohorts()
        cohorts.follow(reader.settings(group))
        self.param_groups.append(group)
        self._cohorts.append(cohorts)

    def name_of(self, parameter: Parameter) -> str:
        """Return the name of a parameter, or its place among all of them."""
        if parameter.name:
            return parameter.name
        everyone = [other for group in self.param_groups for other in group[self._params]]
        places = [place for place, other in enumerate(everyone) if other is parameter]
        return f"parameter_{places[0] if places else len(everyone)}"

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Args:
            set_to_none: True sets them to None; False fills those that are arrays with zeros instead.
        """
        for group in self.param_groups:
            for parameter in group[self._params]:
                if set_to_none or not isinstance(parameter.grad, np.ndarray):
                    parameter.grad = None
                else:
                    parameter.grad[...] = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; whole or not at all.

        Args:
            closure: called first; it may compute the gradients.

        Returns:
            The value that `closure` returned, or None.

        Raises:
            RuntimeError: a gradient has another shape than its parameter.
            TypeError: a gradient holds no real numbers. In either case nothing has changed.
        """
        loss = closure() if closure is not None else None
        with self._lock():
            self._make()
        return loss

    def _make(self) -> None:
        try:
            pending = []
            if len(self.param_groups) != len(self._cohorts):
                raise self._error("out_of_range")(
                    f"param_groups has {len(self.param_groups)} groups, and the optimizer knows {len(self._cohorts)}; "
                    f"add one with optimizer.add_param_group(group)"
                )
            for group, cohorts in zip(self.param_groups, self._cohorts, strict=True):
                cohorts.follow(self._reader.settings(group, whole=True))
                with_gradient = [parameter for parameter in group[self._params] if parameter.grad is not None]
                pending += cohorts.prepared(with_gradient)
            write(pending)
        except BaseException:
            for cohorts in self._cohorts:
                cohorts.forget_unused()
            raise

    def parameters(self) -> list[Parameter]:
        """Return the parameters of all groups, in order."""
        return [parameter for group in self.param_groups for parameter in group[self._params]]

    def steps(self) -> int:
        """Return the largest number of updates that any parameter has had."""
        return max((int(cohort.engine.iterations) for cohort, _, _ in self._members()), default=0)

    def build(self) -> None:
        """Create the state of all parameters; otherwise each gets it with its first gradient."""
        known = {id(parameter) for _, _, parameter in self._members()}
        for group, cohorts in zip(self.param_groups, self._cohorts, strict=True):
            if fresh := [parameter for parameter in group[self._params] if id(parameter) not in known]:
                cohorts.add(fresh)

    def _members(self) -> Iterator[tuple[Cohort, int, Parameter]]:
        """Yield each parameter that has state, with its cohort and its place there."""
        for cohorts in self._cohorts:
            for cohort in cohorts.cohorts:
                for place, parameter in enumerate(cohort.parameters):
                    yield cohort, place, parameter

    def _kept(self, cohort: Cohort, place: int) -> dict[str, Array]:
        """Return the state of one parameter under PyTorch's names, as live arrays; its step is a copy."""
        dialect, kept = self._dialect(), cohort.engine.slots[place].kept
        found = {dialect.slot("step").template: np.asarray(cohort.engine.iterations, np.float32)}
        return found | {name: kept[role] for role, name in dialect.slot_names.items() if role in kept}

    @property
    def state(self) -> dict[Parameter, dict[str, Array]]:
        """Return the state of each parameter that was updated; the arrays are live."""
        return {parameter: self._kept(cohort, place) for cohort, place, parameter in self._members()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the settings, with the positions of parameters in their place, as copies.

        Returns:
            ``{"state": {position: {"step": ..., "exp_avg": ..., "exp_avg_sq": ...}}, "param_groups": [...]}``
        """
        places = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group[self._params])}
        state = {
            places[id(parameter)]: {name: array.copy() for name, array in self._kept(cohort, place).items()}
            for cohort, place, parameter in self._members()
        }
        # As PyTorch writes it, so that its Adam goes on as the AdamW that this was.
        decouples = {"decoupled_weight_decay": True} if self._dialect().named("decoupled_weight_decay") else {}
        groups = [
            {
                **{name: value for name, value in group.items() if name != self._params},
                **decouples,
                self._params: [places[id(parameter)] for parameter in group[self._params]],
            }
            for group in self.param_groups
        ]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the settings of another optimizer, PyTorch's own too.

        Args:
            state_dict: as `state_dict` returns it. Parameters are matched by their order.

        Raises:
            ValueError: it has other groups, or state of other shapes. Nothing has changed then.
        """
        if missing := [key for key in ("state", "param_groups") if key not in state_dict]:
            raise self._error("out_of_range")(
                f"the state has no {missing[0]!r}, but the keys {', '.join(map(repr, state_dict)) or 'none'}; pass the "
                f"state_dict() of one optimizer"
            )
        saved = list(state_dict["param_groups"])
        sizes = [[len(group[self._params]) for group in groups] for groups in (saved, self.param_groups)]
        if sizes[0] != sizes[1]:
            raise self._error("out_of_range")(
                f"the state has groups of {sizes[0]} parameters, and this optimizer has groups of {sizes[1]}; load "
                f"state of the same groups"
            )
        listed = {place for group in saved for place in group[self._params]}
        if stray := sorted(set(state_dict["state"]) - listed, key=str):
            raise self._error("out_of_range")(f"the state names parameters that are in no group: {stray}")
        groups, cohorts = [], []
        for theirs, ours in zip(saved, self.param_groups, strict=True):
            parameters = ours[self._params]
            group = {**ours, **theirs, self._params: parameters}
            states = []
            for place, parameter in zip(theirs[self._params], parameters, strict=True):
                kept = state_dict["state"].get(place)
                if kept is not None:
                    states.append((parameter, *self._read_state(place, kept)))
            loaded = self._new_cohorts()
            loaded.load(self._reader.settings(group), states)
            groups.append(group)
            cohorts.append(loaded)
        for ours, group in zip(self.param_groups, groups, strict=True):
            ours.update(group)
        self._cohorts = cohorts

    def _read_state(self, place: Any, kept: Mapping[str, Any]) -> tuple[int, dict[str, Array]]:
        """Return the number of steps of one parameter, and its state by role.

        Args:
            place: of the parameter, for errors.
            kept: what another optimizer kept for it, under PyTorch's names.

        Raises:
            ValueError: something is missing, or is no state of Adam.
        """
        roles = {name: role for role, name in self._dialect().slot_names.items()}
        count = self._dialect().slot("step").template
        if count not in kept or (unknown := sorted(set(kept) - {count, *roles})):
            what = f"has {', '.join(unknown)}" if count in kept else f"lacks {count!r}"
            raise self._error("out_of_range")(
                f"the state of parameter {place} {what}; known: {count}, {', '.join(roles)}. Load state of an Adam"
            )
        arrays = {roles[name]: _real(name, place, value) for name, value in kept.items() if name in roles}
        number = real_number(_read(kept[count]))
        if number is None or not number >= 0 or not float(number).is_integer():
            raise self._error("out_of_range")(
                f"{count!r} of parameter {place} is {kept[count]!r}; a number of steps is a whole number of at least 0"
            )
        return int(number), arrays

    def _new_cohorts(self) -> Cohorts:
        return Cohorts(self._dialect(), self._rounding, self._resolve, self.name_of)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in ("defaults", "param_groups") and settings_named(name):
            raise AttributeError(
                f"cannot set {name!r}: settings belong to groups; write optimizer.param_groups[0][name] = value, where "
                f"name is one of {', '.join(f.name for f in self._dialect().accepted if f.name != self._params)}"
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {value}" for name, value in group.items() if name != self._params]
        return "\n".join([*lines, ")"])

"""Record PyTorch's optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import torch

from adamcompat.mapping import lens
from adamcompat.mapping.originals import Original, original_of
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.recording.record import plain_values, refuse_twice
from adamcompat.recording.recorder import Recorder
from adamcompat.state import naming
from adamcompat.state.model import AdamState
from adamcompat.state.reading import contents
from adamcompat.state.terms import ATTRIBUTES, StateError
from adamcompat.state.torch import live_of, of_style
from adamcompat.state.torch_tensors import array_of, given_names, members, settings
from adamcompat.torch.arrays import number_of
from adamcompat.torch.optimizer import StyledAdam

# Whatever optimizer it is, its groups are made alike.
_ANY = MAPPING.dialects[RUNTIMES["torch"].originals[0]]
_RECORDED: WeakSet[Any] = WeakSet()


def facts(optimizer: Any) -> tuple[str | None, dict[str, Any] | None]:
    """Return the name by which `adamcompat.compare` knows an optimizer, and its hyperparameters.

    Returns:
        The name, None where it has none; and native names to values, None where they are not known, change from step to
        step, or differ between groups.
    """
    kind, styled = type(optimizer), isinstance(optimizer, StyledAdam)
    original = original_of(kind)
    # A subclass may make other steps: it is neither one of ours nor the original.
    if "_adapter" in vars(kind):
        adapter = kind._own_adapter()
        dialect, name = MAPPING.dialects[adapter.dialect], f"{adapter.module}.{adapter.name}"
    elif original is not None and original.loaded() is kind:
        dialect, name = original.dialect, original.name
    else:
        return None, None
    own = [fact for fact in dialect.accepted if MAPPING.scope(fact) == "hyperparameter"]
    groups = [optimizer._resolved(group).native if styled else group for group in optimizer.param_groups]
    first, *others = (
        {fact.name: lens.each(fact, group[fact.name], number_of) for fact in own if fact.name in group}
        for group in groups
    )
    if any(other != first for other in others):
        return name, None
    return name, plain_values({**first, **({"numerics": optimizer._numerics} if styled else {})}, dialect)


def instrument(optimizer: Any, recorder: Recorder) -> Callable[[], None]:
    """Record what each step is made with, by hooks of the optimizer.

    Args:
        optimizer: it is instrumented in place.
        recorder: takes what there is before and after each step.

    Returns:
        A function that undoes it.

    Raises:
        ValueError: the optimizer is being recorded already.
    """
    refuse_twice(optimizer in _RECORDED)
    _RECORDED.add(optimizer)
    steps = _Steps(optimizer, recorder)
    hooks = [
        optimizer.register_step_pre_hook(lambda *_: steps.guarded(steps.before)),
        optimizer.register_step_post_hook(lambda *_: steps.guarded(steps.after)),
    ]

    def undo() -> None:
        _RECORDED.discard(optimizer)
        for hook in hooks:
            hook.remove()

    return undo


class _Steps:
    """Take what there is before and after each step; which parameters have gradients shows only after a closure."""

    def __init__(self, optimizer: Any, recorder: Recorder) -> None:
        self._optimizer = optimizer
        self._recorder = recorder
        self._weights: dict[str, Any] = {}
        self._start = 0
        self._state: AdamState | StateError | None = None

    def guarded(self, action: Callable[[], None]) -> None:
        """Do something that must not reach the training if it fails."""
        try:
            if self._recorder.recording:
                action()
        except Exception as error:
            self._recorder.stop(f"recording ended, because {type(error).__name__}: {error}")

    def _named(self) -> dict[str, Any]:
        groups = self._optimizer.param_groups
        own = members(groups, _ANY)
        return dict(zip(given_names(groups) or naming.numbers(len(own)), own, strict=True))

    def before(self) -> None:
        """Take the settings of a step, and before the first one everything else."""
        self._recorder.settle(facts(self._optimizer)[1])
        if self._recorder.begun:
            return
        named = self._named()
        self._weights = {name: array_of(one, name).copy() for name, one in named.items()}
        count = _ANY.slot("step").template
        kept = {name: one for name, one in named.items() if self._optimizer.state.get(one)}
        self._start = max((int(self._optimizer.state[one].get(count, 1)) for one in kept.values()), default=0)
        self._state = self._kept(kept)

    def _kept(self, named: Mapping[str, Any]) -> AdamState | StateError | None:
        """Return the state of an Adam, or why it cannot be told; None where there is none yet, or it is no Adam."""
        original: Original | None = original_of(type(self._optimizer))
        if isinstance(self._optimizer, StyledAdam) and named:
            return AdamState(**contents(of_style(self._optimizer, named), None))
        if original is None or not named:
            return None
        shared, _ = settings(self._optimizer.param_groups, original.dialect)
        try:
            return AdamState(**contents(live_of(self._optimizer, original, named, shared), None))
        except StateError as error:
            return error

    def after(self) -> None:
        """Take the gradients, and what became of the parameters."""
        found = {name: one for name, one in self._named().items() if one.grad is not None}
        if not found:
            return
        if any(one.grad.layout != torch.strided for one in found.values()):
            self._recorder.stop("recording ended, because a gradient is not dense")
            return
        if not self._recorder.begun:
            weights = [self._weights[name] for name in found]
            self._recorder.before([*found], weights, self._start, lambda: self._chosen(found))
            self._weights, self._state = {}, None
        gradients = [array_of(one.grad, name) for name, one in found.items()]
        self._recorder.after([*found], gradients, lambda: [array_of(one, name) for name, one in found.items()])

    def _chosen(self, names: Mapping[str, Any]) -> AdamState | None:
        """Return the state of some parameters before the first step.

        Raises:
            StateError: the state cannot be told, or one of the parameters has none.
        """
        state = self._state
        if isinstance(state, StateError):
            raise state
        if state is None:
            return None
        if missing := [name for name in names if name not in state.shapes]:
            raise StateError(f"{', '.join(missing)} had no gradient until now, and others had")
        parts: dict[str, Any] = {
            ATTRIBUTES[role]: {name: tensors[name] for name in names} for role, tensors in state.tensors.items()
        }
        return replace(state, **parts)

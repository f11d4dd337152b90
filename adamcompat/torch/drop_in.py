"""Drop-ins for torch.optim.Adam and AdamW: their numbers, in one pass over memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch

from adamcompat.hyperparameters import FIXED_BY_STATE, Adapted, Hyperparameters, resolve
from adamcompat.interrupts import Uninterrupted
from adamcompat.mapping.tables import MAPPING
from adamcompat.torch.arrays import in_memory, same_objects, steps_of, untraced
from adamcompat.torch.held import NAMES, PARAMS, STEP, Held, named
from adamcompat.whole import whole

_WANTED = (torch.float32, torch.float64)
# Settings under which the original's step is another one than that of its defaults.
_OTHERS = tuple(map(named, ("foreach", "fused_kernel", "capturable", "differentiable")))


class Cohort:
    """Hold the parameters of one group that have been updated equally often.

    Args:
        held: the parameters, with the engine that makes their steps.
        states: the optimizer's state of each. The numbers of steps in it become views of one memory.
    """

    def __init__(self, held: Held, states: Sequence[dict[str, Any]]) -> None:
        self.held = held
        self._count = torch.stack([state[STEP] for state in states])
        for state, counter in zip(states, self._count.unbind(), strict=True):
            state[STEP] = counter
        self._memory = self._count.numpy()
        held.settle()

    def stands(self) -> bool:
        """Return whether tensors, state and numbers of steps are what they were after the last step."""
        return self.held.stands() and bool((self._memory == self.held.engine.iterations).all())

    def advance(self) -> Callable[[], None]:
        """Return a function that sets the numbers of steps to what they are after the next one."""
        after = int(self.held.engine.iterations) + 1

        def count() -> None:
            self._memory[...] = after

        return count


class Known:
    """Remember one group as its last step found it.

    Args:
        parameters: those that had a gradient.

    Attributes:
        parameters: the same.
        settings: of the group, or None where the original made the step.
        cohorts: its parameters, or None as long as the original makes the steps.
    """

    def __init__(self, parameters: list[Any]) -> None:
        self.parameters = parameters
        self.settings: dict[str, Any] | None = None
        self.cohorts: list[Cohort] | None = None


class Fused(Adapted):
    """Make the steps of an original in one pass where that gives its numbers, else let it make them."""

    _runtime: ClassVar[str] = "torch"
    _known: list[Known] | None = None
    _states: list[Any] | None = None

    @untraced  # type: ignore[untyped-decorator]
    def _fused_step(self, groups: Sequence[dict[str, Any]], states: Any) -> bool:
        """Make a step, unless it is the original's to make; return whether it was made.

        The original makes the first step, which creates the state, and every step in which other parameters have
        gradients than in the one before.

        Args:
            groups: the groups of the optimizer.
            states: the optimizer's state, a dictionary by parameter.
        """
        known, self._known = self._known or [], []
        kept = list(states.values())
        stands, made, updated = same_objects(kept, self._states or []), True, []
        self._states = kept
        for number, group in enumerate(groups):
            gradients = [parameter.grad for parameter in group[PARAMS]]
            parameters = [p for p, gradient in zip(group[PARAMS], gradients, strict=True) if gradient is not None]
            own = known[number] if number < len(known) and same_objects(known[number].parameters, parameters) else None
            self._known.append(own or Known(parameters))
            made = own is not None and self._prepared(own, group, states, stands=stands) and made
            updated += parameters
        pending = self._pending([cohort for own in self._known for cohort in own.cohorts or ()]) if made else None
        if pending is None:
            return False
        with np.errstate(all="ignore"), Uninterrupted():
            whole([operation for part, advance in pending for operation in (*part.operations, advance)])
        for part, _ in pending:
            part.release()
        torch.autograd.graph.increment_version(updated)
        return True

    @staticmethod
    def _pending(cohorts: Sequence[Cohort]) -> list[tuple[Any, Callable[[], None]]] | None:
        """Do all of a step that can fail; return None where a gradient is the original's to take or to refuse.

        Args:
            cohorts: all parameters that have a gradient.

        Returns:
            For each cohort what is left to write, and a function that sets its numbers of steps.
        """
        found = []
        for cohort in cohorts:
            held = cohort.held
            gradients = [parameter.grad for parameter in held.parameters]
            if (pending := held.pointed(gradients)) is not None:
                found.append((pending, cohort.advance()))
                continue
            try:
                arrays = list(map(torch.Tensor.numpy, gradients))
            except (TypeError, RuntimeError):
                return None
            if not all(map(torch.Tensor.is_contiguous, held.parameters)):
                return None
            found.append((held.ready(arrays), cohort.advance()))
        return found

    def _prepared(self, own: Known, group: dict[str, Any], states: Any, *, stands: bool) -> bool:
        """Let the knowledge of a group follow its settings and tensors; return whether its step can be made here.

        Args:
            own: what the last step found.
            group: the group as it is now.
            states: the optimizer's state, a dictionary by parameter.
            stands: whether the state has the same dictionaries as in the last step.
        """
        settings = self._settings(group)
        # A rate in a tensor is divided in the tensor's own dtype there.
        flat = chain.from_iterable(value if isinstance(value, tuple) else (value,) for value in settings.values())
        if any(settings.get(name) for name in _OTHERS) or any(isinstance(value, torch.Tensor) for value in flat):
            own.cohorts = None
            return False
        if own.cohorts is None or not stands or not all(cohort.stands() for cohort in own.cohorts):
            own.cohorts = self._cohorts(settings, own.parameters, states)
        elif settings != own.settings:
            hyper = self._resolved(settings)
            held = own.cohorts[0].held.engine.hyper.values if own.cohorts else {}
            if hyper is None or any(hyper.values[name] != held.get(name) for name in FIXED_BY_STATE):
                # With other state the tables are made anew; without any, the original says so.
                own.cohorts = self._cohorts(settings, own.parameters, states)
            else:
                for cohort in own.cohorts:
                    cohort.held.engine.assign(hyper)
        own.settings = settings
        return own.cohorts is not None

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {
            fact.name: group[fact.name]
            for fact in self._dialect().accepted
            if fact.name in group and fact.name != PARAMS
        }

    def _resolved(self, settings: dict[str, Any]) -> Hyperparameters | None:
        """Return the hyperparameters of a group; None where they are out of range, which the original does not mind."""
        try:
            return resolve(self._own_adapter(), settings, {})
        except (TypeError, ValueError, RuntimeError):
            return None

    def _cohorts(self, settings: dict[str, Any], parameters: Sequence[Any], states: Any) -> list[Cohort] | None:
        hyper = self._resolved(settings)
        wanted = {STEP, *(name for role, name in NAMES.items() if role != "maximum_second_moment")}
        wanted |= {NAMES["maximum_second_moment"]} if hyper is not None and hyper.values["amsgrad"] else set()
        kept = [states.get(parameter) or {} for parameter in parameters]
        fits = all(in_memory(one) and one.dtype in _WANTED and one.is_contiguous() for one in parameters)
        if hyper is None or not fits or not all(wanted <= state.keys() for state in kept):
            return None
        dialect = self._dialect()
        found = []
        for step in sorted({steps_of(state[STEP]) for state in kept}):
            own = [(p, state) for p, state in zip(parameters, kept, strict=True) if steps_of(state[STEP]) == step]
            held = Held(dialect, MAPPING.numerics[dialect.numerics], hyper, step)
            chosen, theirs = [p for p, _ in own], [state for _, state in own]
            held.add(chosen, theirs, [f"a parameter of shape {tuple(p.shape)}" for p in chosen], lambda _: True)
            found.append(Cohort(held, theirs))
        return found


def _own_step(kind: Any) -> Any:
    """Return the step of an original without the hooks that PyTorch wraps around it: ours has them already."""
    step = kind.step
    return step.__wrapped__ if getattr(step, "hooked", False) else step


class TorchAdam(Fused, torch.optim.Adam):  # type: ignore[misc]
    """Base of the drop-in for torch.optim.Adam."""

    _original: ClassVar[Any] = torch.optim.Adam

    def __init__(self, given: dict[str, Any], extra: dict[str, Any]) -> None:
        self._original.__init__(self, **given, **extra)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: called first, with gradients enabled; it may compute them.

        Returns:
            The value that `closure` returned, or None.

        Raises:
            RuntimeError: a gradient is sparse, or what else the original raises.
        """
        changed = type(self)._init_group is not self._original._init_group
        if changed or torch.compiler.is_compiling():
            return _own_step(self._original)(self, closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            made = self._fused_step(self.param_groups, self.state)
        if not made:
            _own_step(self._original)(self)
        return loss


class TorchAdamW(TorchAdam, torch.optim.AdamW):  # type: ignore[misc]
    """Base of the drop-in for torch.optim.AdamW."""

    _original: ClassVar[Any] = torch.optim.AdamW

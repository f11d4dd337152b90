"""Drop-ins for torch.optim.Adam and AdamW: their numbers, in one pass over memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Any, ClassVar

import numpy as np
import torch

from adamcompat.executors.regions import Regions
from adamcompat.hyperparameters import FIXED_BY_STATE, Adapted, Hyperparameters, resolve, unchanging
from adamcompat.locks import StepLock
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.engine import Pending, write
from adamcompat.torch.arrays import check_memory, in_memory, steps_of, untraced, view_of
from adamcompat.torch.held import NAMES, PARAMS, STEP, Held, named
from adamcompat.torch.looks import Uncopied, addresses_of, same_objects

_WANTED = (torch.float32, torch.float64)
# Settings under which the original's step is another one than that of its defaults.
_OTHERS = tuple(map(named, ("foreach", "fused_kernel", "capturable", "differentiable")))

# What settings are where the arithmetic is Python's own.
_NONE = type(None)
_NUMBERS = (int, float, _NONE)
_SCALING = ("grad_scale", "found_inf")
_DECOUPLED = named("decouples_decay")
# Numbers of steps up to which float32 has every one.
_COUNTED = 2**24


def moments(*, amsgrad: bool) -> list[str]:
    """Return the names of the moments that the state of a parameter has.

    Args:
        amsgrad: whether the maxima are kept too.
    """
    return [name for role, name in NAMES.items() if amsgrad or role != "maximum_second_moment"]


def _plain(tensor: Any) -> bool:
    """Return whether a tensor is nothing but its memory, which is contiguous, and of a dtype that is updated here.

    A subclass may do something else at each operation; tensors of the inference mode have no version.
    """
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and in_memory(tensor)
        and tensor.dtype in _WANTED
        and tensor.is_contiguous()
        and not tensor.is_neg()
        and not tensor.is_inference()
    )


def _counts(counter: Any) -> bool:
    """Return whether a number of steps is one as the original makes it, in memory of this process."""
    return (
        _plain(counter)
        and counter.ndim == 0
        and not counter.requires_grad
        and not counter.is_shared()
        and 0 <= counter.item() < _COUNTED
        and counter.item() == int(counter.item())
    )


def _apart(tensors: Sequence[Any]) -> bool:
    """Return whether no two of some contiguous tensors share memory."""
    spans = sorted((one.data_ptr(), one.data_ptr() + one.nbytes) for one in tensors if one.numel())
    return all(end <= start for (_, end), (start, _) in pairwise(spans))


def _extent(tensor: Any) -> int:
    """Return the number of bytes from the first element of a tensor to the end of the last."""
    if not tensor.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int((last + 1) * tensor.element_size())


class Cohort:
    """Hold the parameters of one group that have been updated equally often.

    Args:
        held: the parameters, with the engine that makes their steps.
        states: the optimizer's state of each. The numbers of steps in it share one memory from here on; the tensors
            stay the same, for whoever keeps a `state_dict()`.

    Attributes:
        held: the same.
        written: all tensors that a step writes.
    """

    def __init__(self, held: Held, states: Sequence[dict[str, Any]]) -> None:
        self.held = held
        counters = [state[STEP] for state in states]
        count = torch.stack(counters)
        for counter, place in zip(counters, count.unbind(), strict=True):
            counter.data = place
        self._memory = view_of(count)
        roles = moments(amsgrad=bool(held.engine.hyper.values["amsgrad"]))
        self.written = [*held.parameters, *(state[key] for state in states for key in (STEP, *roles))]
        self._dtypes = [parameter.dtype for parameter in held.parameters]
        sizes = np.array([one.nbytes for one in self.written], np.int64)
        self._regions = Regions(addresses_of(self.written), sizes)
        held.engine.counts = self._memory
        held.settle()

    def pending(self, gradients: Sequence[Any], cohorts: Sequence[Cohort]) -> Pending | None:
        """Do all of a step that can fail; return None where a gradient is the original's to take or to refuse.

        The original refuses other dtypes than the parameters', and reads a gradient that shares memory with a parameter
        or a part of the state in the middle of the update.

        Args:
            gradients: one for each parameter, in order.
            cohorts: all that the step updates.

        Raises:
            TypeError, ValueError, RuntimeError: a gradient does not fit, or NumPy cannot read it.
        """
        addresses = self.held.addresses(gradients)
        if addresses is None and [gradient.dtype for gradient in gradients] != self._dtypes:
            return None
        if addresses is None:
            check_memory(gradients)
            spans = addresses_of(gradients), np.array(list(map(_extent, gradients)), np.int64)
        else:
            spans = addresses, self.held.lengths
        if any(cohort._regions.touch(*spans).size for cohort in cohorts):
            return None
        if addresses is not None and (pending := self.held.pointed(gradients, addresses, alone=len(cohorts) == 1)):
            return pending
        return self.held.ready(list(map(torch.Tensor.numpy, gradients)))

    def stands(self) -> bool:
        """Return whether tensors, state and numbers of steps are what they were after the last step."""
        return self.held.stands() and bool((self._memory == self.held.engine.iterations).all())


class Known:
    """Remember one group as its last step found it.

    Args:
        parameters: those that had a gradient.

    Attributes:
        parameters: the same.
        settings: of the group at the last step; None before the first, and where they were no plain numbers.
        cohorts: its parameters, or None as long as the original makes the steps.
    """

    def __init__(self, parameters: list[Any]) -> None:
        self.parameters = parameters
        self.settings: dict[str, Any] | None = None
        self.cohorts: list[Cohort] | None = None

    def parts(self, gradients: list[Any]) -> list[tuple[Cohort, list[Any]]]:
        """Return the cohorts, each with the gradients of its parameters.

        Args:
            gradients: one for each of the parameters, in order.
        """
        cohorts = self.cohorts or []
        if len(cohorts) == 1:
            return [(cohorts[0], gradients)]
        found = dict(zip(map(id, self.parameters), gradients, strict=True))
        return [(cohort, [found[id(parameter)] for parameter in cohort.held.parameters]) for cohort in cohorts]


class Fused(Adapted):
    """Make the steps of an original in one pass where that gives its numbers, else let it make them."""

    _runtime: ClassVar[str] = "torch"
    defaults: dict[str, Any]
    _known: list[Known] | None = None
    _states: list[Any] | None = None
    _lock: StepLock | None = None

    @untraced  # type: ignore[untyped-decorator]
    def _fused_step(self, groups: Sequence[dict[str, Any]], states: Any) -> bool:
        """Make a step, unless it is the original's to make; return whether it was made.

        The original makes the first step, which creates the state, and every step in which other parameters have
        gradients than in the one before.

        Args:
            groups: the groups of the optimizer.
            states: the optimizer's state, a dictionary by parameter.
        """
        known, self._known = self._known or [], Uncopied()
        # Of an optimizer that unscales, and of what sees each of the original's operations.
        seen = torch._C._len_torch_dispatch_stack() or any(getattr(self, one, None) is not None for one in _SCALING)
        kept = [*states, *states.values()]
        stands, made = same_objects(kept, self._states or []), not seen
        if not stands:
            self._states = Uncopied(kept)
        parts: list[tuple[Cohort, list[Any]]] = []
        for number, group in enumerate(groups):
            parameters, gradients = group[PARAMS], [parameter.grad for parameter in group[PARAMS]]
            if _NONE in set(map(type, gradients)):
                parameters = [one for one, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
                gradients = [gradient for gradient in gradients if gradient is not None]
            own = known[number] if number < len(known) and same_objects(known[number].parameters, parameters) else None
            self._known.append(own or Known(list(parameters)))
            made = own is not None and self._prepared(own, group, states, stands=stands) and made
            if made and own is not None:
                parts += own.parts(gradients)
        if not made:
            return False
        pending = []
        cohorts = [cohort for cohort, _ in parts]
        try:
            for cohort, gradients in parts:
                if (part := cohort.pending(gradients, cohorts)) is None:
                    return False
                pending.append(part)
        except (TypeError, ValueError, RuntimeError):
            # The original has its own words for a gradient that does not fit.
            return False
        write(pending)
        torch.autograd.graph.increment_version(chain.from_iterable(cohort.written for cohort in cohorts))
        return True

    def _prepared(self, own: Known, group: dict[str, Any], states: Any, *, stands: bool) -> bool:
        """Let the knowledge of a group follow its settings and tensors; return whether its step can be made here.

        Args:
            own: what the last step found.
            group: the group as it is now.
            states: the optimizer's state, a dictionary by parameter.
            stands: whether the state has the same dictionaries as in the last step.
        """
        settings = self._settings(group)
        # Numbers never change, so that the same ones need no second look.
        same = own.settings is not None and same_objects(list(settings.values()), list(own.settings.values()))
        if not (same or self._plain_numbers(settings)) or not self._complete(group, settings):
            own.cohorts = own.settings = None
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

    @staticmethod
    def _plain_numbers(settings: dict[str, Any]) -> bool:
        """Return whether settings are numbers of Python, and none asks for another step than that of the defaults.

        A number of another type (a tensor, a float32 of NumPy) makes the original compute in its own dtype.
        """
        flat = chain.from_iterable(value if type(value) is tuple else (value,) for value in settings.values())
        return all(isinstance(value, _NUMBERS) for value in flat) and not any(map(settings.get, _OTHERS))

    def _complete(self, group: dict[str, Any], settings: dict[str, Any]) -> bool:
        """Return whether a group has every setting, and decays as its class does."""
        return group.keys() >= self.defaults.keys() and (_DECOUPLED in settings or bool(group.get(_DECOUPLED, True)))

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        names = [fact.name for fact in self._dialect().accepted if fact.name != PARAMS]
        return unchanging({name: group[name] for name in names if name in group})

    @staticmethod
    def _fits(parameter: Any, state: dict[str, Any], roles: Sequence[str]) -> bool:
        """Return whether the state of a parameter is as the original makes it.

        Args:
            parameter: a tensor.
            state: its state.
            roles: the names of the moments that a step needs.
        """
        kept: list[Any] = [state.get(role) for role in roles]
        return _counts(state.get(STEP)) and all(
            _plain(one)
            and one.dtype == parameter.dtype
            and one.shape == parameter.shape
            and one.stride() == parameter.stride()
            and not one.requires_grad
            for one in kept
        )

    def _resolved(self, settings: dict[str, Any]) -> Hyperparameters | None:
        """Return the hyperparameters of a group; None where they are out of range, which the original does not mind."""
        try:
            return resolve(self._own_adapter(), settings, {})
        except (TypeError, ValueError, RuntimeError):
            return None

    def _cohorts(self, settings: dict[str, Any], parameters: Sequence[Any], states: Any) -> list[Cohort] | None:
        hyper = self._resolved(settings)
        if hyper is None or not all(map(_plain, parameters)):
            return None
        roles = moments(amsgrad=bool(hyper.values["amsgrad"]))
        kept = [states.get(parameter) or {} for parameter in parameters]
        if not all(self._fits(parameter, state, roles) for parameter, state in zip(parameters, kept, strict=True)):
            return None
        # Whatever shares memory is updated in the original's order.
        if not _apart([*parameters, *(state[key] for state in kept for key in (STEP, *roles))]):
            return None
        dialect = self._dialect()
        found = []
        alike: dict[tuple[int, Any], list[tuple[Any, dict[str, Any]]]] = {}
        for parameter, state in zip(parameters, kept, strict=True):
            alike.setdefault((steps_of(state[STEP]), state[STEP].dtype), []).append((parameter, state))
        for (step, _), own in alike.items():
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
        # Of the class or of the object alone.
        changed = getattr(self._init_group, "__func__", None) is not self._original._init_group
        if changed or torch.compiler.is_compiling():
            return _own_step(self._original)(self, closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # Of two steps that threads make at once one would be lost.
        lock = self._lock or self.__dict__.setdefault("_lock", StepLock())
        with lock():
            with torch.no_grad():
                made = self._fused_step(self.param_groups, self.state)
            if not made:
                _own_step(self._original)(self)
        return loss


class TorchAdamW(TorchAdam, torch.optim.AdamW):  # type: ignore[misc]
    """Base of the drop-in for torch.optim.AdamW."""

    _original: ClassVar[Any] = torch.optim.AdamW

"""Record MindSpore's optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from adamcompat.groups import Group
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.apply_gradients import ApplyGradientsAdam
from adamcompat.mindspore.arguments import ignored_names
from adamcompat.mindspore.members import counter_of, member_of, members
from adamcompat.mindspore.torch_style import StepAdam
from adamcompat.recording.record import plain_values, refuse_twice
from adamcompat.recording.recorder import Recorder
from adamcompat.schedules import Schedule
from adamcompat.state.model import AdamState
from adamcompat.state.reading import contents
from adamcompat.state.runtimes import find


def facts(optimizer: Any) -> tuple[str | None, dict[str, Any] | None]:
    """Return the name by which `adamcompat.compare` knows an optimizer, and its hyperparameters.

    Returns:
        The name, None where it has none; and native names to values, None where they are not known, change from step to
        step, or cannot be replayed.
    """
    kind = type(optimizer)
    adapters = [a for a in MAPPING.adapters if (f"{a.module}.adapters", a.name) == (kind.__module__, kind.__name__)]
    original = next((member.dialect for member in members() if kind is member.kind), None)
    if adapters:
        name, dialect = f"{adapters[0].module}.{adapters[0].name}", MAPPING.dialects[adapters[0].dialect]
    elif original is not None:
        name, dialect = original.name, original
    else:
        return None, None
    if dialect.overrides:
        return name, _of_settings(optimizer, dialect)
    if dialect.protocol == "call":
        groups = _groups(optimizer)
        return name, None if groups is None else plain_values(_of_call(optimizer, dialect), dialect, groups)
    labels = {fact.name for fact in dialect.accepted if MAPPING.scope(fact) == "label"}
    config = {key: value for key, value in optimizer.get_config().items() if key not in labels and value is not None}
    return name, plain_values(config, dialect)


def _of_settings(optimizer: Any, dialect: Dialect) -> dict[str, Any] | None:
    """Return the settings of all groups; None where groups differ, which cannot be replayed."""
    stock = member_of(optimizer)
    ignored = dialect.ignored if stock is not None and type(optimizer) is stock.kind else ()
    own = [fact.name for fact in dialect.accepted if MAPPING.scope(fact) == "hyperparameter"]
    found = [
        {name: _plain(group[name]) for name in own} | dict.fromkeys(ignored, False) for group in optimizer.param_groups
    ]
    numerics = {"numerics": optimizer._grouped.numerics.name} if isinstance(optimizer, StepAdam) else {}
    return None if any(one != found[0] for one in found) else plain_values({**found[0], **numerics}, dialect)


def _groups(optimizer: Any) -> list[tuple[str, Group]] | None:
    """Return each Parameter's name and group; empty where they are not grouped, None where that cannot be replayed."""
    member = member_of(optimizer)
    assert member is not None
    centralizes, stock = "centralize" in member.dialect.stages, type(optimizer) is member.kind
    # Where an original itself centralizes depends on the device too.
    if optimizer.dynamic_lr or (
        optimizer.is_group and stock and centralizes and any(optimizer.grad_centralization_flags)
    ):
        return None
    if not optimizer.is_group:
        return []
    found = []
    for i, parameter in enumerate(optimizer.parameters):
        rate, decay = optimizer.learning_rate[i] if optimizer.is_group_lr else None, optimizer.group_weight_decay[i]
        if isinstance(decay, nn.Cell):
            return None
        group = Group(
            None if rate is None else Schedule(_plain(rate), "lr"),
            # MindSpore keeps it times the loss scale.
            Schedule(decay / optimizer.loss_scale, "weight_decay"),
            centralizes and not stock and optimizer._centralizes(i),
        )
        found.append((parameter.name, group))
    return found


def _of_call(optimizer: Any, dialect: Dialect) -> dict[str, Any]:
    """Return the hyperparameters that an original keeps as attributes."""
    native: dict[str, Any] = {}
    for fact in dialect.accepted:
        value = getattr(optimizer, fact.name, None)
        if isinstance(value, tuple):
            # One for each Parameter, and said by its group.
            continue
        if MAPPING.scope(fact) == "hyperparameter" and value is not None:
            native[fact.name] = _plain(value)
    for decay in (fact for fact in dialect.accepted if fact.type == "decay"):
        if isinstance(native.get(decay.name), float):
            # MindSpore keeps it times the loss scale.
            native[decay.name] /= optimizer.loss_scale
    return {name: value for name, value in native.items() if name not in ignored_names(dialect, native)}


def _plain(value: Any) -> Any:
    """Return a number; of one that is kept in float32 the shortest decimal that means the same."""
    if isinstance(value, (Tensor, Parameter)) and value.size == 1:
        return float(str(np.float32(value.asnumpy().reshape(()))))
    return value


def instrument(optimizer: Any, recorder: Recorder) -> Callable[[], None]:
    """Record what the optimizer is called with.

    The class of the instance becomes a subclass with a method of its own that compiled code does not look at: a
    hook of a Cell would be compiled, and fail.

    Args:
        optimizer: it is instrumented in place.
        recorder: takes what there is before and after each step.

    Returns:
        A function that undoes it.

    Raises:
        RuntimeError: the mode is GRAPH.
        ValueError: the optimizer is being recorded already.
    """
    if ms.get_context("mode") == ms.GRAPH_MODE:
        raise RuntimeError(
            "MindSpore is in GRAPH mode, where nothing can be copied out of a step; record with "
            "mindspore.set_context(mode=mindspore.PYNATIVE_MODE)"
        )
    kind: Any = type(optimizer)
    refuse_twice(getattr(kind, "_recorded", False))

    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        gradients = arguments[0] if arguments and isinstance(arguments[0], (tuple, list)) else ()
        pairs = list(zip(gradients, self.parameters, strict=False))
        steps = int(counter_of(self).asnumpy().reshape(-1)[0])
        return _recorded(self, recorder, pairs, steps, lambda: super(recorded, self).__call__(*arguments, **keywords))

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        gradients = list(grads)
        variables = list(self.trainable_parameters if trainable_variables is None else trainable_variables)
        pairs = list(zip(gradients, variables, strict=False))
        step = super(recorded, self).apply
        return _recorded(self, recorder, pairs, self.iterations, lambda: step(gradients, trainable_variables))

    own = {"apply": apply} if hasattr(kind, "apply_gradients") else {"__call__": call}
    recorded: Any = type(kind.__name__, (kind,), {**own, "__module__": kind.__module__, "_recorded": True})
    object.__setattr__(optimizer, "__class__", recorded)

    def undo() -> None:
        object.__setattr__(optimizer, "__class__", kind)

    return undo


def _keeps(optimizer: Any) -> bool:
    """Return whether an optimizer is one of the originals, or was built."""
    kept = member_of(optimizer) is not None or isinstance(optimizer, StepAdam)
    return kept or (isinstance(optimizer, ApplyGradientsAdam) and optimizer.built)


def _recorded(
    optimizer: Any, recorder: Recorder, pairs: list[tuple[Any, Any]], steps: int, step: Callable[[], Any]
) -> Any:
    """Make a step and record it."""
    found = [(gradient, parameter) for gradient, parameter in pairs if gradient is not None]
    names = [parameter.name for _, parameter in found]
    if not recorder.begun:

        def kept() -> AdamState | None:
            if not _keeps(optimizer):
                return None
            return AdamState(**contents(find(optimizer, None, None, build=False), None, {name: name for name in names}))

        recorder.before(names, [parameter.asnumpy() for _, parameter in found], steps, kept)
    result = step()
    if all(isinstance(gradient, Tensor) for gradient, _ in found):
        arrays = [gradient.asnumpy() for gradient, _ in found]
        recorder.after(names, arrays, lambda: [parameter.asnumpy() for _, parameter in found])
    else:
        recorder.stop("recording ended, because a gradient is no dense Tensor")
    return result

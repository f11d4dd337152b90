"""Recording of MindSpore's optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from adamcompat.mapping.tables import MAPPING
from adamcompat.recording.record import plain_values, refuse_twice
from adamcompat.recording.recorder import Recorder


def facts(optimizer: Any) -> tuple[str | None, dict[str, Any] | None]:
    """The name to compare it by, and its hyperparameters."""
    kind = type(optimizer)
    ours = [
        f"{a.module}.{a.name}"
        for a in MAPPING.adapters
        if kind.__module__ == f"{a.module}.adapters" and kind.__name__ == a.name
    ]
    if kind is not nn.Adam and not ours:
        return None, None
    name = ours[0] if ours else "mindspore"
    if optimizer.is_group or optimizer.dynamic_lr:
        return name, None
    native: dict[str, Any] = {}
    for fact in MAPPING.dialects["mindspore"].accepted:
        value = getattr(optimizer, fact.name, None)
        if MAPPING.canonical[fact.canonical].scope == "hyperparameter" and value is not None:
            native[fact.name] = _plain(value)
    decay = MAPPING.dialects["mindspore"].named("l2_weight_decay")
    scale = MAPPING.dialects["mindspore"].named("loss_scale")
    assert decay is not None
    assert scale is not None
    if decay.name in native and isinstance(native[decay.name], float):
        # nn.Adam keeps it times the loss scale.
        native[decay.name] /= native[scale.name]
    return name, plain_values(native)


def _plain(value: Any) -> Any:
    """A number; of one that is kept in float32 the shortest decimal that means the same."""
    if isinstance(value, (Tensor, Parameter)) and value.size == 1:
        return float(str(np.float32(value.asnumpy().reshape(()))))
    return value


def instrument(optimizer: Any, recorder: Recorder) -> Callable[[], None]:
    """Record what the optimizer is called with; returns how to undo it.

    The class of the instance becomes a subclass with a `__call__` of its own, which compiled code does not look at:
    a hook of a Cell would be compiled, and fail.

    Raises:
        RuntimeError: the mode is GRAPH.
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
        names = [parameter.name for parameter in self.parameters]
        if not recorder.begun:
            start = int(self.global_step.asnumpy().reshape(-1)[0])
            recorder.before(names, [parameter.asnumpy() for parameter in self.parameters], start)
        result = super(recorded, self).__call__(*arguments, **keywords)
        if all(isinstance(gradient, Tensor) for gradient in gradients):
            arrays = [gradient.asnumpy() for gradient in gradients]
            recorder.after(names, arrays, lambda: [parameter.asnumpy() for parameter in self.parameters])
        else:
            recorder.stop("recording ended, because a gradient is no dense Tensor")
        return result

    recorded: Any = type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__, "_recorded": True})
    object.__setattr__(optimizer, "__class__", recorded)

    def undo() -> None:
        object.__setattr__(optimizer, "__class__", kind)

    return undo

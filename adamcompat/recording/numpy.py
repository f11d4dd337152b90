"""Record the optimizers on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import RowSparse
from adamcompat.numpy.optimizer import NumPyAdam
from adamcompat.numpy.step_call import StepAdam
from adamcompat.recording.record import plain_values, refuse_twice
from adamcompat.recording.recorder import Recorder
from adamcompat.state.model import AdamState
from adamcompat.state.reading import contents
from adamcompat.state.runtimes import find


def facts(optimizer: NumPyAdam | StepAdam) -> tuple[str | None, dict[str, Any] | None]:
    """Return the name by which `adamcompat.compare` knows an optimizer, and its hyperparameters.

    Returns:
        The name; and native names to values, None where groups in PyTorch's style differ, or where a value changes from
        step to step.
    """
    if isinstance(optimizer, StepAdam):
        return _facts_of_step_call(optimizer)
    adapter, dialect = optimizer._own_adapter(), optimizer._dialect()
    groups = [(slot.name, slot.group) for slot in optimizer._engine.slots] if optimizer._grouped else []
    own = {fact.name for fact in dialect.accepted if MAPPING.scope(fact) == "hyperparameter"}
    native = {name: value for name, value in optimizer._hyper.native.items() if name in own}
    return f"{adapter.module}.{adapter.name}", plain_values(
        {**native, "numerics": optimizer._numerics}, dialect, groups
    )


def _facts_of_step_call(optimizer: StepAdam) -> tuple[str | None, dict[str, Any] | None]:
    """Return the same for an optimizer whose groups hold the hyperparameters; None for these where groups differ."""
    adapter, dialect = optimizer._own_adapter(), optimizer._dialect()
    own = {fact.name for fact in dialect.accepted if MAPPING.scope(fact) == "hyperparameter"}
    first, *others = ({name: group[name] for name in own} for group in optimizer.param_groups)
    name = f"{adapter.module}.{adapter.name}"
    if any(other != first for other in others):
        return name, None
    return name, plain_values({**first, "numerics": optimizer._numerics}, dialect, [])


def instrument(optimizer: NumPyAdam | StepAdam, recorder: Recorder) -> Callable[[], None]:
    """Record what the engine is given.

    Args:
        optimizer: it is instrumented in place.
        recorder: takes what there is before and after each step.

    Returns:
        A function that undoes it.

    Raises:
        ValueError: the optimizer is being recorded already.
    """
    if isinstance(optimizer, StepAdam):
        return _instrument_step_call(optimizer, recorder)
    engine = optimizer._engine
    refuse_twice("step" in vars(engine))
    original = engine.step

    def step(indices: Sequence[int], gradients: Sequence[Any]) -> None:
        slots = [engine.slots[i] for i in indices]
        names = [slot.name for slot in slots]

        def kept() -> AdamState:
            return AdamState(**contents(find(optimizer, None, None, build=False), None, {name: name for name in names}))

        recorder.before(
            names,
            [slot.array for slot in slots],
            int(engine.iterations.reshape(())),
            kept,
        )
        dense = [
            gradient.dense(slot.array.shape) if isinstance(gradient, RowSparse) else gradient
            for slot, gradient in zip(slots, gradients, strict=True)
        ]
        original(indices, gradients)
        recorder.after(names, dense, lambda: [slot.array for slot in slots])

    engine.step = step  # type: ignore[method-assign]

    def undo() -> None:
        del engine.step

    return undo


def _instrument_step_call(optimizer: StepAdam, recorder: Recorder) -> Callable[[], None]:
    """Record each call of step(), and return a function that undoes it."""
    refuse_twice("step" in vars(optimizer))
    original = optimizer.step

    def step(closure: Callable[[], Any] | None = None) -> Any:
        loss = closure() if closure is not None else None
        chosen = [parameter for parameter in optimizer.parameters() if parameter.grad is not None]
        names = [optimizer.name_of(parameter) for parameter in chosen]

        def kept() -> AdamState:
            return AdamState(**contents(find(optimizer, None, None, build=False), None, {name: name for name in names}))

        recorder.before(names, [parameter.data for parameter in chosen], optimizer.steps(), kept)
        dense = [
            parameter.grad.dense(parameter.shape) if isinstance(parameter.grad, RowSparse) else parameter.grad
            for parameter in chosen
        ]
        original()
        recorder.after(names, dense, lambda: [parameter.data for parameter in chosen])
        return loss

    optimizer.step = step  # type: ignore[method-assign]

    def undo() -> None:
        del optimizer.step

    return undo

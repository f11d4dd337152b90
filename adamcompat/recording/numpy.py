"""Recording of the optimizers on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import RowSparse
from adamcompat.numpy.optimizer import NumPyAdam
from adamcompat.recording.record import plain_values, refuse_twice
from adamcompat.recording.recorder import Recorder
from adamcompat.state.model import AdamState
from adamcompat.state.reading import contents
from adamcompat.state.runtimes import find


def facts(optimizer: NumPyAdam) -> tuple[str | None, dict[str, Any] | None]:
    """The name to compare it by, and its hyperparameters."""
    adapter, dialect = optimizer._own_adapter(), optimizer._dialect()
    groups = [(slot.name, slot.group) for slot in optimizer._engine.slots] if optimizer._grouped else []
    own = {fact.name for fact in dialect.accepted if MAPPING.scope(fact) == "hyperparameter"}
    native = {name: value for name, value in optimizer._hyper.native.items() if name in own}
    return f"{adapter.module}.{adapter.name}", plain_values(
        {**native, "numerics": optimizer._numerics}, dialect, groups
    )


def instrument(optimizer: NumPyAdam, recorder: Recorder) -> Callable[[], None]:
    """Record what the engine is given; returns how to undo it."""
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

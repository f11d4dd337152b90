"""Share between both calling conventions: hyperparameters, state, locking, copying."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adamcompat.hyperparameters import (
    FIXED_BY_STATE,
    Adapted,
    Hyperparameters,
    named_numerics,
    resolve,
    say_borrowed,
    unknown_keyword,
)
from adamcompat.locks import StepLock
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import Array, Variable
from adamcompat.numpy.engine import Engine

LearningRate: TypeAlias = float | Sequence[float] | NDArray[Any] | Callable[[int], Any] | Callable[[], Any]
Decay: TypeAlias = float | Callable[[int], Any] | Callable[[], Any]
Beta: TypeAlias = float | Callable[[], float]
Parameters: TypeAlias = Iterable[Variable] | Iterable[Mapping[str, Any]]


class NumPyAdam(Adapted):
    """Base of the adapters on NumPy arrays; use one of its subclasses."""

    _runtime: ClassVar[str] = "numpy"
    _step_shape: ClassVar[tuple[int, ...]] = ()
    _step_dtype: ClassVar[type[np.integer[Any]]] = np.int64
    # How far away the user's call is, for warnings.
    _depth: ClassVar[int] = 4
    # Whether the call had parameter groups.
    _grouped: bool = False

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> None:
        rounding = named_numerics(numerics, self._own_adapter())
        adapter = self._own_adapter()
        self._hyper = resolve(adapter, given, extra)
        self._given = {name: value for name, value in self._hyper.native.items() if name in given or name in extra}
        self._numerics = numerics
        self._engine = Engine(
            self._dialect(),
            rounding,
            self._hyper,
            np.zeros(self._step_shape, self._step_dtype),
            self._error("wrong_gradients"),
        )
        # Always: of two steps that threads make at once one would be lost.
        self._lock = StepLock()
        say_borrowed(adapter, extra, self._depth + 1)

    # A hyperparameter is an attribute under its native name; assigning to it validates it.

    def __getattr__(self, name: str) -> Any:
        hyper = self.__dict__.get("_hyper")
        if hyper is not None and name in hyper.native:
            return hyper.native[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{self._hint(name)}")

    def _hint(self, name: str) -> str:
        if name.startswith("_") or not any(d.find(name) for d in MAPPING.dialects.values()):
            return ""
        return f": {unknown_keyword(name, self._own_adapter())}"

    def __setattr__(self, name: str, value: Any) -> None:
        hyper: Hyperparameters | None = self.__dict__.get("_hyper")
        if name.startswith("_") or hyper is None or hasattr(type(self), name):
            object.__setattr__(self, name, value)
            return
        if name not in hyper.native:
            if hint := self._hint(name):
                raise AttributeError(f"cannot set {name!r}{hint}")
            object.__setattr__(self, name, value)
            return
        fact = self._dialect().find(name)
        fixed = fact is not None and any(part.canonical in FIXED_BY_STATE for part in fact.parts)
        if fixed and self._engine.slots:
            raise AttributeError(f"{name!r} decides which state is kept and cannot change after the first step")
        given = {**self._given, name: value}
        signature = {item.name for item in self._dialect().parameters}
        resolved = resolve(
            self._own_adapter(),
            {key: item for key, item in given.items() if key in signature},
            {key: item for key, item in given.items() if key not in signature},
        )
        self._engine.hyper = self._hyper = resolved
        self._given = given

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a number, or the list or callable that was given.

        Assigning a number, list or callable replaces it from the next step on.
        """
        schedule = self._hyper.schedules["learning_rate"]
        return float(self._engine.rate) if schedule.constant else schedule.given

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        self._given[self._engine.set_learning_rate(value)] = value

    def _guard(self) -> Any:
        return self._lock()

    def _state(self) -> list[tuple[str, str, Array]]:
        """Return role, name and live array of everything that is kept, in the order of the original."""
        engine, found = self._engine, []
        single: dict[str, Array | None] = {
            "step": engine.iterations,
            "learning_rate": engine.rate if self._hyper.schedules["learning_rate"].constant else None,
        }
        betas = engine.powers
        for position, role in enumerate(("beta1_power", "beta2_power")):
            single[role] = betas[position : position + 1].reshape(()) if betas is not None else None
        for block in self._dialect().slots:
            for slot in block:
                if not slot.per_parameter and single.get(slot.role) is not None:
                    array = single[slot.role]
                    assert array is not None
                    found.append((slot.role, slot.template, array))
            for entry in engine.slots:
                kept = entry.kept
                found += [
                    (slot.role, slot.name_for(entry.name), kept[slot.role])
                    for slot in block
                    if slot.per_parameter and slot.role in kept
                ]
        return found

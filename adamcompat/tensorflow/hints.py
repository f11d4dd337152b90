"""Name the types of the TensorFlow adapters' parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

# A number, a tensor, a LearningRateSchedule or a callable of nothing; in MindSpore's call also a list
# or a callable of the step.
LearningRate: TypeAlias = float | Sequence[float] | Callable[..., Any] | Any
Beta: TypeAlias = float | Callable[[], Any] | Any
Decay: TypeAlias = float | Callable[..., Any]
# Variables of TensorFlow or Keras, or groups of them.
Parameters: TypeAlias = Iterable[Any] | Iterable[Mapping[str, Any]]

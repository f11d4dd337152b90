"""What the parameters of the TensorFlow adapters may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

# A number, a tensor, a LearningRateSchedule or a callable of nothing.
LearningRate: TypeAlias = float | Callable[..., Any] | Any
Beta: TypeAlias = float | Callable[[], Any] | Any

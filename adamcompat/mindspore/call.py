"""MindSpore's calling convention on MindSpore's Parameters: ``optimizer(gradients)``."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from mindspore import context

from adamcompat.corrections import wanted
from adamcompat.hyperparameters import exception
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.arguments import checked
from adamcompat.mindspore.gradients import check
from adamcompat.mindspore.graph import GraphAdam
from adamcompat.mindspore.notes import without_deprecations
from adamcompat.mindspore.pynative import PyNativeStep
from adamcompat.mindspore.schedules import check_length


class CallAdam(GraphAdam):
    """Base of the adapters that are called as MindSpore's optimizers are.

    GRAPH mode and functions under ``mindspore.jit`` compile nn.Adam's own construct. In PYNATIVE mode
    on a CPU a call runs the compiled update of this package on the Parameters' own memory; on
    another device it runs nn.Adam.
    """

    _adapter: ClassVar[str]

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, corrections: bool | None) -> None:
        adapter = MAPPING.adapter("mindspore", self._adapter)
        arguments = checked(adapter, given, extra)
        with without_deprecations():
            super().__init__(**arguments)
        self._dialect = MAPPING.dialects[adapter.dialect]
        self.corrections = wanted(corrections, exception(self._dialect.errors.wrong_type))
        self._pynative = PyNativeStep(self, self._dialect)
        self._lock = threading.RLock()

    def __call__(self, gradients: Any) -> Any:
        """Make one step.

        Args:
            gradients: a tuple with one Tensor for each Parameter, in the order of `parameters`.

        Returns:
            One True for each Parameter.

        Raises:
            TypeError: `gradients` is no tuple of Tensors, or one has a dtype that would lose digits.
            ValueError: their number or a shape is wrong. In either case nothing has changed.
            RuntimeError: a list of learning rates has no value for this step.
        """
        if isinstance(gradients, list):
            gradients = tuple(gradients)
        if context._get_mode() != context.PYNATIVE_MODE or not self._pynative.ready():
            return self._by_construct(gradients)
        with self._lock:
            # Cell.__call__ runs hooks and whatever else belongs to a call, and then this.
            self.__dict__["construct"] = self._pynative
            try:
                return super().__call__(gradients)
            finally:
                del self.__dict__["construct"]

    def _by_construct(self, gradients: Any) -> Any:
        self._check_rates()
        try:
            return super().__call__(gradients)
        except Exception:
            # If the gradients are to blame, this says so better.
            check(gradients, self.parameters, self._dialect)
            raise

    def _check_rates(self) -> None:
        """Refuse a step without a learning rate, which nn.Adam's graph would not survive."""
        if self.dynamic_lr:
            rates = self.learning_rate if self.is_group_lr else [self.learning_rate]
            check_length(list(rates), int(self.global_step.asnumpy()[0]))

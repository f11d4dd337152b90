"""Learning rates and decays of one step, as nn.Adam's own graph computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn
from mindspore.nn.optim.optimizer import _IteratorLearningRate


def check_length(rates: Sequence[Any], step: int) -> None:
    """Refuse a step for which a list of learning rates has no value.

    Raises:
        RuntimeError: a list is too short.
    """
    for rate in rates:
        if isinstance(rate, _IteratorLearningRate) and step >= rate.learning_rate.size:
            raise RuntimeError(
                f"learning_rate is a list of {rate.learning_rate.size} values, but this is step {step + 1}; give one "
                f"value for each step, or a LearningRateSchedule"
            )


class Sources:
    """Where the numbers of a step come from: Parameters, Tensors, lists and Cells of the step.

    Cells without Parameters are compiled into one graph, because that is how nn.Adam runs them and
    because running them operator by operator is slower than the update. Cells with Parameters are
    not: a graph would keep the values that they held when it was compiled.

    Args:
        sources: each without repetition.
    """

    def __init__(self, sources: Sequence[Any]) -> None:
        self._sources = list(sources)
        self._compiled = [
            i for i, source in enumerate(sources) if isinstance(source, nn.Cell) and not source.parameters_dict()
        ]
        self._graph = _Together([self._sources[i] for i in self._compiled]) if self._compiled else None

    def at(self, step: int) -> list[float]:
        """The value of each source at a step, counted from 0.

        Raises:
            RuntimeError: a list of learning rates is too short.
        """
        check_length(self._sources, step)
        found: dict[int, Any] = {}
        if self._graph is not None:
            # Not through Cell.__call__, which takes longer than the graph.
            values = self._graph.construct(_step(step))
            found = dict(zip(self._compiled, values, strict=True))
        return [_number(found.get(i, source), step) for i, source in enumerate(self._sources)]


def _step(step: int) -> Any:
    return Tensor(np.array([step], np.int32))


class _Together(nn.Cell):  # type: ignore[misc]
    """Several Cells as one graph.

    A Cell, because each optimizer has its own: of a function that is compiled a second time MindSpore warns.

    Args:
        cells: without Parameters.
    """

    def __init__(self, cells: Sequence[Any]) -> None:
        super().__init__(auto_prefix=False)
        self.cells_together = nn.CellList(cells, auto_prefix=False)

    @mindspore.jit  # type: ignore[untyped-decorator]
    def construct(self, step: Any) -> Any:
        """The value of each at a step."""
        found: Any = ()
        for cell in self.cells_together:
            found += (cell(step),)
        return found


def _number(source: Any, step: int) -> float:
    if isinstance(source, _IteratorLearningRate):
        return float(source.learning_rate.asnumpy()[step])
    value = source(_step(step)) if isinstance(source, nn.Cell) else source
    return float(value.item())

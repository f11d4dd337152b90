"""Learning rates and decays of one step, as MindSpore's own graph computes them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.nn.optim.optimizer import _ConvertToCell, _IteratorLearningRate
from numpy.typing import NDArray

from adamcompat.mindspore.memory import addresses, view

_F4 = np.dtype("f4")


def check_length(rates: Sequence[Any], step: int) -> None:
    """Refuse a step for which a list of learning rates has no value.

    Args:
        rates: learning rates as MindSpore holds them; only lists are looked at.
        step: the number of the step, 0 at the first.

    Raises:
        RuntimeError: a list is too short.
    """
    for rate in rates:
        if isinstance(rate, _IteratorLearningRate) and step >= rate.learning_rate.size:
            raise RuntimeError(
                f"learning_rate is a list of {rate.learning_rate.size} values, but this is step {step + 1}; give one "
                f"value for each step, or a LearningRateSchedule"
            )


class Place:
    """Read the memory of a Tensor, as the graph of the original does.

    The graph keeps the memory that it saw first. What is written into it later counts (`ops.assign`, `copy_`); what
    is put in its place does not (`set_data`, `assign_value`).

    Args:
        tensor: a Tensor of float32.
        live: look at what was put in its place after all.
        stale: called where that is not looked at.
    """

    def __init__(self, tensor: Any, live: bool, stale: Callable[[], None]) -> None:
        self._tensor = tensor
        self._live = live
        self._stale = stale
        self.take()

    def take(self) -> None:
        """Take the memory that the Tensor has now, to read it from here on."""
        if self._tensor.has_init:
            self._tensor.init_data()
        # A view shares the memory, and keeps it.
        self._kept = self._tensor.view(self._tensor.shape)
        self._address: int = self._tensor.data_ptr()
        self._values: NDArray[Any] = view(self._address, tuple(self._tensor.shape), _F4)

    def __call__(self) -> NDArray[Any]:
        """Return the values, as an array over the memory."""
        if self._tensor.data_ptr() != self._address:
            if self._live:
                self.take()
            else:
                self._stale()
        return self._values


class Constants:
    """Read Tensors of one float32 each, in the memory that they have now, which is kept.

    Args:
        tensors: of one element each.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._tensors = tensors
        self._found = addresses(tensors).tobytes()
        self._kept = [tensor.view(tensor.shape) for tensor in tensors]
        self._read = [ctypes.c_float.from_address(tensor.data_ptr()) for tensor in self._kept]

    def now(self) -> list[float]:
        """Return the values of the Tensors: something may have been written there."""
        return [number.value for number in self._read]

    def moved(self) -> bool:
        """Return whether something has taken the place of their memory."""
        return addresses(self._tensors).tobytes() != self._found


class Sources:
    """Read the numbers of a step: from Parameters, Tensors, lists and Cells of the step.

    Cells are compiled into one graph, because that is how the original runs them and because running them operator by
    operator is slower than the update. The graph keeps the Parameters of Cells as the original's does; `live` ones are
    therefore not compiled.

    Args:
        sources: the learning rates and decays of an optimizer as MindSpore holds them, each without repetition.
        live: look at Parameters anew in each step, also where they were given other memory.
        folds: whether the original folds a decay that is a Tensor into its graph.
        stale: called where the memory that is looked at is not the Parameter's any more.
    """

    def __init__(self, sources: Sequence[Any], live: bool, folds: bool, stale: Callable[[], None]) -> None:
        self._sources = list(sources)
        self._folds = folds
        self._stale = stale
        self._cells: list[Any] = []
        self._places: list[Place] = []
        self._readers = [self._reader(source, live) for source in self._sources]
        self._compile()

    def at(self, step: int) -> list[float]:
        """Return the value of each source at a step, counted from 0.

        Raises:
            RuntimeError: a list of learning rates is too short.
        """
        check_length(self._sources, step)
        values: Iterator[Any] = iter(())
        if self._graph is not None:
            if addresses(self._held).tobytes() != self._found:
                self._stale()
            # Not through Cell.__call__, which takes longer than the graph.
            values = iter(self._graph.construct(Tensor(np.array([step], np.int32))))
        return [float(next(values).item()) if reader is None else reader(step) for reader in self._readers]

    def renew(self) -> None:
        """Look at everything as it is now."""
        for place in self._places:
            place.take()
        if self._graph is not None and addresses(self._held).tobytes() != self._found:
            self._compile()

    def _compile(self) -> None:
        self._held = [parameter for cell in self._cells for parameter in cell.get_parameters()]
        for parameter in self._held:
            if parameter.has_init:
                parameter.init_data()
        self._found = addresses(self._held).tobytes()
        self._graph = _Together(self._cells) if self._cells else None

    def _reader(self, source: Any, live: bool) -> Callable[[int], float] | None:
        """Return a function from the step to the value of a source; None for a source that is compiled."""
        if isinstance(source, _IteratorLearningRate):
            rates = self._place(source.learning_rate, live)
            return lambda step: float(rates()[step])
        if isinstance(source, _ConvertToCell):
            # What MindSpore makes of a number where another group has a list or a schedule.
            rate, one = self._place(source.learning_rate, live), np.float32(1)
            return lambda step: float(rate() + one - one)
        if isinstance(source, nn.Cell):
            if live and source.parameters_dict():
                return lambda step: float(source(Tensor(np.array([step], np.int32))).item())
            self._cells.append(source)
            return None
        if isinstance(source, Parameter):
            place = self._place(source, live)
            return lambda step: float(place().item())
        return self._constant(source, live)

    def _constant(self, source: Any, live: bool) -> Callable[[int], float]:
        """Return a function from the step to a number that no schedule gives.

        Where the original folds the number into its graph, not even what is written in place counts.
        """
        if not isinstance(source, Tensor):
            value = float(np.float32(source))
            return lambda step: value
        place = self._place(source, live)
        first = float(place().item())

        def read(step: int) -> float:
            now = float(place().item())
            if live or now == first or not self._folds:
                return now
            self._stale()
            return first

        return read

    def _place(self, tensor: Any, live: bool) -> Place:
        place = Place(tensor, live, self._stale)
        self._places.append(place)
        return place


class _Together(nn.Cell):  # type: ignore[misc]
    """Compile several Cells of the step as one graph: of a Cell, because MindSpore reports functions compiled twice."""

    def __init__(self, cells: Sequence[Any]) -> None:
        super().__init__(auto_prefix=False)
        self.chosen = nn.CellList(cells, auto_prefix=False)

    @mindspore.jit  # type: ignore[untyped-decorator]
    def construct(self, step: Any) -> Any:
        """Return the value of each Cell, and the step.

        A graph that leaves its arguments unused would look for Parameters anew.
        """
        found: Any = ()
        for cell in self.chosen:
            found += (cell(step),)
        return (*found, step)

"""MindSpore's Adam as it is installed here, observed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from adamcompat.drive import Driver
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify.observation import Observation
from adamcompat.verify.observe import observe as look_at
from adamcompat.verify.original import Array, Original
from adamcompat.verify.signatures import texts

_NAME = "mindspore"


class Growing(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
    """A schedule whose value is ``factor * (step + 1)``."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def construct(self, global_step: Any) -> Any:
        """The value at a step."""
        return self.factor * (global_step + 1.0)


def original() -> Original:
    """nn.Adam."""

    def new(name: str = "omega") -> Any:
        return Parameter(Tensor(np.ones(2, np.float32)), name=name)

    def step(parameters: Sequence[Any], gradients: Sequence[Any]) -> None:
        nn.Adam(parameters)(tuple(Tensor(gradient) for gradient in gradients))

    def repeated() -> None:
        one = new()
        step([one, one], [np.ones(2, np.float32)] * 2)

    mistakes: dict[str, Sequence[Callable[[], Any]]] = {
        # Whom a gradient belongs to is told by its place, so that there is no unknown parameter.
        "unknown_parameter": (),
        "repeated_parameter": (repeated,),
        "wrong_gradients": (
            lambda: step([new()], [np.ones(3, np.float32)]),
            lambda: step([new()], [np.ones(2, np.float32)] * 2),
        ),
    }
    return Original(
        entry=_NAME,
        dialect=MAPPING.dialects[_NAME],
        framework="MindSpore",
        version=ms.__version__,
        kind=nn.Adam,
        growing=Growing,
        once=lambda native: nn.Adam([new()], **native)((Tensor(np.ones(2, np.float32)),)),
        mistakes=mistakes,
        state=_state,
        resolve=lambda target: reduce(getattr, target.split(".")[1:], ms),
        kinds=lambda driver: {},
        group_keys=texts(nn.Adam, "order_params"),
    )


def observe() -> list[Observation]:
    """Measure it, on the CPU."""
    # Once MindSpore has run anything, it takes no device, not even the one that it has.
    if ms.get_context("device_target") != "CPU":
        ms.set_device("CPU")
    with _elsewhere():
        return [look_at(original())]


@contextmanager
def _elsewhere() -> Iterator[None]:
    """MindSpore writes a report of what it cannot compile into the working directory."""
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _state(driver: Driver) -> list[tuple[str, Array]]:
    # The driver's slots leave out the parameters, which MindSpore keeps among its state.
    optimizer: Any = driver._optimizer  # type: ignore[attr-defined]
    return [(name, value.asnumpy().copy()) for name, value in optimizer.parameters_dict().items()]

"""Observe MindSpore's originals as they are installed here."""

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
from adamcompat.mindspore.members import Member, members
from adamcompat.verify.observation import Observation
from adamcompat.verify.observe import observe as look_at
from adamcompat.verify.original import Array, Original, hushed
from adamcompat.verify.signatures import texts


class Growing(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
    """Grow with the step: a schedule whose value is ``factor * (step + 1)``."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def construct(self, global_step: Any) -> Any:
        """Return the value at a step, counted from 0."""
        return self.factor * (global_step + 1.0)


def original(member: Member) -> Original:
    """Return one of MindSpore's originals, with all that can be done with it.

    Args:
        member: the class and its facts.
    """
    kind = member.kind

    def new(name: str = "omega") -> Any:
        return Parameter(Tensor(np.ones(2, np.float32)), name=name)

    def step(parameters: Sequence[Any], gradients: Sequence[Any]) -> None:
        kind(parameters)(tuple(Tensor(gradient) for gradient in gradients))

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
        entry=member.dialect.name,
        dialect=member.dialect,
        framework="MindSpore",
        version=ms.__version__,
        kind=kind,
        growing=Growing if member.dialect.rates else None,
        once=lambda native: kind([new()], **native)((Tensor(np.ones(2, np.float32)),)),
        mistakes=mistakes,
        state=_state,
        resolve=lambda target: reduce(getattr, target.split(".")[1:], ms),
        kinds=lambda driver: {},
        group_keys=tuple(key for key in texts(kind, "order_params") if _acts(kind, key)),
    )


def _acts(kind: type[Any], key: str) -> bool:
    """Return whether a key of a group has an effect, or is refused where it must not stand: some are passed over."""

    def stepped(group: dict[str, Any]) -> Array:
        weight = Parameter(Tensor(np.ones((2, 16), np.float32)), name="omega")
        gradient = np.linspace(-1, 2, 32, dtype=np.float32).reshape(2, 16)
        kind([{"params": [weight], **group}])((Tensor(gradient),))
        found: Array = weight.asnumpy()
        return found

    with hushed():
        plain = stepped({})
        try:
            return not np.array_equal(stepped({key: True}), plain)
        except Exception:  # the original may refuse it, or fail where it has no operator for it
            return True


def observe() -> list[Observation]:
    """Measure MindSpore's originals on the CPU; classes whose groups hold every setting are left out."""
    # Once MindSpore has run anything, it takes no device, not even the one that it has.
    if ms.get_context("device_target") != "CPU":
        ms.set_device("CPU")
    with _elsewhere():
        # Classes whose groups hold every setting are not measured yet; docs/limits.md says so.
        return [look_at(original(member)) for member in members() if not member.dialect.overrides]


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Work in a temporary folder: MindSpore writes a report of what it cannot compile into the working directory."""
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

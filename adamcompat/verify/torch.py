"""Observe PyTorch's Adams as they are installed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from adamcompat.drive import Driver
from adamcompat.mapping.originals import Original as Listed
from adamcompat.mapping.originals import locate
from adamcompat.mapping.originals import originals as known
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.verify.observation import REQUIRED, Observation
from adamcompat.verify.observe import observe as look_at
from adamcompat.verify.original import Array, Original
from adamcompat.verify.signatures import parameters


def originals() -> tuple[Original, ...]:
    """Return the original of each dialect of PyTorch, by its own class."""
    ours = (listed for listed in known().values() if RUNTIMES[listed.runtime].framework.packages[0] == torch.__name__)
    return tuple(_original(listed) for listed in ours)


def observe() -> list[Observation]:
    """Measure all of PyTorch's originals, on the CPU."""
    return [look_at(original) for original in originals()]


def _new(size: int = 2) -> Any:
    parameter = torch.nn.Parameter(torch.ones(size))
    parameter.grad = torch.ones(size)
    return parameter


def _original(listed: Listed) -> Original:
    kind: Any = listed.loaded()

    def once(native: Any) -> None:
        kind([_new()], **native).step()

    def repeated() -> None:
        one = _new()
        kind([{"params": [one]}, {"params": [one]}])

    def wrong() -> None:
        parameter = _new()
        optimizer = kind([parameter])
        parameter.grad = torch.ones(3)
        optimizer.step()

    mistakes: dict[str, Sequence[Callable[[], Any]]] = {
        # A gradient stands at its parameter, so that there is no unknown one.
        "unknown_parameter": (),
        "repeated_parameter": (repeated,),
        "wrong_gradients": (wrong,),
    }
    return Original(
        entry=listed.name,
        dialect=listed.dialect,
        framework=RUNTIMES[listed.runtime].framework.title,
        version=torch.__version__,
        kind=kind,
        growing=None,
        once=once,
        mistakes=mistakes,
        state=_state,
        resolve=locate,
        kinds=_kinds,
        group_keys=_group_keys(kind),
        # PyTorch's square root strays; what rounds otherwise strays in more elements.
        share=0.8,
    )


def _group_keys(kind: Any) -> tuple[str, ...]:
    """Return the settings of the signature that a group has of its own."""
    taken, _ = parameters(kind)
    group = kind([_new()]).param_groups[0]
    return tuple(one.name for one in taken if one.default is not REQUIRED and one.name in group)


def _state(driver: Driver) -> list[tuple[str, Array]]:
    """Return name and value of all state.

    PyTorch counts the steps of each parameter. They are one number here, or none where they differ.
    """
    slots = driver.slots()  # as they are: one parameter after the other
    counts = {name: value for name, value in slots.items() if name.endswith("/step")}
    shared = [("step", value) for value in list(counts.values())[:1] if len({float(v) for v in counts.values()}) == 1]
    return [*shared, *((name, value) for name, value in slots.items() if name not in counts)]


def _kinds(driver: Driver) -> dict[str, Array]:
    first = driver.opened.names[0]
    slots = driver.slots().items()
    return {name.removeprefix(f"{first}/"): np.asarray(value) for name, value in slots if name.startswith(f"{first}/")}

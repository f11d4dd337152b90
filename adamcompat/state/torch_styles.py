"""Describe this package's optimizers on PyTorch's tensors for `adamcompat.state`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adamcompat.mapping.originals import Original
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.live import Live, plain_numbers
from adamcompat.state.torch_tensors import shared
from adamcompat.torch.held import PARAMS
from adamcompat.torch.optimizer import StyledAdam

# Kinds of state that PyTorch's own optimizers do not have.
MORE = ("average", "accumulated_gradient")


def original_like(optimizer: StyledAdam) -> Original:
    """Return an optimizer's class as if it were an original of PyTorch's, whose names its groups and state have."""
    kind = type(optimizer)
    return Original(kind.__name__, (), MAPPING.dialects["torch"], "torch", f"{kind.__module__}.{kind.__qualname__}")


def begin(optimizer: StyledAdam) -> None:
    """Give every parameter the state that its first step would give it."""
    optimizer._follow()
    for group, (_, _, held) in zip(optimizer.param_groups, optimizer._steps, strict=True):
        optimizer._begin(group, held, [one for one in group[PARAMS] if not optimizer.state.get(one)])


def settings_of(optimizer: StyledAdam) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the hyperparameters that all groups share, and the names of those in which they differ."""
    return shared([plain_numbers(optimizer._resolved(group).values) for group in optimizer.param_groups])


def restyled(live: Live, optimizer: StyledAdam) -> Live:
    """Return the description of an optimizer with the facts of its own dialect in the place of PyTorch's.

    Args:
        live: the description of the optimizer as if it were PyTorch's.
        optimizer: the optimizer itself.
    """
    hyper = optimizer._resolved(optimizer.param_groups[0])
    # Running products of the betas follow from the number of steps when a step is prepared anew.
    return replace(
        live,
        dialect=optimizer._dialect().name,
        numerics=optimizer._rounding.name,
        accumulation_steps=hyper["accumulation_steps"],
        loaded=optimizer._steps.clear,
    )

"""Name state as a dialect names it, and read state that is named so; mapping.yaml has the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamcompat.mapping.model import Slot
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.model import AdamState
from adamcompat.state.powers import factors_in
from adamcompat.state.terms import ATTRIBUTES, StateError, Tensor


def _slots(dialect: str) -> list[Slot]:
    return [slot for block in MAPPING.dialects[dialect].slots for slot in block]


def name_of(role: str, parameter: str, dialect: str) -> str | None:
    """Return the name of a slot.

    Args:
        role: the kind of state in mapping.yaml, such as "first_moment" or "step".
        parameter: the name of the parameter; not looked at where there is one slot for all.
        dialect: a name in mapping.yaml.

    Returns:
        The name; None where the dialect has no such slot.

    >>> name_of("first_moment", "conv.weight", "mindspore")
    'moment1.conv.weight'
    """
    return next((slot.name_for(parameter) for slot in _slots(dialect) if slot.role == role), None)


def role_of(name: str, dialect: str) -> tuple[str, str] | None:
    """Return the role and the parameter that a slot's name stands for.

    Args:
        name: of the slot.
        dialect: a name in mapping.yaml.

    Returns:
        The role and the parameter's name, which is empty where there is one slot for all; None if the dialect has no
        slot of that name.

    >>> role_of("moment1.conv.weight", "mindspore"), role_of("global_step", "mindspore")
    (('first_moment', 'conv.weight'), ('step', ''))
    """
    for slot in sorted(_slots(dialect), key=lambda slot: (slot.per_parameter, -len(slot.template))):
        before, mark, after = slot.template.partition("{parameter}")
        if not mark:
            if name == slot.template:
                return slot.role, ""
        elif name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            return slot.role, name[len(before) : len(name) - len(after)]
    return None


def gathered(
    tensors: Mapping[str, Tensor],
    dialect: str,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    step: int | None = None,
    convention: str | None = None,
) -> AdamState:
    """Return the state of tensors that are named as `dialect` names them.

    Args:
        tensors: by name; arrays, or what can become one.
        dialect: a name in mapping.yaml.
        hyperparameters: canonical name to value; the betas are needed where there are running products
            and no step.
        step: the number of updates made, where the tensors do not hold it.
        convention: "tensorflow", "mindspore" or "torch", if the parameters are those of its layers.

    Returns:
        The state, which holds the given tensors themselves.

    Raises:
        StateError: a name is unknown, there are no moments, or neither a tensor nor a running product tells the step.
    """
    kept: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found = role_of(name, dialect)
        if found is None:
            raise StateError(f"{name!r} is no state of {MAPPING.dialects[dialect].target}")
        role, parameter = found
        kept.setdefault(role, {})[parameter] = tensor
    hyperparameters = dict(hyperparameters or {})
    if step is None and "step" in kept:
        step = int(np.asarray(kept["step"][""]).reshape(()))
    if step is None:
        step = _step_of_products(kept, dialect, hyperparameters)
    parts = {attribute: kept.get(role) for role, attribute in ATTRIBUTES.items()}
    for role in ("first_moment", "second_moment"):
        if parts[role] is None:
            raise StateError(f"there is no {role}: no name such as {name_of(role, 'NAME', dialect)!r}")
    return AdamState(
        step=step,
        hyperparameters=hyperparameters,
        dialect=dialect,
        numerics=MAPPING.dialects[dialect].numerics,
        convention=convention,
        **parts,  # type: ignore[arg-type]
    )


def _step_of_products(
    kept: Mapping[str, Mapping[str, Tensor]], dialect: str, hyperparameters: Mapping[str, Any]
) -> int:
    ahead = int(MAPPING.dialects[dialect].semantics.power_start == "beta")
    for role in ("beta2_power", "beta1_power"):
        beta = hyperparameters.get(role.removesuffix("_power"))
        if role in kept and beta is not None:
            factors = factors_in(np.asarray(kept[role][""]).reshape(())[()], beta)
            if factors is not None:
                return factors - ahead
    raise StateError("the step is not among the tensors, and no running product with its beta shows it; pass step=...")

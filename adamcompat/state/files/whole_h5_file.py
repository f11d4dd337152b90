"""Read whole models in .h5 files of Keras 2 and Keras 3, where every variable of the optimizer has a name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adamcompat.mapping import lens
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.files.h5_file import Variable, opened
from adamcompat.state.files.keras_variables import MEMBERS, dialect_called, scale_note
from adamcompat.state.live import plain_numbers
from adamcompat.state.model import AdamState
from adamcompat.state.slots import name_of
from adamcompat.state.terms import ATTRIBUTES, StateError, Tensor

_WEIGHTS, _OPTIMIZER = "model_weights", "optimizer_weights"
_SHOWN = 8
# What an optimizer keeps once: counters, rates, powers, what loss scaling needs.
_ONCE = (
    "iteration",
    "iter",
    "learning_rate",
    "decay",
    "step_counter",
    "dynamic_scale",
    "current_loss_scale",
    "good_steps",
)
_SCALES = ("dynamic_scale", "current_loss_scale")
_WRAPPERS = "LossScaleOptimizer"
# How the newer of Keras 2's optimizers names averages; its moments have the names that the older one gives them.
_AVERAGE = "average"
_ROLES = ("first_moment", "second_moment", "maximum_second_moment", "average", "accumulated_gradient")


def recognizes(path: Path) -> bool:
    """Return whether an .h5 file holds a whole model, and not weights alone.

    Raises:
        StateError: h5py is not installed, or the file is damaged.
    """
    with opened(path) as file:
        return _WEIGHTS in file or "model_config" in file.attrs


def read(path: Path) -> tuple[AdamState, tuple[str, ...]]:
    """Return the state in a file, and what is to be said of it.

    Args:
        path: of the .h5 file.

    Returns:
        The state, whose tensors are read when they are needed, and notes.

    Raises:
        StateError: the file is damaged, holds no optimizer, or one that is not Adam.
    """
    with opened(path) as file:
        config, member, wrapped = _config(path, file)
        if _OPTIMIZER not in file:
            raise StateError(
                f"{path}: holds a model without the state of its optimizer: the model had not been compiled and "
                f"trained when it was saved, or include_optimizer=False was given"
            )
        parameters = dict(_parameters(path, file))
        group = file[_OPTIMIZER]
        variables = {_plain(name): _variable(path, group, name, _OPTIMIZER) for name in _names(group)}
    found = _sorted(path, variables, parameters)
    if not found["first_moment"]:
        raise StateError(f"{path}: holds no moments: the optimizer had made no step when it was saved")
    dialect = MAPPING.dialects["tf26"] if found.pop("slots") else member
    counters = [name for name in variables if name.rpartition("/")[2] in ("iteration", "iter")]
    if not counters:
        raise StateError(f"{path}: the optimizer in it has no counter of its steps")
    # LossScaleOptimizer has one of its own, which stands first.
    calls = int(np.asarray(variables[counters[-1]]).reshape(()))
    every = config.get("gradient_accumulation_steps") or None
    pending = calls % every if every else 0
    names = [*found["first_moment"]]
    kept: dict[str, Any] = {ATTRIBUTES[role]: found[role] or None for role in _ROLES}
    if not pending:
        kept["accumulated_gradient"] = None
    state = AdamState(
        step=calls // (every or 1),
        parameters={name: parameters[name] for name in names},
        accumulation_steps=every,
        accumulated_calls=pending,
        hyperparameters=_hyperparameters(config, dialect),
        dialect=dialect.name,
        numerics=dialect.numerics,
        convention="tensorflow",
        **kept,
    )
    scales = [variable for name, variable in variables.items() if name.rpartition("/")[2] in _SCALES]
    scale = float(np.asarray(scales[0]).reshape(())) if scales else None
    return state, (scale_note(scale),) if wrapped else ()


def _config(path: Path, file: Any) -> tuple[dict[str, Any], Dialect, bool]:
    """Return the configuration of the optimizer, as far as the file has one, its dialect, and whether it is wrapped."""
    text = file.attrs.get("training_config")
    if text is None:
        return {}, MEMBERS[0], False
    try:
        found = json.loads(text)["optimizer_config"]
        wrapped = found["class_name"].startswith(_WRAPPERS)
        if wrapped:
            found = found["config"]["inner_optimizer"]
        kind = str(found["class_name"]).rpartition(">")[2]
        config = dict(found["config"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}, MEMBERS[0], False
    member = dialect_called(kind)
    if member is None:
        raise StateError(f"{path}: holds the state of {kind}, which is not Adam")
    if config.get("adaptive_epsilon"):
        raise StateError(
            f"{path}: adaptive_epsilon=True is another update than Adam's, and its state means something else"
        )
    return config, member, wrapped


def _hyperparameters(config: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    own = {fact.name for fact in dialect.accepted if fact.alias_of is None}
    return plain_numbers(lens.to_canonical(dialect, {name: config[name] for name in config if name in own}))


def _parameters(path: Path, file: Any) -> Iterator[tuple[str, Variable]]:
    """Yield the weights of all layers, by name."""
    group = file[_WEIGHTS]
    for layer in group:
        for name in _names(group[layer]):
            yield _plain(name), _variable(path, group[layer], name, f"{_WEIGHTS}/{layer}")


def _names(group: Any) -> list[str]:
    """Return the names of weights, which Keras divides among several attributes where they are long."""
    attribute = "weight_names"
    if attribute in group.attrs:
        found = [*group.attrs[attribute]]
    else:
        found, chunk = [], 0
        while f"{attribute}{chunk}" in group.attrs:
            found += [*group.attrs[f"{attribute}{chunk}"]]
            chunk += 1
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _plain(name: str) -> str:
    return name.removesuffix(":0")


def _variable(path: Path, group: Any, name: str, before: str) -> Variable:
    data = group[name]
    return Variable(path, f"{before}/{name}", tuple(data.shape), np.dtype(data.dtype))


def _sorted(path: Path, variables: Mapping[str, Variable], parameters: Mapping[str, Variable]) -> dict[str, Any]:
    """Return the variables by role and parameter; "slots" tells whether the legacy optimizer names them so."""
    expected = _expected(path, parameters)
    found: dict[str, Any] = {role: {} for role in _ROLES} | {"slots": False}
    unknown = []
    for name, variable in variables.items():
        last = name.rpartition("/")[2]
        if variable.shape == () and (last in (*_ONCE, *_SCALES) or last.startswith("beta")):
            continue
        place = expected.get(last) or _by_path(name, parameters)
        if place is None:
            unknown.append(name)
            continue
        role, parameter, slots = place
        found[role][parameter] = variable
        found["slots"] = found["slots"] or slots
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise StateError(
            f"{path}: the optimizer keeps {', '.join(unknown[:_SHOWN])}{more}, which is no state of Adam for a weight "
            f"of the model"
        )
    return found


def _expected(path: Path, parameters: Mapping[str, Tensor]) -> dict[str, tuple[str, str, bool]]:
    """Return the names that Keras 3 gives the variables: the path of the weight, with other joints."""
    found: dict[str, tuple[str, str, bool]] = {}
    for parameter in parameters:
        for role in _ROLES:
            name = str(name_of(role, parameter.replace("/", "_"), "keras3"))
            if name in found:
                raise StateError(f"{path}: {parameter!r} and {found[name][1]!r} have the same name in the optimizer")
            found[name] = role, parameter, False
    return found


def _by_path(name: str, parameters: Mapping[str, Tensor]) -> tuple[str, str, bool] | None:
    """Return the role and parameter of a name that Keras 2 gives: the path of the weight, and the kind of state.

    The kind stands after the path in the legacy optimizer's names, and before it in the newer one's.
    """
    keys = {str(name_of(role, "", "tf26")).strip("/"): role for role in _ROLES if name_of(role, "", "tf26")}
    parts = name.split("/")
    for start in range(len(parts)):
        before, after = "/".join(parts[start:-1]), "/".join(parts[start + 1 :])
        if parts[-1] in keys and before in parameters:
            return keys[parts[-1]], before, True
        if parts[start] in (*keys, _AVERAGE) and after in parameters:
            return keys.get(parts[start], _AVERAGE), after, False
    return None

"""Keras's and TensorFlow's files, by their own readers and writers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from adamcompat.files import replacing
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.errors import StateError
from adamcompat.state.model import AdamState, Tensor
from adamcompat.state.powers import running_product
from adamcompat.state.slots import gathered

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"


def _load(path: Path) -> Any:
    try:
        # Keras's safe mode: nothing in the file is executed, lambdas are refused.
        model = tf.keras.models.load_model(path, safe_mode=True)
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise StateError(f"{path}: Keras cannot read it: {text or type(error).__name__}") from None
    if getattr(model, "optimizer", None) is None:
        raise StateError(f"{path}: holds no optimizer; compile and train the model before saving it")
    return model


def read_keras(path: Path) -> AdamState:
    """The state in a ``.keras`` file."""
    model = _load(path)
    return AdamState.of(model.optimizer, model.trainable_variables)


def write_keras(path: Path, state: AdamState, like: Path) -> None:
    """Write the model in `like` with this state."""
    model = _load(like)
    state.load_into(
        model.optimizer,
        parameters=model.trainable_variables,
        with_parameters=state.parameters is not None,
        cast=True,
    )
    with replacing(path) as partial:
        # Keras wants the name to end in this.
        named = partial.with_suffix(".keras")
        try:
            model.save(named)
            named.replace(partial)
        finally:
            named.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _InCheckpoint:
    """A tensor in a checkpoint, read when it is asked for."""

    reader: Any
    key: str
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.reader.get_variable_to_shape_map()[self.key])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.reader.get_variable_to_dtype_map()[self.key].as_numpy_dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        try:
            array = np.asarray(self.reader.get_tensor(self.key))
        except Exception as error:
            raise StateError(f"{self.where}: {self.key!r} cannot be read: {error}") from None
        return array if dtype is None else array.astype(dtype)


def read_checkpoint(path: Path, betas: Mapping[str, float]) -> AdamState:
    """The state in a checkpoint of tf.train.Checkpoint or tf.compat.v1.train.Saver.

    Args:
        path: its prefix, or a folder, whose latest is read.
        betas: of the optimizer; tf.compat.v1.train.AdamOptimizer keeps powers of them for a step.
    """
    try:
        reader = tf.train.load_checkpoint(str(path))
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise StateError(f"{path}: TensorFlow cannot read it: {text}") from None
    tensors = {key: _InCheckpoint(reader, key, str(path)) for key in reader.get_variable_to_shape_map()}
    if any(_SLOT in key for key in tensors):
        return _of_slots(str(path), tensors)
    if any(re.search(r"/_variables/\d+" + _VALUE, key) for key in tensors):
        return _of_positions(str(path), tensors)
    return _of_saver(str(path), tensors, betas)


def _one(where: str, keys: list[str], what: str) -> str:
    if len(keys) != 1:
        raise StateError(f"{where}: expected one {what}, found {', '.join(sorted(keys)) or 'none'}")
    return keys[0]


def _of_slots(where: str, tensors: Mapping[str, Tensor]) -> AdamState:
    """The legacy optimizer's: a slot lies beside its variable."""
    step = next(slot.template for block in MAPPING.dialects["tf26"].slots for slot in block if slot.role == "step")
    counter = _one(where, [key for key in tensors if key.endswith(f"/{step}{_VALUE}")], "counter of an optimizer")
    found: dict[str, Tensor] = {step: tensors[counter]}
    for key, tensor in tensors.items():
        variable, mark, slot = key.removesuffix(_VALUE).partition(_SLOT)
        if mark:
            found[f"{variable}/{slot.rpartition('/')[2]}"] = tensor
    state = gathered(found, "tf26", convention="tensorflow")
    return _with_parameters(state, {name: tensors.get(name + _VALUE) for name in state.names})


def _of_positions(where: str, tensors: Mapping[str, Tensor]) -> AdamState:
    """Keras 3's: numbered, moments in turn and then the maxima."""
    # Without the underscore before Keras 3.5.
    keys = [key for key in tensors if key.endswith((f"/_iterations{_VALUE}", f"/iterations{_VALUE}"))]
    counter = _one(where, keys, "counter of an optimizer")
    own = counter.removesuffix(_VALUE).rpartition("/")[0]
    states, parameters = (_numbered(tensors, f"{own}/{kind}/") for kind in ("_variables", "_trainable_variables"))
    count = len(parameters)
    if not count or len(states) not in (2 * count, 3 * count):
        raise StateError(
            f"{where}: {len(states)} variables of the optimizer for {count} parameters: not Keras 3's Adam without "
            f"averages and accumulation, which is all that can be read from such a file"
        )
    names = [f"variable#{position}" for position in range(count)]
    return AdamState(
        step=int(np.asarray(tensors[counter])),
        first_moment=dict(zip(names, states[0 : 2 * count : 2], strict=True)),
        second_moment=dict(zip(names, states[1 : 2 * count : 2], strict=True)),
        maximum_second_moment=dict(zip(names, states[2 * count :], strict=True)) if len(states) > 2 * count else None,
        parameters=dict(zip(names, parameters, strict=True)),
        dialect="keras3",
        numerics=MAPPING.dialects["keras3"].numerics,
        convention="tensorflow",
    )


def _numbered(tensors: Mapping[str, Tensor], before: str) -> list[Tensor]:
    found = {}
    for key, tensor in tensors.items():
        number = key.removeprefix(before).removesuffix(_VALUE)
        if key.startswith(before) and number.isdigit():
            found[int(number)] = tensor
    return [found[number] for number in sorted(found)]


def _of_saver(where: str, tensors: Mapping[str, Tensor], betas: Mapping[str, float]) -> AdamState:
    """TensorFlow 1's, by names of variables."""
    dialect = MAPPING.dialects["tf1"]
    slots = {slot.role: slot for block in dialect.slots for slot in block}
    suffix = slots["second_moment"].name_for("")
    names = sorted(key.removesuffix(suffix) for key in tensors if key.endswith(suffix))
    if not names:
        raise StateError(f"{where}: holds no state of Adam")
    kept = [slots[role].name_for(name) for name in names for role in ("first_moment", "second_moment")]
    products = [slot.template for slot in slots.values() if not slot.per_parameter]
    missing = [name for name in (*kept, *products) if name not in tensors]
    if missing:
        raise StateError(f"{where}: {' and '.join(missing)} missing; save all variables of the optimizer")
    found = {name: tensors[name] for name in (*kept, *products)}
    defaults: dict[str, Any] = {
        fact.canonical: fact.default for fact in dialect.parameters if fact.canonical in ("beta1", "beta2")
    }
    known = {**defaults, **betas}
    state = gathered(found, "tf1", hyperparameters=known, convention="tensorflow")
    for name, beta in known.items():
        power = slots[f"{name}_power"].template
        product = np.asarray(found[power]).reshape(())[()]
        # Near zero the products of many betas meet.
        if product > np.finfo(product.dtype).tiny and running_product(beta, state.step + 1, product.dtype) != product:
            raise StateError(f"{where}: {power} is {product!r}, which no step has with {known}; pass the right betas")
    return _with_parameters(state, {name: tensors.get(name) for name in state.names})


def _with_parameters(state: AdamState, parameters: Mapping[str, Tensor | None]) -> AdamState:
    known = {name: tensor for name, tensor in parameters.items() if tensor is not None}
    return dataclasses.replace(state, parameters=known) if len(known) == len(parameters) else state

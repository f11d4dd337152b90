"""Read and write state under the names that MindSpore gives it, in .ckpt and .safetensors files."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from adamcompat.kernel import running_product
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.files.safetensors_file import Sums
from adamcompat.state.files.stored import Stored, bytes_of
from adamcompat.state.model import AdamState
from adamcompat.state.slots import gathered, name_of, role_of
from adamcompat.state.terms import StateError, Tensor

AnyTensor = TypeVar("AnyTensor", bound=Tensor)

_DIALECTS = tuple(MAPPING.dialects[name] for name in RUNTIMES["mindspore"].originals)
_POWERS = ("beta1_power", "beta2_power")
# Kept for each parameter, and needed by the optimizer.
_MOMENTS = ("first_moment", "second_moment", "maximum_second_moment")


def read(where: str, tensors: Mapping[str, Tensor], betas: Mapping[str, float]) -> AdamState:
    """Return the state among the tensors of a checkpoint.

    Args:
        where: the name of the file, for errors.
        tensors: everything in the file; what is no state of Adam is passed over.
        betas: "beta1" and "beta2", where they are known; else they are told by the running products.

    Returns:
        The state, which holds the given tensors themselves. It has parameters if the file holds all of them.

    Raises:
        StateError: there is no state of an original, or a part of it is missing.
    """
    dialect = _dialect_of(tensors)
    if dialect is None:
        targets = " or ".join(known.target for known in _DIALECTS)
        names = " or ".join(repr(name_of("first_moment", "NAME", known.name)) for known in _DIALECTS)
        raise StateError(
            f"{where}: holds no state of {targets}: no name such as {names}. Save the optimizer too, as "
            f"mindspore.save_checkpoint(optimizer, ...)"
        )
    roles = {name: role_of(name, dialect.name) for name in tensors}
    moments = _moments(tensors, dialect)
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if (found := roles[name]) is not None and (not found[1] or found[1] in moments)
    }
    parameters = {found[1] for name in kept if (found := roles[name]) is not None and found[0] == "parameter"}
    if parameters != moments:
        kept = {name: tensor for name, tensor in kept.items() if roles[name] != ("parameter", name)}
    state = gathered(kept, dialect.name, hyperparameters=betas, convention="mindspore")
    return dataclasses.replace(state, hyperparameters={**_betas(kept, state.step, dialect), **betas})


def _moments(tensors: Mapping[str, Tensor], dialect: Dialect) -> set[str]:
    """Return the parameters whose first moments are there under the dialect's names."""
    found = [role_of(name, dialect.name) for name in tensors]
    return {one[1] for one in found if one is not None and one[0] == "first_moment"}


def _dialect_of(tensors: Mapping[str, Tensor]) -> Dialect | None:
    """Return the original whose names these are, or None; where parameters have such names too, that with most."""
    counts = {dialect.name: len(_moments(tensors, dialect)) for dialect in _DIALECTS}
    best = max(_DIALECTS, key=lambda dialect: counts[dialect.name])
    return best if counts[best.name] else None


def _ahead(dialect: Dialect) -> int:
    return int(dialect.semantics.power_start == "beta")


def _betas(tensors: Mapping[str, Tensor], step: int, dialect: Dialect) -> dict[str, float]:
    """Return the betas whose running products these are after `step` steps; only where the product is met exactly."""
    found = {}
    for role in _POWERS:
        name = str(name_of(role, "", dialect.name))
        beta = role.removesuffix("_power")
        if name in tensors and step:
            product = np.asarray(tensors[name]).reshape(())[()]
            fact = dialect.named(beta)
            guesses = [fact.default] if fact is not None else []
            if product < np.finfo(product.dtype).tiny:
                # Near zero the products of many betas meet.
                continue
            if product < 1:
                guesses += [round(float(product) ** (1 / (step + _ahead(dialect))), digits) for digits in range(1, 7)]
            for guess in guesses:
                if isinstance(guess, float) and 0 < guess < 1:
                    made = running_product(guess, step + _ahead(dialect), product.dtype)
                    if made == product:
                        found[beta] = guess
                        break
    return found


def tensors_of(state: AdamState, like: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint of `state` holds, in order.

    Args:
        state: its parameters have the names and layouts that they have in MindSpore.
        like: the tensors of a checkpoint of the program that will read it; what is no state of Adam
            stays as it is there. Its names say which original that is; without it, it is the state's own if that is
            one of MindSpore's, else the first.

    Returns:
        The tensors by MindSpore's names.

    Raises:
        StateError: the betas are not known, or the checkpoint has no place for a part of the state.
    """
    own = next((dialect for dialect in _DIALECTS if dialect.name == state.dialect), _DIALECTS[0])
    dialect = own if like is None else _dialect_of(like) or own
    parts = {"average": "an average of the parameters", "maximum_second_moment": "maxima of the second moments"}
    kept = {slot.role for block in dialect.slots for slot in block}
    lost = [part for role, part in parts.items() if role in state.tensors and role not in kept]
    lost += ["a part of an accumulation"] if state.accumulated_calls else []
    if lost:
        raise StateError(f"the state has {lost[0]}, which {dialect.target} does not keep")
    shared = _shared(state, like, dialect)
    if like is not None:
        return _filled(state, like, shared, dialect)
    found: dict[str, Tensor] = {}
    for block in dialect.slots:
        for slot in block:
            if slot.role in shared and not slot.per_parameter:
                found[slot.template] = shared[slot.role]
            elif slot.role in state.tensors:
                found |= {slot.name_for(name): tensor for name, tensor in state.tensors[slot.role].items()}
    return found


def _shared(state: AdamState, like: Mapping[str, Tensor] | None, dialect: Dialect) -> dict[str, Tensor]:
    """Return the counter and the products, in the shapes that they have in `like`."""
    if state.step > np.iinfo(np.int32).max:
        raise StateError(f"step {state.step} does not fit MindSpore's counter, which is int32")
    values: dict[str, Any] = {"step": np.full(1, state.step, np.int32)}
    for role in (role for role in _POWERS if name_of(role, "", dialect.name) is not None):
        beta = role.removesuffix("_power")
        factors = state.step + _ahead(dialect)
        if factors and beta not in state.hyperparameters:
            raise StateError(f"{beta} is not known, and MindSpore keeps its powers; pass {beta}=... (--{beta})")
        values[role] = np.asarray(running_product(state.hyperparameters.get(beta, 0.0), factors, np.float32))
    for role, value in values.items():
        place = (like or {}).get(str(name_of(role, "", dialect.name)))
        if place is not None:
            values[role] = np.full(place.shape, value.reshape(-1)[0], place.dtype)
    return values


def _filled(
    state: AdamState, like: Mapping[str, Tensor], shared: Mapping[str, Tensor], dialect: Dialect
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in like.items():
        role, parameter = role_of(name, dialect.name) or ("", "")
        if not parameter:
            found[name] = shared.get(role, tensor)
        elif role in _MOMENTS or parameter in state.shapes:
            found[name] = state.tensors.get(role, {}).get(parameter, tensor)
        else:
            found[name] = tensor
    return found


def in_order_of_checksum(tensors: Mapping[str, AnyTensor]) -> dict[str, AnyTensor]:
    """Return the tensors in the order in which MindSpore adds up the checksum of a safetensors file: by name."""
    return dict(sorted(tensors.items()))


def check_sum(where: str, tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> None:
    """Compare the checksum in a safetensors file of MindSpore, if it has one; reads everything.

    Args:
        where: the name of the file, for errors.
        tensors: everything in the file.
        metadata: of the file; its ``crc_num`` is the checksum, the CRC-32 of each name and the bytes of its tensor.

    Raises:
        StateError: the file is damaged.
    """
    if "crc_num" not in metadata:
        return
    found = 0
    for name, tensor in in_order_of_checksum(tensors).items():
        found = zlib.crc32(name.encode(), found)
        for block in tensor.blocks():
            found = zlib.crc32(bytes_of(block), found)
    if metadata["crc_num"].lstrip("0") != str(found).lstrip("0"):
        raise StateError(f"{where}: the file is damaged: its checksum is not the one it was written with")


def metadata(sums: Sums) -> dict[str, str]:
    """Return the metadata of MindSpore's safetensors files; int() of the sum is what MindSpore compares."""
    return {"format": "ms", "crc_num": f"{sums.all:010}"}

"""One engine over the memory of tensors: some parameters, their state, and one number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adamcompat.groups import Group
from adamcompat.hyperparameters import Hyperparameters, exception
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import Parameter
from adamcompat.numpy.engine import Engine, Pending
from adamcompat.numpy.slots import Slot
from adamcompat.torch.arrays import check_memory, gradient_of, in_memory, turned, view_of, zeros_like
from adamcompat.torch.looks import Still, addresses_of, alike, ids_of, locator, same_objects
from adamcompat.torch.threads import TEAM

# State and groups have PyTorch's names, so that its own optimizers and schedulers can go on with them.
_PYTORCH = MAPPING.dialects["torch"]
NAMES = _PYTORCH.slot_names
STEP = _PYTORCH.slot("step").template


def named(canonical: str) -> str:
    """Return PyTorch's name of a setting.

    >>> named("learning_rate")
    'lr'
    """
    fact = _PYTORCH.named(canonical)
    assert fact is not None
    return fact.name


RATE, PARAMS = named("learning_rate"), named("parameters")
_FIELDS = {
    "first_moment": "m",
    "second_moment": "v",
    "maximum_second_moment": "vhat",
    "average": "average",
    "accumulated_gradient": "accumulated",
}


def key_of(role: str) -> str:
    """Return the name of a kind of state in `optimizer.state`."""
    return NAMES.get(role, role)


class Held:
    """Hold the parameters of one group that are updated together, in main memory.

    Args:
        dialect: the API whose step is made.
        numerics: how to round.
        hyper: the hyperparameters of the group.
        step: how many steps were made, at least 0.
        group: what the parameters have in common beside their hyperparameters; None stands for nothing.

    Attributes:
        engine: makes the steps.
        parameters: the tensors, in the order of the engine's slots.
        lengths: the number of bytes of each.
    """

    def __init__(
        self, dialect: Dialect, numerics: Numerics, hyper: Hyperparameters, step: int, group: Group | None = None
    ) -> None:
        counter = np.zeros((), np.int64)
        self.engine = Engine(dialect, numerics, hyper, counter, exception(dialect.errors.wrong_gradients))
        self.engine.count(step)
        self.engine.team = TEAM
        self.parameters: list[Any] = []
        self.lengths: NDArray[np.int64] = np.zeros(0, np.int64)
        self._group = group or Group()
        self._places: dict[int, int] = {}
        self._states: list[dict[str, Any]] = []
        self._held: list[Any] = []
        self._still = Still([])
        self._everyone: tuple[int, ...] = ()
        self._tensors: list[Any] = []
        self._shapes: list[Any] = []
        self._dtypes: list[Any] = []
        self._contiguous = True
        self._versioned: list[Any] = []
        self._alike: Callable[..., bool] | None = None
        self._locate: Callable[[Any], NDArray[np.int64]] | None = None
        # Tensors of a dtype that NumPy does not have, each with the array that stands for it.
        self._copies: list[tuple[Any, Any]] = []

    def add(
        self,
        parameters: Sequence[Any],
        states: Sequence[dict[str, Any]],
        names: Sequence[str],
        decays: Callable[[str], bool],
    ) -> None:
        """Take more parameters.

        Args:
            parameters: tensors in main memory.
            states: a dictionary for each, with its state under PyTorch's names. State that is missing is put there, as
                zeros; an average may begin as the parameter.
            names: what to call the parameters in errors.
            decays: takes a name, and returns whether weight decay reaches the parameter.

        Raises:
            ValueError: state of another shape, dtype or device than its parameter's, or memory that overlaps itself or
                another parameter's.
        """
        arrays = [Parameter(self._array_of(tensor), name) for tensor, name in zip(parameters, names, strict=True)]
        self.engine.add_all(arrays, [self._group] * len(arrays), lambda _, name: decays(name))
        for slot, parameter, state in zip(self.engine.slots[-len(arrays) :], parameters, states, strict=True):
            slot.owner = None
            roles = [role for role in slot.kept if role != "parameter"]
            for role in roles:
                self._adopt(slot, role, parameter, state)
            self._places[id(parameter)] = len(self.parameters)
            self.parameters.append(parameter)
            self._states.append(state)
            self._tensors += [parameter, *(state[key_of(role)] for role in roles)]
            self._shapes.append(parameter.shape)
            self._dtypes.append(parameter.dtype)
        self.lengths = np.array([parameter.nbytes for parameter in self.parameters], np.int64)
        self._contiguous = all(map(torch.Tensor.is_contiguous, self.parameters))
        self._alike = None
        self._versioned = [one for one in self._tensors if not one.is_inference()]
        self.engine.forget_memory()

    def _array_of(self, tensor: Any) -> Any:
        if tensor.dtype != torch.bfloat16:
            return view_of(tensor)
        array = view_of(tensor.detach().float())
        self._copies.append((tensor, array))
        # Only here: an engine that knows its holder is freed by the garbage collector alone.
        self.engine.write_back = self._write_back
        return array

    def _adopt(self, slot: Slot, role: str, parameter: Any, state: dict[str, Any]) -> None:
        """Let the engine keep one kind of state in a tensor."""
        key, made = key_of(role), getattr(slot, _FIELDS[role])
        if key not in state:
            state[key] = zeros_like(parameter)
            if role == "average":
                # It may begin as the parameter.
                turned(state[key]).copy_(torch.from_numpy(made))
        kept = state[key]
        if kept.shape != parameter.shape or kept.dtype != parameter.dtype or kept.device != parameter.device:
            raise ValueError(
                f"{key!r} of {slot.name} has shape {tuple(kept.shape)} and {kept.dtype} on {kept.device}, but the "
                f"parameter has shape {tuple(parameter.shape)} and {parameter.dtype} on {parameter.device}"
            )
        if kept.stride() != parameter.stride():
            kept = state[key] = zeros_like(parameter).copy_(kept)
        setattr(slot, _FIELDS[role], self._array_of(kept))

    def settle(self) -> None:
        """Take note of the tensors that the state of all parameters holds, before the next step."""
        self._held = list(chain.from_iterable(map(dict.values, self._states)))
        self._still = Still([*self._tensors, *(state[STEP] for state in self._states)])

    def stands(self) -> bool:
        """Return whether all tensors are what and where they were.

        The caller sees to it that the optimizer has the same dictionaries of state as before.
        """
        held = list(chain.from_iterable(map(dict.values, self._states)))
        return same_objects(held, self._held) and self._still.unchanged()

    def versioned(self, parameters: Sequence[Any]) -> list[Any]:
        """Return the tensors that a step writes and whose version counts that: those of the inference mode have none.

        Args:
            parameters: those that have a gradient.
        """
        if same_objects(parameters, self.parameters):
            return self._versioned
        own = chain.from_iterable((one, *self._states[self._places[id(one)]].values()) for one in parameters)
        return [one for one in own if isinstance(one, torch.Tensor) and not one.is_inference()]

    def prepared(self, parameters: Sequence[Any], gradients: Sequence[Any], *, alone: bool) -> Pending:
        """Do all of a step that can fail.

        Args:
            parameters: those that have a gradient.
            gradients: theirs, in the same order: tensors on any device, of any layout.
            alone: whether this is all of a step.

        Returns:
            What is left to write.

        Raises:
            TypeError, ValueError: a gradient does not fit.
            RuntimeError: PyTorch gives no access to the numbers of a gradient.
        """
        if same_objects(parameters, self.parameters):
            addresses = self.addresses(gradients)
            apart = addresses is not None and not self.engine.memory.touch(addresses, self.lengths).size
            if apart and addresses is not None and (pending := self.pointed(gradients, addresses, alone=alone)):
                return pending
        for tensor, array in self._copies:
            array[...] = view_of(tensor.detach().float())
        check_memory(gradients)
        try:
            arrays = list(map(torch.Tensor.numpy, gradients))
            if not self._contiguous:
                raise TypeError
        except (TypeError, RuntimeError):
            arrays = [gradient_of(g, parameter) for g, parameter in zip(gradients, parameters, strict=True)]
        if same_objects(parameters, self.parameters):
            indices: Sequence[int] = self._all()
        else:
            indices = [self._places[id(parameter)] for parameter in parameters]
        return self.ready(arrays, indices)

    def addresses(self, gradients: Sequence[Any]) -> NDArray[np.int64] | None:
        """Return where gradients lie; None where compiled code cannot read each of them there.

        Args:
            gradients: one for each parameter, in order: tensors.

        Raises:
            RuntimeError: a gradient has no address.
        """
        if not self._contiguous or self._copies:
            return None
        if self._alike is None or not self._alike(*gradients):
            self._alike = None
            try:
                plain = (
                    set(map(type, gradients)) <= {torch.Tensor}
                    and [gradient.shape for gradient in gradients] == self._shapes
                    and [gradient.dtype for gradient in gradients] == self._dtypes
                    and all(map(torch.Tensor.is_contiguous, gradients))
                    and not any(map(torch.Tensor.is_neg, gradients))
                    and all(map(in_memory, gradients))
                )
            except RuntimeError:
                # A sparse tensor has no such thing.
                return None
            if not plain:
                return None
            found = addresses_of(gradients)
            self._alike, self._locate = alike(gradients), locator()
        else:
            found = self._locate(ids_of(gradients)) if self._locate is not None else addresses_of(gradients)
        if not found.all():
            check_memory(gradients)
        return found

    def pointed(self, gradients: Sequence[Any], addresses: NDArray[np.int64], *, alone: bool) -> Pending | None:
        """Do all of a step that can fail, with gradients that compiled code can read where they are.

        Args:
            gradients: they are held until all is written.
            addresses: where they are, as `addresses` returns them, apart from all memory that is written.
            alone: whether this is all of a step.

        Returns:
            What is left to write; None where there is no compiled code.

        Raises:
            ValueError: a schedule gave no valid number.
        """
        self.engine.follow()
        pending = self.engine.pointed(self._all(), addresses, alone=alone)
        if pending is not None:
            # Nobody else need hold them: another thread may set them to None, and a property may make them anew.
            pending.gradients = gradients
        return pending

    def ready(self, gradients: Sequence[Any], indices: Sequence[int] | None = None) -> Pending:
        """Do all of a step that can fail, with gradients as arrays or `RowSparse`.

        Args:
            gradients: in the order of the parameters.
            indices: the places of the parameters that have one; None where all have.

        Returns:
            What is left to write.

        Raises:
            TypeError, ValueError: a gradient or a parameter does not fit.
        """
        self.engine.follow()
        return self.engine.prepared(self._all() if indices is None else indices, gradients)

    def _all(self) -> Sequence[int]:
        if len(self._everyone) != len(self.parameters):
            self._everyone = tuple(range(len(self.parameters)))
        return self._everyone

    def _write_back(self) -> None:
        with torch.no_grad():
            for tensor, array in self._copies:
                turned(tensor.detach()).copy_(torch.from_numpy(array))

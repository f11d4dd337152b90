"""Keras 3's .weights.h5 files, which number the variables of an optimizer and name none of its parameters."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.files import replacing
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.errors import StateError
from adamcompat.state.files.safetensors_file import Progress
from adamcompat.state.layout import Shape
from adamcompat.state.model import AdamState, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUP = "optimizer/vars"


@dataclass(frozen=True, slots=True)
class _Variable:
    """A data set, read when it is asked for."""

    path: Path
    key: str
    shape: Shape
    dtype: np.dtype[Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        with _opened(self.path) as file:
            array = np.asarray(file[self.key][()])
        return array if dtype is None else array.astype(dtype)


@contextmanager
def _opened(path: Path, mode: str = "r") -> Iterator[Any]:
    """The file, whose mistakes become ours: h5py raises a different exception for each kind of damage."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise StateError(f"{path}: needs h5py: pip install 'adamcompat[files]'") from None
    try:
        with h5py.File(path, mode) as file:
            yield file
    except StateError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, OverflowError, MemoryError) as error:
        raise StateError(f"{path}: not a whole file of Keras's weights: {error}") from None


def _variables(path: Path) -> list[_Variable]:
    """The optimizer's variables in their order."""
    with _opened(path) as file:
        if _GROUP not in file or not len(file[_GROUP]):
            raise StateError(f"{path}: holds no optimizer; save the weights of a model that was compiled and trained")
        group = file[_GROUP]
        try:
            keys = sorted(group, key=int)
        except ValueError:
            raise StateError(f"{path}: {_GROUP} holds {', '.join(group)}, where numbers were expected") from None
        return [_Variable(path, f"{_GROUP}/{key}", tuple(group[key].shape), np.dtype(group[key].dtype)) for key in keys]


def _slots(path: Path, variables: Sequence[_Variable]) -> dict[str, list[_Variable]]:
    """The variables by their role: a counter, perhaps a learning rate, moments in turn, perhaps the maxima.

    Raises:
        StateError: there is more than one way to read them, or none.
    """
    ways: list[dict[str, list[_Variable]]] = []
    if variables[0].shape == () and variables[0].dtype.kind in "iu":
        rates = [0, 1] if len(variables) > 1 and variables[1].shape == () else [0]
        for rate in rates:
            rest = list(variables[1 + rate :])
            for each in (2, 3):
                count, odd = divmod(len(rest), each)
                first, second = rest[0 : 2 * count : 2], rest[1 : 2 * count : 2]
                maxima = rest[2 * count :]
                shapes = [[variable.shape for variable in part] for part in (first, second, maxima)]
                if count and not odd and shapes[0] == shapes[1] and (each == 2 or shapes[2] == shapes[0]):
                    way = {"first_moment": first, "second_moment": second}
                    ways.append({**way, "maximum_second_moment": maxima} if each == 3 else way)
    if len(ways) != 1:
        raise StateError(
            f"{path}: {len(variables)} variables of an optimizer, which can be the state of Adam in "
            f"{len(ways) or 'no'} {'ways' if ways else 'way'}; save the model as .keras, which says what it is"
        )
    return ways[0]


def read(path: Path) -> AdamState:
    """The state in a file; parameters are called ``variable#0`` and so on.

    Raises:
        StateError: the file is damaged, holds no optimizer, or one that is not Adam's or not only Adam's.
    """
    variables = _variables(path)
    slots = _slots(path, variables)
    names = [f"variable#{position}" for position in range(len(slots["first_moment"]))]
    return AdamState(
        step=int(np.asarray(variables[0])),
        **{role: dict(zip(names, found, strict=True)) for role, found in slots.items()},  # type: ignore[arg-type]
        dialect="keras3",
        numerics=MAPPING.dialects["keras3"].numerics,
        convention="tensorflow",
    )


def refuse_parameters(path: Path, state: AdamState) -> None:
    """Raise StateError where a state has parameters: a file has no names for them, so that they would be lost."""
    if state.parameters is not None:
        raise StateError(
            f"{path}: parameters cannot be written into a .weights.h5 file, which does not name them; leave them as "
            f"they are there with --state-only (state_only=True), or write .keras"
        )


def write(path: Path, state: AdamState, like: Path, progress: Progress = lambda count: None) -> None:
    """Write the file `like` with this state; the parameters there stay as they are.

    Raises:
        StateError: the state has parameters.
    """
    refuse_parameters(path, state)
    variables = _variables(like)
    places: dict[str, Tensor] = {}
    for role, found in _slots(like, variables).items():
        kept = state.tensors[role]
        places |= {variable.key: tensor for variable, tensor in zip(found, kept.values(), strict=True)}
    with replacing(path) as partial:
        shutil.copyfile(like, partial)
        with _opened(partial, "r+") as file:
            file[variables[0].key][...] = state.step
            for key, tensor in places.items():
                array = np.asarray(tensor)
                file[key][...] = array
                progress(array.nbytes)

"""Read and write Keras 3's .weights.h5 files, which number an optimizer's variables and name none of its parameters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.extras import how_to_install
from adamcompat.files import check_file, replacing
from adamcompat.mapping.model import Dialect
from adamcompat.state.files import keras_variables
from adamcompat.state.files.keras_variables import Options
from adamcompat.state.files.safetensors_file import Progress
from adamcompat.state.model import AdamState
from adamcompat.state.terms import Shape, StateError, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUP, _INNER = "optimizer/vars", "optimizer/inner_optimizer"
# A counter and a learning rate: all that an optimizer has before its first step.
HEAD = 2
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Variable:
    """Stand for a data set in a file, which is read when it is asked for.

    Attributes:
        path: of the file.
        key: the path of the data set in the file.
        shape: of the data set.
        dtype: of its elements.
    """

    path: Path
    key: str
    shape: Shape
    dtype: np.dtype[Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        with opened(self.path) as file:
            array = np.asarray(file[self.key][()])
        return array if dtype is None else array.astype(dtype)


@contextmanager
def opened(path: Path, mode: str = "r") -> Iterator[Any]:
    """Open a file, and turn h5py's many exceptions for damaged files into one.

    Args:
        path: of the file.
        mode: "r" to read, "r+" to write into the file as well.

    Yields:
        The h5py.File.

    Raises:
        StateError: h5py is not installed, or the file is damaged or cannot be opened.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise StateError(f"{path}: needs h5py: {how_to_install('files')}") from None
    try:
        with h5py.File(path, mode) as file:
            yield file
    except StateError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, OverflowError, MemoryError) as error:
        raise StateError(f"{path}: not a whole file of Keras's weights: {error}") from None


@dataclass(frozen=True, slots=True)
class Saved:
    """Hold the variables of an optimizer in a file.

    Attributes:
        variables: in order; those of the optimizer inside, where there is one.
        outer: those of the optimizer that wraps it, its own first; empty where none does.
        name: the name that Keras gives the optimizer, or an empty text.
    """

    variables: list[Variable]
    outer: list[Variable]
    name: str

    @property
    def dialect(self) -> Dialect:
        """Return the dialect of the optimizer by its name; that of Adam where the name is none of Keras's Adams."""
        return keras_variables.dialect_called(self.name) or keras_variables.MEMBERS[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is to be said of the parts that become no state of Adam."""
        return (keras_variables.scale_note(keras_variables.scale_of(self.outer)),) if self.outer else ()


def saved(path: Path, file: Any, where: Path) -> Saved | None:
    """Return the optimizer in an opened file.

    Args:
        path: where the variables can be read later.
        file: the h5py.File, opened.
        where: what to call the file in errors.

    Returns:
        The variables of the optimizer; None where the file holds none.

    Raises:
        StateError: the variables have other names than numbers, or not all of them are there.
    """
    if _GROUP not in file or not len(file[_GROUP]):
        return None
    outer, name = _numbered(path, file, _GROUP, where)
    inner = f"{_INNER}/vars"
    if inner in file and len(file[inner]):
        variables, name = _numbered(path, file, inner, where)
        return Saved(variables, outer, name)
    if keras_variables.is_loss_scale(outer):
        return Saved(outer[keras_variables.OWN_OF_LOSS_SCALE :], outer, "")
    return Saved(outer, [], name)


def _numbered(path: Path, file: Any, name: str, where: Path) -> tuple[list[Variable], str]:
    group = file[name]
    try:
        keys = sorted(group, key=int)
    except ValueError:
        raise StateError(f"{where}: {name} holds {', '.join(group)}, where numbers were expected") from None
    if keys != [str(place) for place in range(len(keys))]:
        raise StateError(
            f"{where}: not all of the optimizer's variables are there, only {', '.join(keys[:_SHOWN])}: the file is a "
            f"part of one that was divided; save it whole, without max_shard_size"
        )
    found = [Variable(path, f"{name}/{key}", tuple(group[key].shape), np.dtype(group[key].dtype)) for key in keys]
    return found, str(group.attrs.get("name", ""))


def _read(path: Path) -> Saved:
    _refuse_shard(path)
    with opened(path) as file:
        found = saved(path, file, path)
    if found is None:
        raise StateError(f"{path}: holds no optimizer; save the weights of a model that was compiled and trained")
    refuse_others(path, found)
    return found


def refuse_others(path: Path, found: Saved) -> None:
    """Refuse an optimizer whose name says that it is not Adam.

    Args:
        path: of the file, for the message.
        found: the optimizer in it.

    Raises:
        StateError: the optimizer is another one of Keras's, or holds several.
    """
    other = keras_variables.other_optimizer(found.name)
    if other == "multi_optimizer":
        raise StateError(
            f"{path}: holds several optimizers inside a MultiOptimizer; load the model, and read each by itself: "
            f"AdamState.of(optimizer) for optimizer in model.optimizer.optimizers"
        )
    if other is not None:
        raise StateError(f"{path}: holds the state of Keras's {other}, which is not Adam's")


def _refuse_shard(path: Path) -> None:
    """Refuse a file that holds a part of an optimizer; a .weights.json beside it tells who holds what."""
    for index in path.parent.glob("*.weights.json"):
        try:
            check_file(index)
            places = json.loads(index.read_text(encoding="utf-8"))["weight_map"][f"/{_GROUP}"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if path.name in places and len(places) > 1:
            raise StateError(
                f"{path}: holds a part of the optimizer, which {index.name} divides among {len(places)} files; save it "
                f"whole, without max_shard_size"
            )


def _slots(path: Path, variables: Sequence[Variable]) -> dict[str, list[Variable]]:
    """Return the variables by their role.

    Raises:
        StateError: there is more than one way to read them, or none.
    """
    ways = keras_variables.ways(variables, Options())
    plain = [way for way in ways if not {"average", "accumulated_gradient"} & way.keys()]
    if len(ways) == len(plain) == 1:
        return plain[0]
    count = f"{len(variables)} variables of an optimizer"
    if ways and not plain:
        raise StateError(
            f"{path}: {count} that keeps averages of the parameters or accumulates gradients, which such a file does "
            f"not tell apart; save the model as .keras, which does"
        )
    if variables and variables[0].shape == () and len(variables) <= HEAD:
        raise StateError(f"{path}: holds no moments: the optimizer had made no step when it was saved")
    raise StateError(
        f"{path}: {count}, which can be the state of Adam in {len(ways) or 'no'} {'ways' if ways else 'way'}; save the "
        f"model as .keras, which says what it is"
    )


def read(path: Path) -> tuple[AdamState, tuple[str, ...]]:
    """Return the state in a file, and what is to be said of it; parameters are called ``variable#0`` and so on.

    Args:
        path: of the .weights.h5 file.

    Returns:
        The state, whose tensors are read when they are needed, and notes.

    Raises:
        StateError: the file is damaged, holds no optimizer, or one that is not Adam's or not only Adam's.
    """
    found = _read(path)
    slots = _slots(path, found.variables)
    if not found.name:
        _refuse_negative(path, slots["second_moment"])
    names = [f"variable#{position}" for position in range(len(slots["first_moment"]))]
    state = AdamState(
        step=int(np.asarray(found.variables[0])),
        **{role: dict(zip(names, variables, strict=True)) for role, variables in slots.items()},  # type: ignore[arg-type]
        dialect=found.dialect.name,
        numerics=found.dialect.numerics,
        convention="tensorflow",
    )
    return state, found.notes


def _refuse_negative(path: Path, second: Sequence[Variable]) -> None:
    """Refuse second moments with negative elements; files of older Kerases do not name their optimizer."""
    for variable in second:
        if bool((np.asarray(variable) < 0).any()):
            raise StateError(
                f"{path}: {variable.key} has negative elements, which no second moment of Adam has; the state is "
                f"another optimizer's, or the file is damaged"
            )


def refuse_parameters(path: Path, state: AdamState) -> None:
    """Refuse a state with parameters: such a file has no names for them, so that they would be lost.

    Args:
        path: of the file that would be written, for the message.
        state: what would be written.

    Raises:
        StateError: the state has parameters.
    """
    if state.parameters is not None:
        raise StateError(
            f"{path}: parameters cannot be written into a .weights.h5 file, which does not name them; leave them as "
            f"they are there with --state-only (state_only=True), or write .keras"
        )


def write(path: Path, state: AdamState, like: Path, progress: Progress = lambda count: None) -> None:
    """Write the file `like` with this state; the parameters there stay as they are.

    Args:
        path: of the file, which is replaced as a whole.
        state: without parameters; it must have the kinds of state that `like` has, for as many parameters in the same
            order. Its names are not written.
        like: a file by the program that will read this one.
        progress: called with the number of bytes of each tensor that has been written.

    Raises:
        StateError: the state has parameters, `like` holds no state of Adam that can be told apart, or a file cannot be
            read or written.
    """
    refuse_parameters(path, state)
    found = _read(like)
    places: dict[str, Tensor] = {found.variables[0].key: np.asarray(state.step)}
    for role, variables in _slots(like, found.variables).items():
        kept = state.tensors.get(role)
        if kept is None or len(kept) != len(variables):
            has = "no" if kept is None else f"{len(kept)}"
            raise StateError(
                f"{like} has {len(variables)} tensors of {role}, and the state {has}; use one like the state"
            )
        places |= {variable.key: tensor for variable, tensor in zip(variables, kept.values(), strict=True)}
    # An optimizer that wraps another saves its variables, too.
    doubled = found.outer[len(found.outer) - len(found.variables) :] if found.outer else []
    twins = {variable.key: twin.key for variable, twin in zip(found.variables, doubled, strict=False)}
    with replacing(path) as partial:
        shutil.copyfile(like, partial)
        with opened(partial, "r+") as file:
            for key, tensor in places.items():
                array = np.asarray(tensor)
                for place in dict.fromkeys((key, twins.get(key, key))):
                    file[place][...] = array
                if key != found.variables[0].key:
                    progress(array.nbytes)

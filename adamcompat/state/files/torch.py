"""Read and write state in PyTorch's files: torch.load reads tensors and plain values only, and torch.save writes them.

A file holds the `state_dict()` of an optimizer, often with that of the model beside it, which tells names.
"""

from __future__ import annotations

import copy
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from adamcompat.files import replacing
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.advice import some
from adamcompat.state.files.torch_names import Named, names_of
from adamcompat.state.model import AdamState
from adamcompat.state.terms import ATTRIBUTES, StateError
from adamcompat.state.torch import check_keys, check_steps
from adamcompat.state.torch_tensors import Array, array_of, given_names, members, settings, tensor_of

# Adam, and AdamW, whose groups say that they decouple the decay.
_ADAM, _ADAMW = (MAPPING.dialects[name] for name in RUNTIMES["torch"].originals)
# Names that people give to the model's part of a file.
_MODELS = ("model", "model_state_dict", "state_dict")
_KEYS = {"state", "param_groups"}
_MAXIMUM = "maximum_second_moment"


@dataclass(frozen=True, slots=True)
class _Content:
    """Hold what is in a file.

    Attributes:
        whole: all of it.
        key: of the optimizer; an empty text where the file is the optimizer's state alone.
        optimizer: its `state_dict()`.
        model_key: of the model; None where there is none.
        dialect: Adam's or AdamW's.
        named: the name of each parameter.
        notes: what of the file is no part of the state.
    """

    whole: Any
    key: str
    optimizer: Mapping[str, Any]
    model_key: str | None
    dialect: Dialect
    named: Named
    notes: tuple[str, ...]

    @property
    def model(self) -> Mapping[str, Any]:
        """Return the `state_dict()` of the model; empty where there is none."""
        found: Mapping[str, Any] = {} if self.model_key is None else self.whole[self.model_key]
        return found

    @property
    def states(self) -> dict[str, Mapping[str, Any]]:
        """Return the optimizer's state of each parameter that has state, by the parameter's name."""
        kept = self.optimizer["state"]
        return {name: kept[place] for place, name in self.named.names.items() if kept.get(place)}


def read(path: Path) -> tuple[AdamState, tuple[str, ...], str]:
    """Read the state in a file.

    Args:
        path: of the .pt or .pth file. Nothing in it is executed.

    Returns:
        The state; notes on it; and why the file holds no moments, which is an empty text where it does. Without moments
        the state is the one that the optimizer begins with.

    Raises:
        StateError: there is no state of Adam, or not all of it can be read.
    """
    found = _content(path)
    shared, differing = settings(found.optimizer["param_groups"], found.dialect)
    notes = [*found.notes]
    if differing:
        notes.append(
            f"its groups differ in {', '.join(differing)}, which a state does not hold and loading does not "
            f"compare: give the groups of the target the same values"
        )
    states, names = found.states, found.named.names.values()
    if not states:
        return _fresh(path, found, shared), tuple(notes), "holds no moments: the optimizer had made no step"
    check_keys("the optimizer", states, found.dialect)
    steps = {name: _step(state, found.dialect) for name, state in states.items()}
    check_steps("the optimizer", steps)
    if without := [name for name in names if name not in states]:
        notes.append(f"{some(without)} have no state, for they never had a gradient, and are left out")
    tensors: dict[str, Any] = {
        ATTRIBUTES[role]: {name: array_of(state[key], f"{key} of {name!r}") for name, state in states.items()}
        for role, key in found.dialect.slot_names.items()
        if all(key in state for state in states.values())
    }
    if found.named.in_model:
        tensors["parameters"] = {name: array_of(found.model[name], repr(name)) for name in states}
    state = AdamState(step=next(iter(steps.values())), **tensors, **_facts(found.dialect, shared))
    return state, tuple(notes), ""


def _facts(dialect: Dialect, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    convention = RUNTIMES["torch"].framework.name
    facts = {"hyperparameters": hyperparameters, "dialect": dialect.name, "numerics": dialect.numerics}
    return facts | {"convention": convention}


def _step(state: Mapping[str, Any], dialect: Dialect) -> int:
    """Return how often a parameter was updated; PyTorch counts in float32, and counted in whole numbers before."""
    value = state[dialect.slot("step").template]
    number = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
    if not isinstance(number, (int, float)) or not math.isfinite(number) or number != int(number) or number < 0:
        raise StateError(f"a number of steps is {value!r}, which is no whole number of at least 0")
    return int(number)


def _fresh(path: Path, found: _Content, shared: Mapping[str, Any]) -> AdamState:
    """Return the state that an optimizer begins with: a pattern for names, shapes and dtypes."""
    if not found.named.in_model:
        raise StateError(
            f"{path}: holds no moments, and no model that tells shapes: save the model's state_dict() beside the "
            f"optimizer's, as {{{_MODELS[0]!r}: ..., 'optimizer': ...}}, or make a step first"
        )
    parameters = {name: array_of(found.model[name], repr(name)) for name in found.named.names.values()}
    zeros = {name: np.zeros_like(array) for name, array in parameters.items()}
    kept = [role for role in found.dialect.slot_names if role != _MAXIMUM or shared.get("amsgrad")]
    moments: dict[str, Any] = {ATTRIBUTES[role]: zeros for role in kept}
    return AdamState(step=0, parameters=parameters, **moments, **_facts(found.dialect, shared))


def _content(path: Path) -> _Content:
    whole = _loaded(path)
    key, optimizer = _optimizer(whole)
    dialect, notes = _dialect(optimizer["param_groups"])
    model_key, open_keys = _model(whole, key)
    if open_keys:
        notes.append(f"it holds several models ({some(open_keys)}), of which none is taken for the optimizer's")
    rest = [str(name) for name in whole if name not in (key, model_key, *open_keys)] if key else []
    if rest:
        notes.append(f"it also holds {some(rest)}, which are no part of the state")
    kept, places = optimizer["state"], members(optimizer["param_groups"], dialect)
    moment = dialect.slot_names["first_moment"]
    shapes = {place: tuple(kept[place][moment].shape) if moment in kept.get(place, ()) else None for place in places}
    named, more = names_of(shapes, given_names(optimizer["param_groups"]), _shapes(whole, model_key))
    return _Content(whole, key, optimizer, model_key, dialect, named, (*notes, *more))


def _shapes(whole: Any, key: str | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what the model holds in real numbers."""
    tensors = {} if key is None else whole[key]
    return {name: tuple(one.shape) for name, one in tensors.items() if one.is_floating_point()}


def _loaded(path: Path) -> Any:
    # Opened here, so that whatever PyTorch stumbles over is in the file.
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _check_archive(path, file)
            return torch.load(file, map_location="cpu", weights_only=True)
        except StateError:
            raise
        except pickle.UnpicklingError as error:
            what = re.search(r"GLOBAL (\S+)", str(error))
            if what is None:
                raise StateError(f"{path}: not a file that torch.save wrote, or damaged") from None
            raise StateError(
                f"{path}: holds objects ({what[1]}), which could run code, and is not unpickled: save state_dict()s "
                f"instead"
            ) from None
        except Exception as error:  # it fails in many ways on what it did not write
            text = str(error).strip().partition("\n")[0] or type(error).__name__
            raise StateError(f"{path}: not a file that torch.save wrote, or damaged: {text}") from None


def _check_archive(path: Path, file: BinaryIO) -> None:
    """Compare the checksums of an archive, which PyTorch itself does not look at; older files are none.

    Raises:
        StateError: a part of the archive is damaged.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise StateError(f"{path}: damaged: the checksum of {damaged} in it is wrong")
    file.seek(0)


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() >= _KEYS and isinstance(value["state"], Mapping)


def _optimizer(whole: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the key of the optimizer and its `state_dict()`."""
    if _is_optimizer(whole):
        return "", whole
    found = [key for key, value in whole.items() if _is_optimizer(value)] if isinstance(whole, Mapping) else []
    if not found:
        if nested := _nested(whole):
            raise StateError(
                f"holds no state of an optimizer where it is looked for; there is one at {nested}: save that alone, or "
                f"beside the model's, as {{'model': ..., 'optimizer': ...}}"
            )
        raise StateError(
            "holds no state of an optimizer: expected the state_dict() of one of torch.optim, or a dictionary with "
            "one in it, under 'optimizer' for example"
        )
    if len(found) > 1:
        raise StateError(f"holds several optimizers: {some(map(str, found))}; save each to a file of its own")
    return found[0], whole[found[0]]


def _nested(value: Any, depth: int = 3) -> str:
    """Return the index at which the `state_dict()` of an optimizer lies deeper in a file; empty if there is none."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    for key, inner in pairs if depth else ():
        if _is_optimizer(inner):
            return f"[{key!r}]"
        if deeper := _nested(inner, depth - 1):
            return f"[{key!r}]{deeper}"
    return ""


def _model(whole: Any, optimizer: str) -> tuple[str | None, list[str]]:
    """Return the key of the model's `state_dict()`, if there is one; and the keys of several of which none is it."""
    found = [key for key, value in whole.items() if key != optimizer and _is_model(value)] if optimizer else []
    chosen = [key for key in found if key in _MODELS] or found
    if len(chosen) > 1:
        return None, chosen
    return (chosen[0] if chosen else None), []


def _is_model(value: Any) -> bool:
    named = isinstance(value, Mapping) and bool(value) and all(isinstance(name, str) for name in value)
    return named and all(isinstance(one, torch.Tensor) for one in value.values())


def _dialect(groups: Any) -> tuple[Dialect, list[str]]:
    """Return the dialect that these groups have, and what is to be said of that.

    Raises:
        StateError: the groups are not those of Adam or AdamW.
    """
    facts = [_ADAM.named(name) for name in ("learning_rate", "beta1", "epsilon", "amsgrad")]
    needed = [fact.name.partition("[")[0] for fact in facts if fact is not None]
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, Mapping) for group in groups):
        raise StateError("its param_groups are no list of dictionaries: this is no state_dict() of torch.optim")
    if missing := [name for name in needed if any(name not in group for group in groups)]:
        raise StateError(
            f"its groups have no {some(missing)}, which {_ADAM.target} and {_ADAMW.target} have: this is the state of "
            f"another optimizer"
        )
    switch, decay = _ADAM.named("decouples_decay"), _ADAM.named("l2_weight_decay")
    assert switch is not None and decay is not None
    if all(group.get(switch.name) for group in groups):
        return _ADAMW, []
    if any(switch.name not in group and group.get(decay.name) for group in groups):
        return _ADAM, [
            f"its groups do not tell {_ADAM.target} from {_ADAMW.target}, as files of older versions do not: it is "
            f"read as the first; if it was the second, {decay.name} is {_ADAMW.target}'s"
        ]
    return _ADAM, []


def write(path: Path, state: AdamState, like: Path) -> None:
    """Write a file as `like` is, with this state.

    Args:
        path: of the file, which is replaced as a whole.
        state: under the names and in the layouts of `like`, with maxima of second moments just where the optimizer
            there keeps them. Parameters of `like` that it lacks stay as they are. Without
            parameters those of the model stay as they are, and without a model its parameters are not written.
        like: a file by the program that will read this one.

    Raises:
        StateError: `like` cannot be read, its optimizer lacks a parameter of the state or a kind of state, a shape
            differs, or the step does not fit its counter.
    """
    found = _content(like)
    lost = [role for role in ("average", "accumulated_gradient") if role in state.tensors]
    if lost:
        raise StateError(f"the state has {lost[0]}, which {found.dialect.target} does not keep")
    places = {name: place for place, name in found.named.names.items()}
    if unknown := [name for name in state.names if name not in places]:
        raise StateError(f"{like}: its optimizer has no {some(unknown)}")
    _check_maxima(state, found, places, like)
    whole = copy.copy(found.whole)
    optimizer = {**found.optimizer, "state": dict(found.optimizer["state"])}
    for name in state.names:
        optimizer["state"][places[name]] = dict(_kept(state, name, found))
    if found.key:
        whole[found.key] = optimizer
    else:
        whole = optimizer
    if state.parameters is not None and found.model_key is not None:
        whole[found.model_key] = copy.copy(found.model)
        for name in state.names:
            whole[found.model_key][name] = _as(found.model[name], np.asarray(state.parameters[name]))
    with replacing(path) as partial:
        torch.save(whole, partial)


def _check_maxima(state: AdamState, found: _Content, places: Mapping[str, Any], like: Path) -> None:
    """Refuse a state with maxima of second moments for an optimizer without, and the other way round.

    PyTorch would fail in its next step, or leave them unused.

    Args:
        state: what is to be written.
        found: what `like` holds.
        places: the number of each parameter in the groups of `like`, by name.
        like: the pattern, for the message.

    Raises:
        StateError: one of the two has maxima for a parameter that the other has none for.
    """
    has = "maximum_second_moment" in state.tensors
    asked = {
        place: bool(group.get("amsgrad")) for group in found.optimizer["param_groups"] for place in group["params"]
    }
    key = found.dialect.slot_names["maximum_second_moment"]
    for name in state.names:
        before = found.states.get(name)
        if (asked[places[name]] if before is None else key in before) != has:
            one, other = ("the state", str(like)) if has else (str(like), "the state")
            role = "maximum_second_moment"
            raise StateError(
                f"{one} has {role} for {name}, and {other} has none; use the same amsgrad in both programs"
            )


def _kept(state: AdamState, name: str, found: _Content) -> Iterator[tuple[str, Any]]:
    """Yield the state of one parameter, under PyTorch's names."""
    before = found.states.get(name, {})
    count = found.dialect.slot("step").template
    number = before.get(count, torch.zeros(()))
    if isinstance(number, torch.Tensor):
        limit = 2 ** (int(-np.log2(torch.finfo(number.dtype).eps)) + 1)
        if state.step > limit:
            raise StateError(f"step {state.step} does not fit PyTorch's counter, which is {number.dtype}")
        yield count, torch.full_like(number, state.step)
    else:
        yield count, type(number)(state.step)
    for role, key in found.dialect.slot_names.items():
        if role in state.tensors:
            array = np.asarray(state.tensors[role][name])
            yield key, _as(before[key], array) if key in before else tensor_of(array)


def _as(tensor: Any, array: Array) -> Any:
    """Return a tensor as another one is in shape and dtype, with these elements.

    Raises:
        StateError: the shapes differ.
    """
    if tuple(tensor.shape) != array.shape:
        raise StateError(f"a tensor has shape {array.shape}, and {tuple(tensor.shape)} is needed")
    return torch.empty_like(tensor, requires_grad=False).copy_(tensor_of(array))

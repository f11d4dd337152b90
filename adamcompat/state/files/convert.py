"""Convert a file of state to another: parameters are matched and shown first, then tensors are written one by one."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adamcompat.kinds import path_of
from adamcompat.state.files import h5_file
from adamcompat.state.files.formats import (
    MINDSPORE_CKPT,
    MINDSPORE_SAFETENSORS,
    WEIGHTS,
    Document,
    check_document,
    check_target,
    form_for,
    refuse_missing,
    write,
)
from adamcompat.state.files.safetensors_file import Progress
from adamcompat.state.files.stored import Joined, Moved, Taken, norm
from adamcompat.state.layout import unchanged
from adamcompat.state.matching import Layout, Matching, Pair, Rename
from adamcompat.state.model import AdamState
from adamcompat.state.pairing import pieces_for
from adamcompat.state.terms import ATTRIBUTES, StateError, Tensor
from adamcompat.state.writing import differences

_OF_MINDSPORE = (MINDSPORE_SAFETENSORS, MINDSPORE_CKPT)


@dataclass(frozen=True, slots=True)
class Conversion:
    """Hold what will be written, to be looked at before `carry_out`.

    Attributes:
        source: the file that the state comes from.
        path: of the file that will be written.
        form: its form, one of `formats.FORMS`.
        like: the file whose names, shapes and other contents it gets, if any.
        matching: which parameter becomes which.
        state: what will be written, in the layouts of the target; its tensors are made when they are needed.
    """

    source: Document
    path: Path
    form: str
    like: Document | None
    matching: Matching
    state: AdamState

    def norms(self) -> Iterator[tuple[str, dict[str, float]]]:
        """Yield for each pair of the matching the norms of what is carried; reads everything once.

        Yields:
            The name of the target, and the L2 norm of what the pair carries by role in mapping.yaml, which is 0
            where it carries nothing of that role.
        """
        kept = self.source.state.tensors

        def carried(pair: Pair, role: str) -> Tensor:
            tensor = kept[role][pair.source]
            if pair not in pieces_for(pairs[pair.target], role):
                return np.zeros(0, tensor.dtype)
            return tensor if pair.source_part is None else Taken(tensor, pair)

        pairs = self.matching.of_targets
        # Checksums take longer than reading, so two tensors at a time; of each only a block is held.
        with ThreadPoolExecutor(2) as pool:
            norms = pool.map(norm, [carried(pair, role) for pair in self.matching.pairs for role in kept])
            for pair in self.matching.pairs:
                yield pair.target, dict(zip(kept, norms, strict=False))

    @property
    def bytes(self) -> int:
        """Return how many bytes of tensors will be written."""
        found = [tensor for kept in self.state.tensors.values() for tensor in kept.values()]
        return sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in found)

    def carry_out(self, progress: Progress = lambda count: None) -> None:
        """Write the file; on any error it is as it was.

        Args:
            progress: called with the number of bytes of tensors that have been written since the last call.

        Raises:
            StateError: the form cannot hold the state, or the file cannot be written.
        """
        write(self.path, self.state, form=self.form, like=self.like, progress=progress)


def convert(
    source: Document,
    path: str | Path,
    *,
    like: Document | None = None,
    form: str | None = None,
    rename: Rename | None = None,
    layout: Layout | None = None,
    state_only: bool = False,
    cast: bool = False,
    alone: Sequence[str] = (),
) -> Conversion:
    """Prepare to write the state in `source` to a file of another form, names and layout.

    Notes on the state, such as other hyperparameters in `like`, are UserWarnings.

    Args:
        source: as `open_document` returns it.
        path: of the file that will be written; its ending says the form, as for `write`.
        like: a file that the program wrote that will read this one, at any step: it tells the names,
            shapes and dtypes there. Without it all stay as they are.
        form: the form to write, one of `formats.FORMS`, where the ending leaves a choice, as for `write`.
        rename: names of the source to names in `like`, as `adamcompat.state.matching.match` describes it; needs `like`.
        layout: how the axes lie on either side, as described there; needs `like`.
        state_only: leave the parameters of `like` as they are there.
        cast: whether values may be rounded to a narrower dtype of `like`.
        alone: names of parameters that have no partner, as described there; needs `like`. What has no
            partner in the source keeps the parameter that it has in `like`, and its moments begin at zero.

    Returns:
        The conversion, of which nothing has been written yet.

    Raises:
        TypeError: an argument is of the wrong kind.
        StateError: no match, or the target cannot hold the state; nothing has been written.
    """
    if source is None:
        raise TypeError("source must be what open_document(path) returns; got None")
    check_document(source, "source")
    check_document(like, "like")
    path = path_of(path, "path")
    refuse_missing(source)
    chosen = form_for(path, like, form)
    check_target(path)
    state = source.state
    if state_only:
        state = dataclasses.replace(state, parameters=None)
    if chosen == WEIGHTS:
        h5_file.refuse_parameters(Path(path), state)
    if like is None:
        if rename is not None or layout is not None or alone:
            raise StateError("names and layouts are matched with those of a file of the target; pass it as like")
        wanted = "mindspore" if chosen in _OF_MINDSPORE else state.convention
        if state.convention is not None and state.convention != wanted:
            raise StateError(
                f"{source.path} has {state.convention}'s names and layouts, and {path} would have {wanted}'s; pass a "
                f"file that the {wanted} program wrote as like"
            )
        matching = Matching(tuple(Pair(name, name, unchanged(s), "name") for name, s in state.shapes.items()))
    else:
        shapes = like.state.shapes
        matching = state.match(shapes, rename=rename, layout=layout, convention=like.state.convention, alone=alone)
        state = _like(state, like, matching, cast)
        notes = [*matching.notes]
        if source.state.parameters is None and not state_only and like.state.parameters is not None:
            notes.append(f"{source.path} has no parameters: {path} gets those of {like.path}, beside this state")
        if differing := differences(like.state.hyperparameters, like.state.dialect, source.state):
            notes.append(
                f"the optimizer of {like.path} goes on with other hyperparameters than the state came from: "
                f"{differing}. Carrying state does not change them"
            )
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=2)
    return Conversion(source, Path(path), chosen, like, matching, state)


def _like(state: AdamState, like: Document, matching: Matching, cast: bool) -> AdamState:
    """Return the state with the names, shapes and dtypes of `like`."""
    theirs = like.state.tensors
    for role in ("maximum_second_moment", "average"):
        if (role in state.tensors) != (role in theirs):
            has, lacks = ("the state", like.path) if role in state.tensors else (like.path, "the state")
            raise StateError(f"{has} has {role}, and {lacks} has none; use the same options in both programs")
    parts: dict[str, Any] = dict.fromkeys(ATTRIBUTES.values())
    pairs = matching.of_targets
    for role, kept in state.tensors.items():
        if role == "accumulated_gradient" and not state.accumulated_calls:
            continue
        places = theirs.get(role, like.state.first_moment)
        parts[ATTRIBUTES[role]] = {
            name: _moved(kept, pairs[name], role, places[name], cast)
            if name in pairs
            else _alone(like, role, name, places[name])
            for name in like.state.names
        }
    return dataclasses.replace(
        state,
        **parts,
        hyperparameters={**state.hyperparameters, **like.state.hyperparameters},
        dialect=like.state.dialect or state.dialect,
        numerics=like.state.numerics or state.numerics,
        convention=like.state.convention,
    )


def _moved(kept: Mapping[str, Tensor], pairs: tuple[Pair, ...], role: str, place: Tensor, cast: bool) -> Tensor:
    """Return a tensor of `like`, made of those of the source when it is needed."""
    for pair in pieces_for(pairs, role):
        dtype = kept[pair.source].dtype
        if dtype != place.dtype and not cast and not np.can_cast(dtype, place.dtype):
            raise StateError(
                f"{role} of {pair.target!r} is {place.dtype} there, and {dtype} here; pass cast to round it"
            )
    first = pairs[0]
    if len(pairs) == 1 and not first.addend and first.source_part is None:
        return Moved(kept[first.source], first.transform, place.dtype)
    return Joined(kept, pairs, role, tuple(place.shape), place.dtype)


def _alone(like: Document, role: str, name: str, place: Tensor) -> Tensor:
    """Return what a parameter without partner begins with: itself and its average as they are, moments at zero."""
    if role == "average" or role == "parameter":
        own = like.state.parameters
        if own is None:
            raise StateError(
                f"{like.path} has no parameters, so that there would be none of {name!r}, which is alone; carry the "
                f"state alone (--state-only)"
            )
        return own[name]
    return np.zeros(place.shape, place.dtype)

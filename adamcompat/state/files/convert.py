"""From one file to another: matched and shown first, then written tensor by tensor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adamcompat.state.errors import StateError
from adamcompat.state.files import h5_file
from adamcompat.state.files.formats import (
    MINDSPORE_CKPT,
    MINDSPORE_SAFETENSORS,
    WEIGHTS,
    Document,
    check_target,
    form_for,
    write,
)
from adamcompat.state.files.safetensors_file import Progress
from adamcompat.state.files.stored import Moved, norm
from adamcompat.state.layout import unchanged
from adamcompat.state.matching import Layout, Matching, Pair, Rename
from adamcompat.state.model import ATTRIBUTES, AdamState, Tensor

_OF_MINDSPORE = (MINDSPORE_SAFETENSORS, MINDSPORE_CKPT)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What will be written, to be looked at before `carry_out`.

    Attributes:
        source: where the state comes from.
        path, form: of the file that will be written.
        like: the file whose names, shapes and other contents it gets, if any.
        matching: which parameter becomes which.
        state: what will be written, in the layouts of the target; made when it is needed.
    """

    source: Document
    path: Path
    form: str
    like: Document | None
    matching: Matching
    state: AdamState

    def norms(self) -> Iterator[tuple[str, dict[str, float]]]:
        """For each parameter the norm of what is kept for it, by role; reads everything once."""
        kept = self.source.state.tensors
        # Checksums take longer than reading, so two tensors at a time; of each only a block is held.
        with ThreadPoolExecutor(2) as pool:
            norms = pool.map(norm, [found[pair.source] for pair in self.matching.pairs for found in kept.values()])
            for pair in self.matching.pairs:
                yield pair.target, dict(zip(kept, norms, strict=False))

    @property
    def bytes(self) -> int:
        """How many bytes of tensors will be written."""
        found = [tensor for kept in self.state.tensors.values() for tensor in kept.values()]
        return sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in found)

    def carry_out(self, progress: Progress = lambda count: None) -> None:
        """Write the file; on any error it is as it was."""
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
) -> Conversion:
    """Prepare to write the state in `source` to a file of another form, names and layout.

    Args:
        source: as `open_document` returns it.
        path, form: as for `write`.
        like: a file that the program wrote that will read this one, at any step: it tells the names,
            shapes and dtypes there. Without it all stay as they are.
        rename, layout: as `adamcompat.state.matching.match` describes them; they need `like`.
        state_only: leave the parameters of `like` as they are there.
        cast: whether values may be rounded to a narrower dtype of `like`.

    Raises:
        StateError: no match, or the target cannot hold the state; nothing has been written.
    """
    chosen = form_for(path, like, form)
    check_target(path)
    state = source.state
    if state_only:
        state = dataclasses.replace(state, parameters=None)
    if chosen == WEIGHTS:
        h5_file.refuse_parameters(Path(path), state)
    if like is None:
        if rename is not None or layout is not None:
            raise StateError("names and layouts are matched with those of a file of the target; pass it as like")
        wanted = "mindspore" if chosen in _OF_MINDSPORE else state.convention
        if state.convention is not None and state.convention != wanted:
            raise StateError(
                f"{source.path} has {state.convention}'s names and layouts, and {path} would have {wanted}'s; pass a "
                f"file that the {wanted} program wrote as like"
            )
        shapes = state.shapes.items()
        matching = Matching(tuple(Pair(name, name, unchanged(s), "name") for name, s in shapes))
    else:
        matching = state.match(like.state.shapes, rename=rename, layout=layout, convention=like.state.convention)
        state = _like(state, like, matching, cast)
    return Conversion(source, Path(path), chosen, like, matching, state)


def _like(state: AdamState, like: Document, matching: Matching, cast: bool) -> AdamState:
    """The state as `like` has it."""
    theirs = like.state.tensors
    for role in ("maximum_second_moment", "average"):
        if (role in state.tensors) != (role in theirs):
            has, lacks = ("the state", like.path) if role in state.tensors else (like.path, "the state")
            raise StateError(f"{has} has {role}, and {lacks} has none; use the same options in both programs")
    parts: dict[str, Any] = dict.fromkeys(ATTRIBUTES.values())
    for role, kept in state.tensors.items():
        if role == "accumulated_gradient" and not state.accumulated_calls:
            continue
        places = theirs.get(role, like.state.first_moment)
        parts[ATTRIBUTES[role]] = {
            name: _moved(kept[pair.source], pair, places[name].dtype, role, cast)
            for name, pair in ((name, matching.by_target[name]) for name in like.state.names)
        }
    return dataclasses.replace(
        state,
        **parts,
        hyperparameters={**state.hyperparameters, **like.state.hyperparameters},
        dialect=like.state.dialect or state.dialect,
        numerics=like.state.numerics or state.numerics,
        convention=like.state.convention,
    )


def _moved(tensor: Tensor, pair: Pair, dtype: np.dtype[Any], role: str, cast: bool) -> Moved:
    if tensor.dtype != dtype and not cast and not np.can_cast(tensor.dtype, dtype):
        raise StateError(f"{role} of {pair.target!r} is {dtype} there, and {tensor.dtype} here; pass cast to round it")
    return Moved(tensor, pair.transform, dtype)

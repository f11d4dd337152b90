"""Read and write the neutral form: a safetensors file that any language can read, described in docs/state-files.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adamcompat.state.files import safetensors_file
from adamcompat.state.files.safetensors_file import Progress
from adamcompat.state.files.stored import Stored
from adamcompat.state.model import AdamState
from adamcompat.state.terms import ATTRIBUTES, StateError, Tensor

FORMAT, VERSION = "adamcompat.state", "1"
FACTS = ("step", "accumulation_steps", "accumulated_calls", "hyperparameters", "dialect", "numerics", "convention")


def recognizes(metadata: Mapping[str, str]) -> bool:
    """Return whether the metadata of a safetensors file are those of the neutral form."""
    return metadata.get("format") == FORMAT


def read(path: Path, tensors: Mapping[str, Stored], metadata: dict[str, str]) -> AdamState:
    """Return the state in a file; tensors are checked when they are read.

    Args:
        path: of the file, for errors.
        tensors: everything in the file, as `safetensors_file.read` returns it.
        metadata: of the file, as `safetensors_file.read` returns it.

    Raises:
        StateError: the file is damaged, or of a later version.
    """
    if metadata.get("version") != VERSION:
        raise StateError(
            f"{path}: version {metadata.get('version')!r} of the form, and this adamcompat reads {VERSION!r}; update it"
        )
    checked = safetensors_file.unsealed(path, tensors, metadata)
    try:
        facts, names = (json.loads(metadata[key]) for key in ("state", "parameters"))
        found: dict[str, dict[str, Tensor]] = {}
        for role in {name.partition("/")[0] for name in checked}:
            found[ATTRIBUTES[role]] = {name: checked[f"{role}/{name}"] for name in names}
        return AdamState(**{key: facts[key] for key in FACTS}, **{"first_moment": {}, "second_moment": {}, **found})  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise StateError(f"{path}: the file says it is {FORMAT}, and is not: {error!r}") from None


def write(path: Path, state: AdamState, progress: Progress = lambda count: None) -> None:
    """Write a state; whoever looks at `path` finds the old file or the new one.

    Args:
        path: of the file, which is replaced as a whole.
        state: what is written; each tensor is read when it is its turn.
        progress: called with the number of bytes of tensors that have been written since the last call.

    Raises:
        StateError: safetensors does not know a dtype.
    """
    tensors = {f"{role}/{name}": kept[name] for role, kept in state.tensors.items() for name in state.names}
    fixed = {
        "format": FORMAT,
        "version": VERSION,
        "state": json.dumps(facts_of(state)),
        "parameters": json.dumps(list(state.names)),
    }
    safetensors_file.write_sealed(path, tensors, fixed, progress)


def facts_of(state: AdamState) -> dict[str, Any]:
    """Return all of a state but its tensors and their names, as values for JSON."""
    return {key: getattr(state, key) for key in FACTS} | {"hyperparameters": dict(state.hyperparameters)}

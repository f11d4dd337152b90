"""The neutral form: a safetensors file that any language can read, described in docs/state-files.md."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adamcompat.state.errors import StateError
from adamcompat.state.files import safetensors_file
from adamcompat.state.files.safetensors_file import Progress, Sums
from adamcompat.state.files.stored import Stored
from adamcompat.state.model import ATTRIBUTES, AdamState, Tensor

FORMAT, VERSION = "adamcompat.state", "1"
_FACTS = ("step", "accumulation_steps", "accumulated_calls", "hyperparameters", "dialect", "numerics", "convention")
_NO_SUM = "0" * 8


def recognizes(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata of a safetensors file are those of the neutral form."""
    return metadata.get("format") == FORMAT


def _sealed(metadata: dict[str, str], tensors: Mapping[str, Any]) -> dict[str, str]:
    """With a checksum of the metadata and of names, shapes and dtypes."""
    facts = [[name, list(tensor.shape), tensor.dtype.name] for name, tensor in tensors.items()]
    text = json.dumps([{**metadata, "checksum": _NO_SUM}, sorted(facts)], sort_keys=True)
    return {**metadata, "checksum": f"{zlib.crc32(text.encode()):08x}"}


def read(path: Path, tensors: Mapping[str, Stored], metadata: dict[str, str]) -> AdamState:
    """The state in a file; tensors are checked when they are read.

    Raises:
        StateError: the file is damaged, or of a later version.
    """
    if metadata.get("version") != VERSION:
        raise StateError(
            f"{path}: version {metadata.get('version')!r} of the form, and this adamcompat reads {VERSION!r}; update it"
        )
    if metadata != _sealed(metadata, tensors):
        raise StateError(f"{path}: the file is damaged: its checksum is not the one it was written with")
    try:
        facts, names, sums = (json.loads(metadata[key]) for key in ("state", "parameters", "checksums"))
        found: dict[str, dict[str, Tensor]] = {}
        for role in {name.partition("/")[0] for name in tensors}:
            found[ATTRIBUTES[role]] = {
                name: dataclasses.replace(tensors[f"{role}/{name}"], checksum=int(sums[f"{role}/{name}"], 16))
                for name in names
            }
        return AdamState(**{key: facts[key] for key in _FACTS}, **{"first_moment": {}, "second_moment": {}, **found})  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise StateError(f"{path}: the file says it is {FORMAT}, and is not: {error!r}") from None


def write(path: Path, state: AdamState, progress: Progress = lambda count: None) -> None:
    """Write a state; whoever looks at `path` finds the old file or the new one."""
    tensors = {f"{role}/{name}": kept[name] for role, kept in state.tensors.items() for name in state.names}
    facts = {key: getattr(state, key) for key in _FACTS}
    facts["hyperparameters"] = dict(facts["hyperparameters"])
    fixed = {
        "format": FORMAT,
        "version": VERSION,
        "state": json.dumps(facts),
        "parameters": json.dumps(list(state.names)),
    }

    def metadata(sums: Sums) -> dict[str, str]:
        each = {name: f"{value:08x}" for name, value in sums.each.items()}
        return _sealed({**fixed, "checksums": json.dumps(each)}, tensors)

    safetensors_file.write(path, tensors, metadata, progress)

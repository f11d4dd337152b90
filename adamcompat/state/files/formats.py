"""Tell which file is of which form, and read and write each form."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from adamcompat.extras import how_to_install
from adamcompat.files import check_file, destination
from adamcompat.kinds import path_of, told
from adamcompat.state.files import ckpt_file, h5_file, mindspore, neutral, safetensors_file, whole_h5_file
from adamcompat.state.files.safetensors_file import Progress
from adamcompat.state.model import AdamState
from adamcompat.state.terms import StateError, Tensor

NEUTRAL, MINDSPORE_SAFETENSORS, MINDSPORE_CKPT = "neutral", "mindspore", "mindspore-ckpt"
KERAS, WEIGHTS, WHOLE_H5, TENSORFLOW = "keras", "keras-weights", "keras-h5", "tensorflow"
TORCH = "torch"
FORMS = {
    NEUTRAL: "adamcompat's neutral form (.safetensors)",
    MINDSPORE_SAFETENSORS: "MindSpore (.safetensors)",
    MINDSPORE_CKPT: "MindSpore (.ckpt)",
    KERAS: "Keras (.keras)",
    WEIGHTS: "Keras (.weights.h5)",
    WHOLE_H5: "Keras (.h5 of a whole model)",
    TENSORFLOW: "TensorFlow (checkpoint)",
    TORCH: "PyTorch (.pt, .pth)",
}
_SUFFIXES = {
    ".safetensors": NEUTRAL,
    ".ckpt": MINDSPORE_CKPT,
    ".keras": KERAS,
    ".h5": WEIGHTS,
    ".pt": TORCH,
    ".pth": TORCH,
}
# Forms that hold more than a state, so that a file of the program is needed as a pattern, and what more they hold.
_NEED_LIKE = {KERAS: "a model", WEIGHTS: "a model", TORCH: "the optimizer's settings"}


@dataclass(frozen=True, slots=True)
class Document:
    """Hold a file and the state in it.

    Attributes:
        path: where it is.
        form: one of `FORMS`.
        state: its tensors are read when they are needed; the file must stay until then.
        tensors: everything in the file under its own names, where that is what it is made of.
        notes: what of the file is not in the state, and what is in the state though it is not in the file.
        missing: why the file holds no moments, where it is good as a pattern for others only; or an empty text.
    """

    path: Path
    form: str
    state: AdamState
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: str = ""


def open_document(path: str | Path, *, beta1: float | None = None, beta2: float | None = None) -> Document:
    """Find out what a file is, and read what it tells about itself; tensors are read later.

    Args:
        path: a .safetensors, .ckpt, .keras, .weights.h5, .h5, .pt or .pth file, the prefix or folder of a
            tf.train.Checkpoint, or the folder of a SavedModel.
        beta1: the decay rate of the optimizer's first moment, in [0, 1], for files that do not tell it.
        beta2: the decay rate of the optimizer's second moment, in [0, 1], for files that do not tell it.

    Returns:
        The file with its state. A file without moments is opened too; it is good as a pattern.

    Raises:
        TypeError: `path` is no path.
        StateError: there is no such file, it is damaged, or it holds no state of Adam.

    Warns:
        UserWarning: a part of the file is no part of the state, the loss scale for example.
    """
    found = _opened(path_of(path, "path"), beta1, beta2)
    for note in found.notes:
        warnings.warn(f"{found.path}: {note}", UserWarning, stacklevel=2)
    return found


def _opened(place: Path, beta1: float | None, beta2: float | None) -> Document:
    betas = {name: value for name, value in (("beta1", beta1), ("beta2", beta2)) if value is not None}
    for name, value in betas.items():
        if not 0 <= value <= 1:
            raise StateError(f"{name} must lie in [0, 1], got {value!r}")
    # A checkpoint of TensorFlow may have any name, also one with MindSpore's ending.
    folder = place.is_dir() and place.suffix not in (".safetensors", ".keras")
    if folder or place.with_name(f"{place.name}.index").exists():
        state, notes = _part("tensorflow", "tensorflow_checkpoints").read(place, betas)
        return Document(place, TENSORFLOW, state, notes=notes)
    try:
        check_file(place)
        if place.suffix == ".safetensors":
            tensors, metadata = safetensors_file.read(place)
            if neutral.recognizes(metadata):
                return Document(place, NEUTRAL, neutral.read(place, tensors, metadata))
            mindspore.check_sum(str(place), tensors, metadata)
            return Document(place, MINDSPORE_SAFETENSORS, mindspore.read(str(place), tensors, betas), tensors)
        if place.suffix == ".ckpt":
            tensors = ckpt_file.read(place)
            return Document(place, MINDSPORE_CKPT, mindspore.read(str(place), tensors, betas), tensors)
        if place.suffix == ".h5":
            whole = whole_h5_file.recognizes(place)
            state, notes = whole_h5_file.read(place) if whole else h5_file.read(place)
            return Document(place, WHOLE_H5 if whole else WEIGHTS, state, notes=notes)
        if place.suffix == ".keras":
            state, notes, missing = _part("tensorflow").read_keras(place)
            return Document(place, KERAS, state, notes=notes, missing=missing)
        if _SUFFIXES.get(place.suffix) == TORCH:
            state, notes, missing = _part("torch").read(place)
            return Document(place, TORCH, state, notes=notes, missing=missing)
    except FileNotFoundError:
        raise StateError(f"{place}: there is no such file") from None
    except OSError as error:
        raise StateError(f"{place}: cannot be read: {error.strerror or error}") from None
    except StateError as error:
        raise StateError(_with_path(place, error)) from None
    if place.name.endswith(".weights.json"):
        raise StateError(
            f"{place}: weights that Keras divided among files are not read; save them whole, as .weights.h5"
        )
    raise StateError(f"{place}: expected a name that ends in {', '.join(_SUFFIXES)}, or a checkpoint of TensorFlow")


def _with_path(path: Path, error: StateError) -> str:
    return str(error) if str(error).startswith(str(path)) else f"{path}: {error}"


def _part(framework: str, module: str = "") -> Any:
    """Return the module for files that only a framework reads."""
    try:
        return import_module(f"adamcompat.state.files.{module or framework}")
    except ModuleNotFoundError as error:
        raise StateError(f"this file needs {error.name}: {how_to_install(framework)}") from None


def read(path: str | Path, *, beta1: float | None = None, beta2: float | None = None) -> AdamState:
    """Return the state in a file; its tensors are read when they are needed.

    Args:
        path: as for `open_document`.
        beta1: the decay rate of the optimizer's first moment, in [0, 1], for files that do not tell it.
        beta2: the decay rate of the optimizer's second moment, in [0, 1], for files that do not tell it.

    Raises:
        StateError: as `open_document`; or there are no moments in the file.

    Warns:
        UserWarning: a part of the file is no part of the state, the loss scale for example.
    """
    found = _opened(path_of(path, "path"), beta1, beta2)
    refuse_missing(found)
    for note in found.notes:
        warnings.warn(f"{found.path}: {note}", UserWarning, stacklevel=2)
    return found.state


def refuse_missing(document: Document) -> None:
    """Refuse a file that holds no moments; the zeros in its state stand for them.

    Raises:
        StateError: the file holds no moments; the text says why.
    """
    if document.missing:
        raise StateError(f"{document.path}: {document.missing}")


def check_document(document: object, what: str) -> None:
    """Refuse what is neither a document nor None.

    Raises:
        TypeError: it is something else.

    >>> check_document("run.ckpt", "like")
    Traceback (most recent call last):
    TypeError: like must be what open_document(path) returns; got 'run.ckpt' (str)
    """
    if document is not None and not isinstance(document, Document):
        raise TypeError(f"{what} must be what open_document(path) returns; got {told(document)}")


def form_for(path: str | Path, like: Document | None = None, form: str | None = None) -> str:
    """Return the form in which a file of that name is written.

    Args:
        path: of the file; only its ending counts.
        like: a file whose form is taken where it has the same ending; None for the form of the ending.
        form: one of `FORMS`, which wins over both; None to leave it to them.

    Returns:
        A key of `FORMS`.

    Raises:
        StateError: the ending is unknown, the form does not go with it, or the form is read only.
    """
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        raise StateError(f"{path}: expected a name that ends in {', '.join(_SUFFIXES)}")
    chosen = form or _SUFFIXES[suffix]
    if chosen not in FORMS:
        raise StateError(f"{path}: there is no form {chosen!r}; known: {', '.join(FORMS)}")
    if form is None and like is not None and suffix == like.path.suffix:
        chosen = like.form
    if chosen == WHOLE_H5:
        raise StateError(f"{path}: files of {FORMS[chosen]} are read, and not written; write .keras, or .weights.h5")
    fits = (chosen == _SUFFIXES[suffix]) or (suffix == ".safetensors" and chosen == MINDSPORE_SAFETENSORS)
    if not fits:
        raise StateError(f"{path}: {FORMS[chosen]} does not go with the name")
    return chosen


def check_target(path: str | Path) -> None:
    """Refuse to write to what is no file.

    Raises:
        StateError: at `path` there is a folder, a FIFO, a socket or a device, or it cannot be looked at.
    """
    try:
        destination(path)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror or error}") from None


def write(
    path: str | Path,
    state: AdamState,
    *,
    form: str | None = None,
    like: Document | None = None,
    progress: Progress = lambda count: None,
) -> None:
    """Write a state to a file; whoever looks at it, whenever, finds the old file or the new one.

    Args:
        path: ends in .safetensors (the neutral form), .ckpt (MindSpore's), .keras, .weights.h5, .pt or .pth.
        state: what is written.
        form: "mindspore" for MindSpore's own names in a .safetensors file.
        like: a file of the program that will read this one; what is no state of Adam is taken from it.
            Needed for .keras, .weights.h5, .pt and .pth.
        progress: called with the number of bytes of tensors that have been written since the last call; not for .keras,
            .pt and .pth, which their frameworks write as a whole.

    Raises:
        TypeError: an argument is of the wrong kind.
        StateError: the form cannot hold this state, or the folder cannot be written to; nothing has been written.
    """
    place = path_of(path, "path")
    if not isinstance(state, AdamState):
        raise TypeError(f"state must be an AdamState, as AdamState.of(optimizer) returns; got {told(state)}")
    check_document(like, "like")
    chosen = form_for(place, like, form)
    try:
        _write(place, state, chosen, like, progress)
    except OSError as error:
        raise StateError(f"{place}: cannot be written: {error.strerror or error}") from None


def _write(path: Path, state: AdamState, form: str, like: Document | None, progress: Progress) -> None:
    if form == NEUTRAL:
        neutral.write(path, state, progress)
    elif form in _NEED_LIKE:
        if like is None or like.form != form:
            raise StateError(f"{path}: a file of {FORMS[form]} holds {_NEED_LIKE[form]} too; pass one as like")
        if form == KERAS:
            _part("tensorflow").write_keras(path, state, like.path)
        elif form == TORCH:
            _part("torch").write(path, state, like.path)
        else:
            h5_file.write(path, state, like.path, progress)
    else:
        own = like.tensors if like is not None and like.form in (MINDSPORE_SAFETENSORS, MINDSPORE_CKPT) else None
        tensors = mindspore.tensors_of(state, own)
        if form == MINDSPORE_CKPT:
            ckpt_file.write(path, tensors, progress)
        else:
            ordered = mindspore.in_order_of_checksum(tensors)
            safetensors_file.write(path, ordered, mindspore.metadata, progress, cumulative=True)

"""Read and write whole models in Keras's files (.keras), with the state of their optimizers.

Keras passes over an optimizer's state that does not fit the optimizer that it makes, with a warning, and goes on
with zeros: where the model was trained under mixed_float16, so that another optimizer wrapped it, or where layers were
frozen or unfrozen after the optimizer was built. The state is in the file nevertheless, and is read from there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from adamcompat.files import replacing
from adamcompat.mapping.model import Dialect
from adamcompat.state import naming, runtimes
from adamcompat.state.files import h5_file, keras_variables
from adamcompat.state.files.keras_variables import Options
from adamcompat.state.live import Live
from adamcompat.state.model import AdamState
from adamcompat.state.terms import ATTRIBUTES, Shape, StateError

Array = NDArray[Any]

_WEIGHTS, _CONFIG, _METADATA = "model.weights.h5", "config.json", "metadata.json"
_HALF = "mixed_float16"
# The beginning of the name under which Keras registers our classes, in a configuration.
_OURS = '"registered_name": "adamcompat'
# Until then averages and accumulated gradients took turns.
_APART = (3, 10)
_SHOWN = 4
# A member of an archive that is larger than this may not have been compressed to less than a hundredth.
_LARGEST, _EXPANSION = 1 << 28, 100


@dataclass(frozen=True, slots=True)
class _Archive:
    """Hold what a file says beside the model.

    Attributes:
        variables: of the optimizer, of the one inside where there is one; None where the file has none.
        wrapped: whether another optimizer wraps it.
        notes: what of the file becomes no state of Adam.
        version: of the Keras that wrote it.
        rescaled: whether the program wrapped the optimizer because of mixed_float16, which the file does not tell.
        dialect: the API of the optimizer, by its name.
        ours: whether a class of adamcompat is named in its configuration.
        unnamed: whether the configuration does not name the optimizer; Keras forgets it when a model is saved as .h5
            before, and makes another one when it reads the file.
    """

    variables: list[Array] | None
    wrapped: bool
    notes: tuple[str, ...]
    version: tuple[int, ...]
    rescaled: bool
    dialect: Dialect
    ours: bool
    unnamed: bool


def _archive(path: Path) -> _Archive:
    try:
        with zipfile.ZipFile(path) as file, tempfile.TemporaryDirectory() as folder:
            _refuse_bomb(path, file)
            version = str(json.loads(file.read(_METADATA)).get("keras_version", ""))
            compiled = json.loads(file.read(_CONFIG)).get("compile_config") or {}
            ours = _OURS in json.dumps(compiled.get("optimizer"))
            place = Path(folder) / _WEIGHTS
            with file.open(_WEIGHTS) as source, place.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            with h5_file.opened(place) as weights:
                found = h5_file.saved(place, weights, path)
            if found is None:
                return _Archive(
                    None, False, (), _numbers(version), False, keras_variables.MEMBERS[0], ours=ours, unnamed=False
                )
            h5_file.refuse_others(path, found)
            told = str((compiled.get("optimizer") or {}).get("class_name", ""))
            wrapped = bool(found.outer)
            return _Archive(
                [np.asarray(variable) for variable in found.variables],
                wrapped,
                found.notes,
                _numbers(version),
                wrapped and "LossScale" not in told,
                found.dialect,
                ours,
                unnamed=not told,
            )
    except StateError:
        raise
    except (
        *(zipfile.BadZipFile, KeyError, ValueError, OSError, NotImplementedError, RuntimeError, AttributeError),
        *(TypeError, zlib.error, EOFError),
    ) as error:
        text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StateError(f"{path}: Keras cannot read it: {text or type(error).__name__}") from None


def _refuse_bomb(path: Path, file: zipfile.ZipFile) -> None:
    """Refuse an archive that would become far larger than the file; Keras does not compress."""
    for name in (_METADATA, _CONFIG, _WEIGHTS):
        facts = file.getinfo(name)
        if facts.file_size > _LARGEST and facts.file_size > _EXPANSION * facts.compress_size:
            raise StateError(f"{path}: {name} would be {facts.file_size} bytes, from {facts.compress_size}; not read")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _load(path: Path, archive: _Archive) -> Any:
    library = _library(path, archive)
    if archive.ours:
        _register(path, library)
    try:
        # Keras's safe mode: nothing in the file is executed, lambdas are refused. What Keras warns of is looked after.
        with warnings.catch_warnings(), _policy(library, archive.rescaled):
            warnings.simplefilter("ignore")
            model = library.models.load_model(path, safe_mode=True)
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise StateError(f"{path}: Keras cannot read it: {text or type(error).__name__}") from None
    if getattr(model, "optimizer", None) is None:
        raise StateError(f"{path}: holds no optimizer; compile and train the model before saving it")
    return model


def _library(path: Path, archive: _Archive) -> Any:
    """Return the Keras that wrote a file."""
    if not archive.version or archive.version >= (3,):
        return keras
    try:
        import tf_keras
    except ModuleNotFoundError:
        raise StateError(f"{path}: was written by Keras 2 and needs tf_keras: pip install tf_keras") from None
    return tf_keras


def _register(path: Path, library: Any) -> None:
    """Import our classes, which register themselves: Keras finds no others."""
    kind = import_module("adamcompat.tensorflow").Adam
    if not issubclass(kind, library.optimizers.Optimizer):
        legacy, names = library is not keras, ("Keras 3", "tf_keras")
        raise StateError(
            f"{path}: its optimizer is adamcompat's for {names[legacy]}, and here adamcompat's are for "
            f"{names[not legacy]}: {'set TF_USE_LEGACY_KERAS=1' if legacy else 'unset TF_USE_LEGACY_KERAS'}"
        )


@contextmanager
def _policy(library: Any, half: bool) -> Iterator[None]:
    """Set the dtype policy under which the program compiled its model: Keras wraps the optimizer because of it."""
    before = library.mixed_precision.global_policy()
    if half:
        library.mixed_precision.set_global_policy(_HALF)
    try:
        yield
    finally:
        library.mixed_precision.set_global_policy(before)


def _inside(optimizer: Any) -> Any:
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def read_keras(path: Path) -> tuple[AdamState, tuple[str, ...], str]:
    """Read the state in a ``.keras`` file.

    Args:
        path: of the file. Nothing in it is executed, and lambdas are refused.

    Returns:
        The state; notes on it; and why the file holds no moments, which is an empty text where it does. Without moments
        the state is the one that the optimizer begins with.

    Raises:
        StateError: the file is damaged, Keras cannot read it, it holds no optimizer or no Adam, or it leaves open what
            the optimizer's variables are.
    """
    archive = _archive(path)
    model = _load(path, archive)
    optimizer = _inside(model.optimizer)
    if archive.unnamed:
        roles, live, notes = _guessed(path, archive), None, (*archive.notes, _UNNAMED)
    else:
        live = runtimes.find(optimizer, model.trainable_variables, None, build=True)
        if archive.variables is None or len(archive.variables) <= h5_file.HEAD:
            return _fresh(live), archive.notes, _why_nothing(optimizer)
        roles, notes = _roles(path, archive, live, optimizer), archive.notes
    owners = _owners(path, model, [tuple(array.shape) for array in roles["first_moment"]])
    calls = int((archive.variables or [])[0].reshape(()))
    return _state(live or archive.dialect, roles, owners, calls), (*notes, *owners.notes), ""


_UNNAMED = (
    "the configuration does not name the optimizer (Keras forgets it where the model is saved as .h5 before), so that "
    "only names and shapes tell that it is Adam, and its betas are not known"
)


def _guessed(path: Path, archive: _Archive) -> dict[str, list[Array]]:
    """Return the variables in a file by role, where only their shapes tell."""
    ways = keras_variables.ways(archive.variables or [], Options(interleaved=archive.version < _APART))
    if len(ways) != 1 or "accumulated_gradient" in ways[0]:
        raise StateError(f"{path}: {_UNNAMED.partition(', so')[0]}, and shapes leave open what its variables are")
    return ways[0]


def _why_nothing(optimizer: Any) -> str:
    legacy = type(optimizer).__module__.startswith("tf_keras") and "legacy" in type(optimizer).__module__
    if legacy:
        return (
            "holds no moments: tf_keras does not save those of its legacy optimizers in .keras files; save the model "
            "as .h5, or a tf.train.Checkpoint"
        )
    return "holds no moments: the optimizer had made no step when the model was saved"


def _fresh(live: Live) -> AdamState:
    """Return the state that an optimizer begins with: a pattern for names, shapes and dtypes."""
    places = {role: {name: place.read() for name, place in found.items()} for role, found in live.places.items()}
    kept = {ATTRIBUTES[role]: tensors for role, tensors in places.items() if role != "accumulated_gradient"}
    return AdamState(
        step=0,
        **kept,  # type: ignore[arg-type]
        accumulation_steps=live.accumulation_steps,
        hyperparameters=dict(live.hyperparameters),
        dialect=live.dialect,
        numerics=live.numerics,
        convention=live.convention,
    )


def _roles(path: Path, archive: _Archive, live: Live, optimizer: Any) -> dict[str, list[Array]]:
    """Return the variables in the file by role: the configuration in the file tells which there are."""
    variables = archive.variables or []
    rate = getattr(optimizer, "_learning_rate", None)
    options = Options(
        rate=isinstance(rate, keras.Variable),
        average="average" in live.places,
        accumulates="accumulated_gradient" in live.places,
        maximum="maximum_second_moment" in live.places,
        interleaved=archive.version < _APART,
    )
    ways = keras_variables.ways(variables, options)
    if len(ways) != 1:
        raise StateError(
            f"{path}: holds {len(variables)} variables of an optimizer, which are not those of the {live.title} that "
            f"its configuration describes; the optimizer was exchanged after the training, or the file is damaged, or "
            f"it is a class in another framework's style, whose files are not read yet (load the model, and use "
            f"AdamState.of(model.optimizer))"
        )
    return ways[0]


@dataclass(frozen=True, slots=True)
class _Owners:
    """Hold the variables of a model that are in the state.

    Attributes:
        all: in the order of the model.
        moments: those whose moments are in the file, in the order of the file.
        notes: where these are not the same, or not those that are trained now.
    """

    all: list[Any]
    moments: list[Any]
    notes: tuple[str, ...] = ()


def _owners(path: Path, model: Any, shapes: Sequence[Shape]) -> _Owners:
    """Return the variables that moments of these shapes belong to."""
    trained = list(model.trainable_variables)
    if [tuple(variable.shape) for variable in trained] == list(shapes):
        return _Owners(trained, trained)
    # The model is thrown away: nobody sees that all of its layers are to be trained now.
    for layer in model._flatten_layers():
        layer.trainable = True
    known = dict(zip(_paths(model.trainable_variables), model.trainable_variables, strict=True))
    places = keras_variables.places_of(shapes, {name: tuple(variable.shape) for name, variable in known.items()})
    if len(places) != 1:
        raise StateError(f"{path}: {_undecided(places, len(shapes), len(trained))}")
    now = {id(variable) for variable in trained}
    without = [name for name, variable in known.items() if id(variable) in now and name not in places[0]]
    frozen = [name for name in places[0] if id(known[name]) not in now]
    notes = []
    if without:
        notes.append(
            f"{_some(without)} were frozen when the optimizer was built, so that the file has no moments for them; "
            f"theirs begin at zero"
        )
    if frozen:
        notes.append(f"{_some(frozen)} were frozen after they had been trained; the state has their moments")
    wanted = {*places[0], *without}
    everything = [variable for name, variable in known.items() if name in wanted]
    return _Owners(everything, [known[name] for name in places[0]], tuple(notes))


def _undecided(places: Sequence[Sequence[str]], moments: int, trained: int) -> str:
    text = (
        f"the optimizer in the file has moments for {moments} parameters and the model trains {trained}: layers were "
        f"frozen or unfrozen after the optimizer had been built, and Keras itself passes over the state"
    )
    if places:
        text += f". By their shapes the moments may be those of {_some(places[0])} or of {_some(places[1])}"
    return (
        f"{text}. Say which layers were trained: load the model, set their trainable as it was, compile() it, "
        f"optimizer.build(model.trainable_variables), model.load_weights(this file), and save it again"
    )


def _paths(variables: Sequence[Any]) -> tuple[str, ...]:
    return naming.unique(getattr(variable, "path", variable.name) for variable in variables)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _state(whose: Live | Dialect, roles: Mapping[str, list[Array]], owners: _Owners, calls: int) -> AdamState:
    """Return the state of variables whose moments are in the file, and of those that have none yet.

    Args:
        whose: the optimizer that the file describes, or the dialect where it describes none.
        roles: the arrays in the file by role.
        owners: the variables.
        calls: the counter in the file.
    """
    names = _paths(owners.all)
    places = {id(variable): place for place, variable in enumerate(owners.moments)}
    parameters = {name: np.array(variable) for name, variable in zip(names, owners.all, strict=True)}
    kept: dict[str, dict[str, Array]] = {}
    for role, arrays in roles.items():
        begins = parameters if role == "average" else {name: np.zeros_like(p) for name, p in parameters.items()}
        kept[role] = {
            name: arrays[places[id(variable)]] if id(variable) in places else begins[name]
            for name, variable in zip(names, owners.all, strict=True)
        }
    every = whose.accumulation_steps if isinstance(whose, Live) else None
    pending = calls % (every or 1)
    if not pending:
        kept.pop("accumulated_gradient", None)
    return AdamState(
        step=calls // (every or 1),
        parameters=parameters,
        **{ATTRIBUTES[role]: tensors for role, tensors in kept.items()},
        accumulation_steps=every,
        accumulated_calls=pending,
        hyperparameters=dict(whose.hyperparameters) if isinstance(whose, Live) else {},
        dialect=whose.dialect if isinstance(whose, Live) else whose.name,
        numerics=whose.numerics,
        convention="tensorflow",
    )


def write_keras(path: Path, state: AdamState, like: Path) -> None:
    """Write the model in `like` with this state.

    Args:
        path: of the file, which is replaced as a whole.
        state: under the names and in the layouts of the model in `like`; its values are rounded to the dtypes there.
            Without parameters those of the model stay as they are.
        like: a .keras file by the program that will read this one.

    Raises:
        StateError: `like` cannot be read or does not name its optimizer, its model trains other parameters than those
            of the state, or its optimizer cannot hold the state. Nothing has been written.
    """
    archive = _archive(like)
    if archive.unnamed:
        raise StateError(f"{like}: {_UNNAMED}; compile the model anew and save it as .keras first")
    model = _load(like, archive)
    trained = _paths(model.trainable_variables)
    if set(trained) != set(state.names):
        odd = sorted(set(trained) ^ set(state.names))
        raise StateError(
            f"{like}: other layers are trained now than when its optimizer was built ({_some(odd)}), so that no "
            f"optimizer of this model holds such a state; compile the model anew, make a step and save it"
        )
    state.load_into(
        _inside(model.optimizer),
        parameters=model.trainable_variables,
        with_parameters=state.parameters is not None,
        cast=True,
    )
    with replacing(path) as partial:
        # Keras wants the name to end in this.
        named = partial.with_suffix(".keras")
        try:
            model.save(named)
            named.replace(partial)
        finally:
            named.unlink(missing_ok=True)

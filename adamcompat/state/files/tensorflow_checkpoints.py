"""Read checkpoints of tf.train.Checkpoint, of SavedModels and of tf.compat.v1.train.Saver by TensorFlow's own reader.

A checkpoint of objects tells how they hang together: an optimizer is found by the lists of its moments, whatever it
keeps beside them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import trackable_object_graph_pb2

from adamcompat.files import check_file
from adamcompat.kernel import running_product
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.state import naming
from adamcompat.state.files.keras_variables import MEMBERS, dialect_called, other_optimizer, scale_note
from adamcompat.state.model import AdamState
from adamcompat.state.slots import gathered, name_of
from adamcompat.state.tensorflow_keras import LISTS
from adamcompat.state.terms import ATTRIBUTES, StateError, Tensor

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SCALES = ("dynamic_scale", "current_loss_scale")
_PARAMETERS, _COUNTERS = "_trainable_variables", ("_iterations", "iterations")
# What an optimizer holds beside its lists of state.
_BESIDE = (*_COUNTERS, _PARAMETERS, "_variables", "_learning_rate", "_trainable_variables_indices", "loss_scale")


@dataclass(frozen=True, slots=True)
class _InCheckpoint:
    """Stand for a tensor in a checkpoint, which is read when it is asked for."""

    reader: Any
    key: str
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.reader.get_variable_to_shape_map()[self.key])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.reader.get_variable_to_dtype_map()[self.key].as_numpy_dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        try:
            array = np.asarray(self.reader.get_tensor(self.key))
        except Exception as error:
            raise StateError(f"{self.where}: {self.key!r} cannot be read: {error}") from None
        return array if dtype is None else array.astype(dtype)


def read(path: Path, betas: Mapping[str, float]) -> tuple[AdamState, tuple[str, ...]]:
    """Return the state in a checkpoint, and what is to be said of it.

    Args:
        path: the prefix of a checkpoint, or a folder with several, of which the latest is read; or the folder of a
            SavedModel.
        betas: "beta1" and "beta2" of the optimizer, where they are not the defaults.
            tf.compat.v1.train.AdamOptimizer keeps powers of them in the place of a step.

    Returns:
        The state, whose tensors are read when they are needed, and notes.

    Raises:
        StateError: TensorFlow cannot read the checkpoint, it holds no state of Adam or that of several optimizers, or
            the betas do not fit its powers.
    """
    where = str(path)
    prefix = path / "variables" / "variables" if (path / "saved_model.pb").exists() else path
    _check_files(prefix)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise StateError(f"{path}: TensorFlow cannot read it: {text}") from None
    tensors = {key: _InCheckpoint(reader, key, where) for key in reader.get_variable_to_shape_map() if key != _GRAPH}
    scales = [key for key in tensors if key.removesuffix(_VALUE).rpartition("/")[2] in _SCALES]
    notes = (scale_note(float(np.asarray(tensors[scales[0]]).reshape(()))),) if scales else ()
    if not reader.has_tensor(_GRAPH):
        return _of_saver(where, tensors, betas), notes
    graph = _Graph.of(reader, where, tensors)
    if any(_SLOT in key for key in tensors):
        return _of_slots(where, tensors, graph), notes
    return _of_lists(where, tensors, graph), notes


def _check_files(prefix: Path) -> None:
    """Refuse paths that are no files, before TensorFlow opens them and waits."""
    folder, start = (prefix, "") if prefix.is_dir() else (prefix.parent, f"{prefix.name}.")
    try:
        for path in sorted(folder.iterdir()):
            parts = path.name.startswith(start) and (".data-" in path.name or path.suffix == ".index")
            if parts or (not start and path.name == "checkpoint"):
                check_file(path)
    except OSError as error:
        where = error.filename or folder
        raise StateError(f"{where}: cannot be read: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class _Graph:
    """Describe how the objects in a checkpoint hang together.

    Attributes:
        children: of each object by name.
        keys: the key of each object that is a variable.
        names: the name that a variable has in its program.
        slots: for each object the variables that it keeps slots for, in its order.
    """

    children: list[dict[str, int]]
    keys: dict[int, str]
    names: dict[int, str]
    slots: list[list[int]]

    @classmethod
    def of(cls, reader: Any, where: str, tensors: Mapping[str, Tensor]) -> _Graph:
        """Return the graph in a checkpoint.

        Args:
            reader: TensorFlow's reader of the checkpoint.
            where: the path, for errors.
            tensors: what the checkpoint holds, by its key.

        Raises:
            StateError: TensorFlow cannot read the graph.
        """
        try:
            parsed = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH))
        except Exception as error:
            raise StateError(f"{where}: TensorFlow cannot read it: {error}") from None
        values = {
            place: next((a for a in node.attributes if a.checkpoint_key in tensors), None)
            for place, node in enumerate(parsed.nodes)
        }
        return cls(
            [{child.local_name: child.node_id for child in node.children} for node in parsed.nodes],
            {place: value.checkpoint_key for place, value in values.items() if value is not None},
            {place: value.full_name for place, value in values.items() if value is not None},
            [
                list(dict.fromkeys(slot.original_variable_node_id for slot in node.slot_variables))
                for node in parsed.nodes
            ],
        )

    def listed(self, place: int) -> list[int]:
        """Return the variables of a list, in its order."""
        children = self.children[place]
        return [children[name] for name in sorted((n for n in children if n.isdigit()), key=int)]

    def variables(self, place: int) -> Iterator[int]:
        """Yield an object and what hangs on it directly, as far as they are variables."""
        yield from (found for found in (place, *self.children[place].values()) if found in self.keys)

    def path(self, place: int) -> str:
        """Return how an object is reached from the first one; "?" where it is not."""
        paths, queue = {0: ""}, [0]
        while queue:
            current = queue.pop(0)
            for name, child in self.children[current].items():
                if child not in paths:
                    paths[child] = f"{paths[current]}/{name}".strip("/")
                    queue.append(child)
        return paths.get(place, "?")


def _of_slots(where: str, tensors: Mapping[str, Tensor], graph: _Graph) -> AdamState:
    """Return the state of the legacy optimizer, whose slots lie beside their variables."""
    step = next(slot.template for block in MAPPING.dialects["tf26"].slots for slot in block if slot.role == "step")
    counters = [key for key in tensors if key.endswith(f"/{step}{_VALUE}")]
    if len(counters) != 1:
        raise StateError(f"{where}: expected the counter of one optimizer, found {_some(counters)}; {_SEVERAL}")
    found: dict[str, Tensor] = {step: tensors[counters[0]]}
    # The optimizer knows the order of its variables; the checkpoint's own is none.
    order = {graph.keys[place]: number for places in graph.slots for number, place in enumerate(places)}
    slots = [key for key in tensors if _SLOT in key]
    for key in sorted(slots, key=lambda key: (order.get(key.partition(_SLOT)[0] + _VALUE, len(order)), key)):
        variable, _, slot = key.removesuffix(_VALUE).partition(_SLOT)
        found[f"{variable}/{slot.rpartition('/')[2]}"] = tensors[key]
    state = gathered(found, "tf26", convention="tensorflow")
    return _with_parameters(state, {name: tensors.get(name + _VALUE) for name in state.names})


_SEVERAL = "save each optimizer in a checkpoint of its own: tf.train.Checkpoint(optimizer=...)"


def _of_lists(where: str, tensors: Mapping[str, Tensor], graph: _Graph) -> AdamState:
    """Return the state of Keras 3 and of the newer tf_keras: a list for each kind of state."""
    first, second = LISTS["first_moment"], LISTS["second_moment"]
    places = [place for place, children in enumerate(graph.children) if first in children and second in children]
    if not places:
        others = [graph.path(p) for p, c in enumerate(graph.children) if "_variables" in c and {*_COUNTERS} & c.keys()]
        what = f"; {_some(others)} keeps something else" if others else ""
        raise StateError(f"{where}: holds no state of Adam{what}")
    if len(places) > 1:
        raise StateError(f"{where}: holds several optimizers: {_some([graph.path(p) for p in places])}; {_SEVERAL}")
    children = graph.children[places[0]]
    lists = {role: graph.listed(children[name]) for role, name in LISTS.items() if name in children}
    if not lists["first_moment"] and lists["second_moment"]:
        raise StateError(f"{where}: holds no state of Adam; the optimizer keeps no first moments")
    if not lists["first_moment"]:
        raise StateError(f"{where}: holds no moments: the optimizer had made no step when it was saved")
    dialect = _check_known(where, graph, children, lists)
    owners = graph.listed(children[_PARAMETERS]) if _PARAMETERS in children else _by_name(graph, lists["first_moment"])
    names = _names(graph, owners, lists["first_moment"])
    if "accumulated_gradient" in lists:
        raise StateError(
            f"{where}: the optimizer accumulates gradients, and a checkpoint does not tell how many make an update; "
            f"save the model as .keras"
        )
    kept = {
        ATTRIBUTES[role]: dict(zip(names, (tensors[graph.keys[place]] for place in found), strict=True))
        for role, found in lists.items()
    }
    counter = next(children[name] for name in _COUNTERS if name in children)
    state = AdamState(
        step=int(np.asarray(tensors[graph.keys[counter]]).reshape(())),
        **kept,  # type: ignore[arg-type]
        dialect=dialect.name,
        numerics=dialect.numerics,
        convention="tensorflow",
    )
    found = [tensors[graph.keys[place]] if place is not None else None for place in owners]
    return _with_parameters(state, dict(zip(names, found, strict=True)))


def _check_known(where: str, graph: _Graph, children: Mapping[str, int], lists: Mapping[str, Sequence[int]]) -> Dialect:
    """Return the dialect of an optimizer; refuse one that keeps more than Adam does, or has another one's name."""
    known = {place for places in lists.values() for place in places}
    for name, place in children.items():
        more = [] if name in (*_BESIDE, *LISTS.values()) else [v for v in graph.variables(place) if v not in known]
        if more:
            raise StateError(f"{where}: the optimizer keeps {name}, which is no state of Adam's")
    scopes = graph.names[lists["first_moment"][0]].split("/")[:-1]
    other = next((found for found in map(other_optimizer, reversed(scopes)) if found), None)
    if other is not None and other != "loss_scale_optimizer":
        raise StateError(f"{where}: holds the state of Keras's {other}, which is not Adam's")
    return next((found for found in map(dialect_called, reversed(scopes)) if found), MEMBERS[0])


def _by_name(graph: _Graph, moments: Sequence[int]) -> list[int | None]:
    """Return the parameters of tf_keras's optimizer, which knows them by name only."""
    key = (name_of("first_moment", "", "tf26") or "").strip("/")
    named = {name: place for place, name in graph.names.items()}
    return [named.get(re.sub(rf"^(.*?/)?{key}/", "", graph.names[place])) for place in moments]


def _names(graph: _Graph, owners: Sequence[int | None], moments: Sequence[int]) -> tuple[str, ...]:
    names = [graph.names[place] if place is not None else "" for place in owners]
    if len(names) != len(moments) or not all(names):
        return tuple(f"variable#{position}" for position in range(len(moments)))
    return naming.unique(names)


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:4]) or "none"


def _of_saver(where: str, tensors: Mapping[str, Tensor], betas: Mapping[str, float]) -> AdamState:
    """Return the state of TensorFlow 1's optimizer, by the names of its variables."""
    dialect = MAPPING.dialects["tf1"]
    slots = {slot.role: slot for block in dialect.slots for slot in block}
    suffix = slots["second_moment"].name_for("")
    names = sorted(key.removesuffix(suffix) for key in tensors if key.endswith(suffix))
    if not names:
        raise StateError(f"{where}: holds no state of Adam")
    kept = [slots[role].name_for(name) for name in names for role in ("first_moment", "second_moment")]
    products = [slot.template for slot in slots.values() if not slot.per_parameter]
    missing = [name for name in (*kept, *products) if name not in tensors]
    if missing:
        raise StateError(f"{where}: {' and '.join(missing)} missing; save all variables of the optimizer")
    found = {name: tensors[name] for name in (*kept, *products)}
    defaults: dict[str, Any] = {
        fact.canonical: fact.default for fact in dialect.facts if fact.canonical in ("beta1", "beta2")
    }
    known = {**defaults, **betas}
    state = gathered(found, "tf1", hyperparameters=known, convention="tensorflow")
    for name, beta in known.items():
        power = slots[f"{name}_power"].template
        product = np.asarray(found[power]).reshape(())[()]
        # Near zero the products of many betas meet.
        if product > np.finfo(product.dtype).tiny and running_product(beta, state.step + 1, product.dtype) != product:
            raise StateError(f"{where}: {power} is {product!r}, which no step has with {known}; pass the right betas")
    return _with_parameters(state, {name: tensors.get(name) for name in state.names})


def _with_parameters(state: AdamState, parameters: Mapping[str, Tensor | None]) -> AdamState:
    known = {name: tensor for name, tensor in parameters.items() if tensor is not None}
    return dataclasses.replace(state, parameters=known) if len(known) == len(parameters) else state

"""Read what TensorFlow's and Keras's Adams keep before the first step that is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from adamcompat.state.model import AdamState
from adamcompat.state.reading import contents
from adamcompat.state.runtimes import find
from adamcompat.state.tensorflow_slots import key_of
from adamcompat.state.terms import StateError
from adamcompat.tensorflow.arguments import raw


def state_of(optimizer: Any, variables: Sequence[Any], names: Sequence[str], session: Any = None) -> AdamState | None:
    """Return the state of an optimizer for some of its variables.

    Args:
        optimizer: as it is before the step.
        variables: those that are recorded.
        names: what to call them.
        session: what reads variables in a graph, or None.

    Returns:
        The state, without parameters; None where the optimizer was not built and has none yet.

    Raises:
        StateError: the optimizer is no Adam, keeps more than Adam, does not know all of the variables, or does not tell
            its step.
    """
    if not _is_built(optimizer):
        return None
    live = find(optimizer, None, session, build=False)
    # The parameters are recorded anyway.
    live = replace(live, places={role: found for role, found in live.places.items() if role != "parameter"})
    # The moments are the optimizer's own objects, by which a variable is found whatever it is called.
    moments = {id(raw(place.variable)): name for name, place in live.places["first_moment"].items()}  # type: ignore[attr-defined]
    found = [moments.get(id(raw(moment))) for moment in map(_first_moment(optimizer), variables)]
    if None in found:
        raise StateError("it does not know all of the variables")
    chosen = {own: called for own, called in zip(found, names, strict=True) if own is not None}
    return AdamState(**contents(live, None, chosen))


def _is_built(optimizer: Any) -> bool:
    built = getattr(optimizer, "built", getattr(optimizer, "_built", None))
    return bool(built) if built is not None else bool(getattr(optimizer, "_slots", None))


def _first_moment(optimizer: Any) -> Any:
    """Return how an optimizer finds the first moment of a variable; None for what it does not know."""

    def of_slots(variable: Any) -> Any:
        try:
            return optimizer.get_slot(raw(variable), key_of("first_moment"))
        except KeyError:
            return None

    def of_list(variable: Any) -> Any:
        key = optimizer._var_key(variable)
        places = getattr(optimizer, "_index_dict", None) or getattr(optimizer, "_trainable_variables_indices", {})
        return optimizer._momentums[places[key]] if key in places else None

    def of_members(variable: Any) -> Any:
        owners = zip(optimizer._private.variables, optimizer._private.members, strict=True)
        return next((member.m for owner, member in owners if raw(owner) is raw(variable)), None)

    if hasattr(optimizer, "_private"):
        return of_members
    return of_slots if hasattr(optimizer, "get_slot") else of_list


@dataclass(frozen=True, slots=True)
class Values:
    """Stand for a Session that nobody can run meanwhile, with values that were read in it.

    Attributes:
        graph: of the Session.
        values: the value of each variable by the variable's id.
    """

    graph: Any
    values: Mapping[int, Any]

    def run(self, variable: Any) -> Any:
        """Return the value of a variable.

        Raises:
            StateError: the variable was not read.
        """
        if id(variable) not in self.values:
            raise StateError(f"{getattr(variable, 'name', variable)} was not read")
        return self.values[id(variable)]


def created(optimizer: Any, variables: Sequence[Any]) -> list[Any]:
    """Return the variables that an optimizer keeps in a graph; they are made now if they are not there yet.

    Args:
        optimizer: TensorFlow 1's or the legacy one; any other has none in a graph.
        variables: those that it updates.
    """
    legacy = tf_keras.optimizers.legacy.Adam
    if isinstance(optimizer, tf.compat.v1.train.AdamOptimizer):
        with tf.init_scope():
            optimizer._create_slots([raw(variable) for variable in variables])
    elif isinstance(optimizer, legacy):
        # With a slash the scope has this very name, and the optimizer gets the same when it opens it.
        scope = tf.compat.v1.get_default_graph().unique_name(optimizer._name, mark_as_used=False)
        with tf.name_scope(f"{scope}/"), tf.init_scope():
            optimizer._create_all_weights([raw(variable) for variable in variables])
    else:
        return []
    return list({id(variable): variable for variable in _kept(optimizer)}.values())


def _kept(optimizer: Any) -> Iterator[Any]:
    yield from optimizer.variables()
    yield from (value for value in getattr(optimizer, "_hyper", {}).values() if hasattr(value, "read_value"))


def values_of(graph: Any, variables: Sequence[Any], arrays: Sequence[Any]) -> Values:
    """Return what stands for a Session in which these variables have these values.

    Args:
        graph: of the Session.
        variables: those that were read.
        arrays: their values, in the same order.
    """
    return Values(graph, {id(v): np.asarray(array) for v, array in zip(variables, arrays, strict=True)})

"""Describe TensorFlow 2.6's optimizer and TensorFlow 1's, which keep slots by variable, for `adamcompat.state`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from adamcompat.mapping.model import Dialect
from adamcompat.mapping.originals import Original
from adamcompat.state import naming
from adamcompat.state.live import Live
from adamcompat.state.slots import name_of
from adamcompat.state.tensorflow_places import Place, hyperparameters, listed, names_of, title_of
from adamcompat.state.terms import StateError

_MOMENTS = ("first_moment", "second_moment", "maximum_second_moment")


def key_of(role: str) -> str:
    """Return the name under which both optimizers give a slot of a role.

    Args:
        role: the kind of state in mapping.yaml, such as "first_moment".
    """
    return (name_of(role, "", "tf26") or "").strip("/")


def legacy(optimizer: Any, original: Original, parameters: Any, session: Any, *, build: bool) -> Live:
    """Describe tf_keras.optimizers.legacy.Adam, or adamcompat.tensorflow.legacy.Adam.

    Args:
        optimizer: the optimizer.
        original: the class of tf_keras that it is, or extends.
        parameters: variables that it updates, all of them in any order: a dictionary from names to them, or a sequence;
            None for the optimizer's own slots alone, without the parameters themselves. They are needed to build it.
        session: the tf.compat.v1.Session in which its variables live; None for the current one, or in eager execution.
        build: whether an optimizer without state is built with `parameters`, in eager execution.

    Returns:
        The description.

    Raises:
        StateError: the optimizer has no state, `parameters` are not those of the optimizer, `session` is given in eager
            execution or missing in a graph, or the optimizer keeps something unknown.
    """
    title, dialect = title_of(optimizer, original), original.dialect
    if not optimizer._slots:
        _create(optimizer._create_all_weights, title, parameters, build=build)
    by_variable = list(optimizer._slots.values())
    everything = {role: [slots[key_of(role)] for slots in by_variable if key_of(role) in slots] for role in _MOMENTS}
    _check_names(optimizer.get_slot_names(), [*map(key_of, _MOMENTS)], title)

    def lookup(variable: Any, role: str) -> Any:
        try:
            return optimizer.get_slot(variable, key_of(role))
        except KeyError:
            return None

    session = _session_of(everything, session, title)
    values = {fact.name: getattr(optimizer, fact.name, None) for fact in dialect.accepted if fact.alias_of is None}
    return _described(
        title,
        dialect,
        everything,
        lookup,
        parameters,
        session,
        scope=f"{optimizer._name}/",
        step=Place(optimizer.iterations, session),
        hyperparameters=hyperparameters(dialect, {**values, **optimizer._hyper}, session),
    )


def v1(optimizer: Any, original: Original, parameters: Any, session: Any, *, build: bool) -> Live:
    """Describe tf.compat.v1.train.AdamOptimizer or adamcompat.tensorflow.v1.AdamOptimizer, in a Session or eagerly.

    Args:
        optimizer: the optimizer.
        original: the class of TensorFlow that it is, or extends.
        parameters: variables that it updates, all of them in any order: a dictionary from names to them, or a sequence.
            With None they are looked up in the graph of the session; in eager execution the parameters themselves are
            left out then. They are needed to build it.
        session: the tf.compat.v1.Session that trains; None for the current one, or in eager execution.
        build: whether an optimizer without state is built with `parameters`, in eager execution.

    Returns:
        The description. It has no counter, as the running products of the betas tell the step.

    Raises:
        StateError: the optimizer has no state, or none in the graph of `session`; `parameters` are not those of the
            optimizer; `session` is given in eager execution or missing in a graph; or the optimizer keeps something
            unknown.
    """
    title, dialect = title_of(optimizer, original), original.dialect
    if not optimizer._slots:
        _create(optimizer._create_slots, title, parameters, build=build)
    session = _session_of({"": [*optimizer._slots[key_of("first_moment")].values()]}, session, title)
    graph = None if session is None else session.graph
    everything = {
        role: [
            slot
            for key, slot in optimizer._slots.get(key_of(role), {}).items()
            if graph is None or (isinstance(key, tuple) and key[0] is graph)
        ]
        for role in _MOMENTS
    }
    if not everything["first_moment"]:
        raise StateError(f"this {title} has no state in the graph of that session; pass the session that trains")
    powers = {slot.role: slot.template for block in dialect.slots for slot in block if not slot.per_parameter}
    _check_names(optimizer.get_slot_names(), [*map(key_of, _MOMENTS)], title)
    _check_names([name for name, where in optimizer._non_slot_dict if where is graph], [*powers.values()], title)
    if graph is not None and parameters is None:
        parameters = _of_graph(graph, [key[1] for key in optimizer._slots[key_of("first_moment")] if key[0] is graph])
    rate = dialect.named("learning_rate")
    assert rate is not None
    values = {fact.name: getattr(optimizer, f"_{fact.name}", None) for fact in dialect.accepted}
    found = hyperparameters(dialect, {**values, rate.name: optimizer._lr}, session)
    own = {"amsgrad": bool(everything["maximum_second_moment"]), "nesterov": getattr(optimizer, "_nesterov", False)}
    return _described(
        title,
        dialect,
        everything,
        lambda variable, role: optimizer.get_slot(variable, key_of(role)),
        parameters,
        session,
        hyperparameters={**found, **own},
        powers=tuple(
            (role, Place(optimizer._get_non_slot_variable(name, graph=graph), session)) for role, name in powers.items()
        ),
        ahead=int(dialect.semantics.power_start == "beta"),
    )


def _described(
    title: str,
    dialect: Dialect,
    everything: Mapping[str, Sequence[Any]],
    lookup: Callable[[Any, str], Any],
    parameters: Any,
    session: Any,
    scope: str = "",
    **more: Any,
) -> Live:
    """Describe the slots of the caller's variables, or all that there are."""
    variables = listed(parameters)
    slots = {role: list(found) for role, found in everything.items() if found}
    first = slots["first_moment"]
    if variables is None:
        names = naming.unique(_unscoped([slot.name.rpartition("/")[0] for slot in first], scope))
    else:
        names = names_of(variables, parameters)
        slots = {role: [lookup(variable, role) for variable in variables] for role in slots}
        for name, slot in zip(names, slots["first_moment"], strict=True):
            if slot is None:
                raise StateError(f"this {title} has no state for {name!r}; pass the variables that it updates")
        if len({id(slot) for slot in slots["first_moment"]}) != len(first):
            raise StateError(
                f"parameters: {len(names)} variables, but this {title} updates {len(first)}: "
                f"{', '.join(slot.name.rpartition('/')[0] for slot in first[:8])}"
            )
        slots = {"parameter": variables, **slots}
    return Live(
        title=title,
        dialect=dialect.name,
        numerics=dialect.numerics,
        convention="tensorflow",
        shapes={name: tuple(slot.shape) for name, slot in zip(names, slots["first_moment"], strict=True)},
        places={
            role: {name: Place(variable, session) for name, variable in zip(names, found, strict=True)}
            for role, found in slots.items()
        },
        **{"step": None, **more},
    )


def _unscoped(names: Sequence[str], scope: str) -> list[str]:
    """Return names without the optimizer's own scope, in which slots are made at the first step."""
    return [name[len(scope) :] for name in names] if all(name.startswith(scope) for name in names) else list(names)


def _create(create: Callable[[Any], None], title: str, parameters: Any, *, build: bool) -> None:
    variables = listed(parameters)
    if not build or variables is None:
        raise StateError(
            f"this {title} has no state yet; {'pass parameters=..., or ' if build else ''}make a step first"
        )
    if not tf.executing_eagerly():
        raise StateError(
            f"this {title} has no state yet; build its training operation and initialize the variables first"
        )
    create(variables)


def _session_of(everything: Mapping[str, Sequence[Any]], session: Any, title: str) -> Any:
    """Return the session in which the values live; None in eager execution."""
    in_graph = any(getattr(slot, "_in_graph_mode", True) for slots in everything.values() for slot in slots)
    if not in_graph:
        if session is not None:
            raise StateError(f"session: this {title} runs eagerly")
        return None
    session = session or tf.compat.v1.get_default_session()
    if session is None:
        raise StateError(f"this {title} belongs to a graph; pass session=..., or call within a session")
    return session


def _of_graph(graph: Any, names: Sequence[str]) -> list[Any] | None:
    """Return the variables of a graph with those names; None if not all are there."""
    found = {variable.op.name: variable for variable in graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)}
    return [found[name] for name in names] if found.keys() >= set(names) else None


def _check_names(names: Sequence[str], known: Sequence[str], title: str) -> None:
    """Refuse an optimizer that keeps more than Adam does."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise StateError(f"this {title} keeps {', '.join(unknown)}, which is unknown here")

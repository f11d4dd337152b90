"""Describe the optimizers of Keras 3 and of tf_keras for `adamcompat.state`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adamcompat.mapping.originals import Original
from adamcompat.mapping.tables import MAPPING
from adamcompat.state import naming
from adamcompat.state.live import Live
from adamcompat.state.slots import name_of
from adamcompat.state.tensorflow_places import Place, check_same, hyperparameters, listed, names_of, title_of
from adamcompat.state.terms import StateError

# Where the two Kerases keep the state of each parameter, by role.
LISTS = {
    "first_moment": "_momentums",
    "second_moment": "_velocities",
    "maximum_second_moment": "_velocity_hats",
    "average": "_model_variables_moving_average",
    "accumulated_gradient": "_accumulated_gradients",
}


def keras(optimizer: Any, original: Original, parameters: Any, session: Any, *, build: bool) -> Live:
    """Describe a member of keras.optimizers on TensorFlow or JAX, one of tf_keras.optimizers, or ours for either.

    Args:
        optimizer: the optimizer.
        original: the class of Keras that it is, or extends.
        parameters: the variables that it updates, in its order: a dictionary from names to them, or a sequence; None
            for those that it knows. They are needed to build it, and for tf_keras to read or set the parameters
            themselves.
        session: must be None.
        build: whether an optimizer without state is built with `parameters`.

    Returns:
        The description.

    Raises:
        StateError: `session` is given, the optimizer has no state, `parameters` are not those of the optimizer in its
            order, or it keeps something unknown.
    """
    return (_keras2 if original.package == "tf_keras" else _keras3)(optimizer, original, parameters, session, build)


def _keras3(optimizer: Any, original: Original, parameters: Any, session: Any, build: bool) -> Live:
    _check(optimizer, original.target, session, parameters, built=optimizer.built, build=build)
    wanted = {
        "maximum_second_moment": optimizer.amsgrad,
        "average": optimizer.use_ema,
        "accumulated_gradient": optimizer.gradient_accumulation_steps,
    }
    check_same(listed(parameters), optimizer._trainable_variables, original.target)
    return _described(
        optimizer,
        original,
        parameters,
        wanted,
        known=optimizer._trainable_variables,
        every=optimizer.gradient_accumulation_steps,
    )


def _keras2(optimizer: Any, original: Original, parameters: Any, session: Any, build: bool) -> Live:
    if getattr(optimizer, "adaptive_epsilon", False):
        raise StateError("adaptive_epsilon=True is another update than Adam's, and its state means something else")
    built = getattr(optimizer, "_built", False)
    _check(optimizer, original.target, session, parameters, built=built, build=build)
    known = listed(parameters)
    if known is not None:
        places = [optimizer._index_dict.get(optimizer._var_key(variable)) for variable in known]
        if places != list(range(len(optimizer._momentums))):
            raise StateError(
                f"parameters: not the {len(optimizer._momentums)} variables that this optimizer updates, in its order"
            )
    wanted = {"maximum_second_moment": optimizer.amsgrad, "average": optimizer.use_ema}
    return _described(optimizer, original, parameters, wanted, known=known, every=None)


def _check(optimizer: Any, title: str, session: Any, parameters: Any, *, built: bool, build: bool) -> None:
    """Refuse an optimizer that cannot be read, and build one that is to be written and has no state."""
    if session is not None:
        raise StateError(f"session: {title} runs eagerly and in tf.function only")
    if built:
        return
    if not build or parameters is None:
        raise StateError(
            f"this {title} has no state yet; {'pass parameters=..., or ' if build else 'make a step, or '}"
            f"call its build(variables) first"
        )
    optimizer.build(listed(parameters))


def _described(
    optimizer: Any,
    original: Original,
    parameters: Any,
    wanted: Mapping[str, Any],
    *,
    known: Sequence[Any] | None,
    every: int | None,
) -> Live:
    title, dialect, rate = title_of(optimizer, original), original.dialect, optimizer._learning_rate
    lists = {
        role: list(getattr(optimizer, attribute))
        for role, attribute in LISTS.items()
        if wanted.get(role, role in ("first_moment", "second_moment"))
    }
    if any(slot is None for slots in lists.values() for slot in slots):
        raise StateError(f"this {title} has variables that their gradients overwrite (float8), without moments")
    # Before Keras 3.5 the counter of calls has no other name.
    counter = optimizer._iterations if hasattr(optimizer, "_iterations") else optimizer.iterations
    _check_known(optimizer.variables, [counter, rate, *(slot for slots in lists.values() for slot in slots)], title)
    if known is None:
        names = naming.unique(_of_moment(slot.name) for slot in lists["first_moment"])
    else:
        names = names_of(known, parameters)
        lists = {"parameter": list(known), **lists}
    numerics = MAPPING.dialects["tf26"].numerics if getattr(optimizer, "fused", None) else dialect.numerics
    values = {fact.name: getattr(optimizer, fact.name, None) for fact in dialect.accepted}
    rate_name = dialect.named("learning_rate")
    assert rate_name is not None
    values[rate_name.name] = rate
    return Live(
        title=title,
        dialect=dialect.name,
        numerics=numerics,
        convention="tensorflow",
        shapes={name: tuple(slot.shape) for name, slot in zip(names, lists["first_moment"], strict=True)},
        places={
            role: {name: Place(slot) for name, slot in zip(names, slots, strict=True)} for role, slots in lists.items()
        },
        step=Place(counter),
        accumulation_steps=every,
        hyperparameters=hyperparameters(dialect, values),
    )


def _check_known(variables: Iterable[Any], known: Iterable[Any], title: str) -> None:
    """Refuse an optimizer that keeps more than Adam does."""
    ids = {id(variable) for variable in known}
    for variable in variables:
        if id(variable) not in ids:
            raise StateError(f"this {title} keeps {getattr(variable, 'path', variable.name)}, which is unknown here")


def _of_moment(name: str) -> str:
    """Return the parameter that a first moment of tf_keras is named after: it follows the key and a scope, if any."""
    key = name_of("first_moment", "", "tf26")
    return re.sub(rf"^(.*?/)?{(key or '').strip('/')}/", "", name)

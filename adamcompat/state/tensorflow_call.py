"""Describe MindSpore's calling convention on TensorFlow's variables for `adamcompat.state`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamcompat.state import naming
from adamcompat.state.live import Live, plain_numbers
from adamcompat.state.tensorflow_places import Place
from adamcompat.state.terms import StateError
from adamcompat.tensorflow.arguments import raw
from adamcompat.tensorflow.call import CallAdam
from adamcompat.tensorflow.call_state import label


def call(optimizer: CallAdam, parameters: Any, session: Any, *, build: bool) -> Live:
    """Describe one of ours that is called as MindSpore's are, on either Keras."""
    title = type(optimizer).__name__
    if session is not None:
        raise StateError(f"session: {title} runs eagerly and in tf.function only")
    private = optimizer._private
    if private.arranged is None or not private.members:
        if not build or parameters is None:
            raise StateError(f"this {title} has no state yet; call its build(variables) first")
        given = parameters.values() if isinstance(parameters, Mapping) else parameters
        optimizer.build(list(given))  # type: ignore[attr-defined]
    names = _names(title, private.variables, parameters)
    slots = {
        "parameter": list(private.variables),
        "first_moment": [member.m for member in private.members],
        "second_moment": [member.v for member in private.members],
    }
    if private.hyper["amsgrad"]:
        slots["maximum_second_moment"] = [member.vhat for member in private.members]
    products = next(iter(private.powers.values()), ())
    dialect = optimizer._dialect()
    rate = dialect.named("learning_rate")
    values: dict[str, Any] = dict(private.hyper.values)
    if rate is not None and private.hyper.schedules["learning_rate"].constant:
        values["learning_rate"] = float(raw(optimizer._learning_rate).numpy())
    return Live(
        title=title,
        dialect=dialect.name,
        numerics=private.numerics.name,
        convention="tensorflow",
        shapes={name: tuple(variable.shape) for name, variable in zip(names, private.variables, strict=True)},
        places={
            role: {name: Place(raw(variable)) for name, variable in zip(names, found, strict=True)}
            for role, found in slots.items()
        },
        step=Place(raw(optimizer._iterations)),
        powers=tuple(
            (role, Place(raw(product))) for role, product in zip(("beta1_power", "beta2_power"), products, strict=False)
        ),
        hyperparameters=plain_numbers(values),
    )


def _names(title: str, variables: list[Any], parameters: Any) -> tuple[str, ...]:
    """Return what the caller calls the variables, in any order, or their own names."""
    if parameters is None:
        return naming.unique(label(variable) for variable in variables)
    given = list(parameters.values() if isinstance(parameters, Mapping) else parameters)
    called = list(parameters) if isinstance(parameters, Mapping) else naming.unique(map(label, given))
    names = {id(raw(variable)): name for variable, name in zip(given, called, strict=True)}
    if names.keys() != {id(raw(variable)) for variable in variables}:
        raise StateError(f"parameters: not the {len(variables)} variables that this {title} updates")
    return tuple(names[id(raw(variable))] for variable in variables)

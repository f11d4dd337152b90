"""Describe MindSpore's optimizers for `adamcompat.state`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mindspore import Parameter, Tensor, nn

from adamcompat.mapping import lens
from adamcompat.mindspore.apply_gradients import ApplyGradientsAdam
from adamcompat.mindspore.arguments import ignored_names
from adamcompat.mindspore.graphs import forget
from adamcompat.mindspore.members import Member, member_of
from adamcompat.mindspore.torch_style import StepAdam
from adamcompat.state.live import Live, plain_numbers
from adamcompat.state.mindspore_groups import of_groups
from adamcompat.state.mindspore_places import Element, Place, named_parameters
from adamcompat.state.terms import StateError

# What is kept for each Parameter, in the order in which it is looked up.
_ROLES = ("parameter", "first_moment", "second_moment", "maximum_second_moment")


def describe(optimizer: Any, parameters: Any, session: Any, *, build: bool) -> Live | None:
    """Describe one of MindSpore's originals or of adamcompat.mindspore's classes, in either mode.

    Args:
        optimizer: the optimizer, or anything else.
        parameters: the Parameters that it updates, in its order: a dictionary from names to them, or a sequence; None
            for the optimizer's own and their names.
        session: must be None.
        build: whether an optimizer with TensorFlow's call that has no state is built with `parameters`.

    Returns:
        The description; None if `optimizer` is none of these.

    Raises:
        StateError: `session` is given, `parameters` are not those of the optimizer, the optimizer has no state, keeps
            something unknown, or its state cannot be carried as one.
    """
    if session is not None:
        raise StateError("session: only graphs of TensorFlow have one")
    if isinstance(optimizer, ApplyGradientsAdam):
        return _of_tf_style(optimizer, parameters, build=build)
    member = member_of(optimizer)
    if isinstance(optimizer, StepAdam):
        return of_groups(optimizer, parameters, optimizer._dialect())
    if member is None:
        return None
    dialect, attributes = member.dialect, member.attributes
    if attributes is None:
        return of_groups(optimizer, parameters, dialect)
    own = named_parameters(optimizer, parameters)
    slots = dict(zip(_ROLES, [own.values(), *attributes.state(optimizer)], strict=False))
    powers = tuple((role, getattr(optimizer, role)) for role in attributes.powers)
    _check_known(optimizer, [*(p for found in slots.values() for p in found), *(p for _, p in powers)])
    native = {
        fact.name: _number(getattr(optimizer, fact.name, None))
        for fact in dialect.accepted
        if fact.type != "parameters"
    }
    for name in ignored_names(dialect, native):
        native[name] = False
    return Live(
        title=_title(optimizer, member),
        dialect=dialect.name,
        numerics=dialect.numerics,
        convention="mindspore",
        shapes={name: tuple(parameter.shape) for name, parameter in own.items()},
        places={
            role: {name: Place(parameter) for name, parameter in zip(own, found, strict=True)}
            for role, found in slots.items()
        },
        step=Place(optimizer.global_step),
        powers=tuple((role, Place(parameter)) for role, parameter in powers),
        loaded=lambda: forget(optimizer),
        ahead=int(dialect.semantics.power_start == "beta"),
        hyperparameters=plain_numbers(lens.to_canonical(dialect, native)),
    )


def _title(optimizer: Any, member: Member) -> str:
    kind = type(optimizer)
    return f"nn.{kind.__name__}" if kind is member.kind else f"{kind.__module__}.{kind.__name__}"


def _of_tf_style(optimizer: ApplyGradientsAdam, parameters: Any, *, build: bool) -> Live:
    """Describe one of adamcompat.mindspore's classes with the call of TensorFlow."""
    title = type(optimizer).__name__
    given = None
    if parameters is not None:
        given = list(parameters.values() if isinstance(parameters, Mapping) else parameters)
    if not optimizer.built:
        if not build or given is None:
            raise StateError(
                f"this {title} has no state yet; {'pass parameters=..., or ' if build else 'make a step, or '}call its "
                f"build(parameters) first"
            )
        optimizer.build(given)
    own, state = list(optimizer._variables), optimizer._state
    assert state is not None
    if given is not None and [id(parameter) for parameter in given] != [id(parameter) for parameter in own]:
        raise StateError(f"parameters: not the {len(own)} Parameters that this {title} updates, in its order")
    names = tuple(parameters) if isinstance(parameters, Mapping) else tuple(parameter.name for parameter in own)
    columns = {role: getattr(state, name) for role, name in optimizer._ROLES.items()}
    slots = {"parameter": own, **{role: list(column) for role, column in columns.items() if column}}
    hyper, dialect = optimizer._hyper, optimizer._dialect
    values: dict[str, Any] = dict(hyper.values)
    if optimizer._rate is not None:
        values["learning_rate"] = float(optimizer._rate.asnumpy())
    return Live(
        title=title,
        dialect=dialect.name,
        numerics=optimizer._numerics.name,
        convention="mindspore",
        shapes={name: tuple(parameter.shape) for name, parameter in zip(names, own, strict=True)},
        places={
            role: {name: Place(parameter) for name, parameter in zip(names, found, strict=True)}
            for role, found in slots.items()
        },
        step=Place(optimizer._iterations),
        powers=tuple(
            (role, Element(Place(pair), index))
            for pair in state.powers
            for index, role in enumerate(("beta1_power", "beta2_power"))
        ),
        accumulation_steps=hyper["accumulation_steps"],
        hyperparameters=plain_numbers(values),
    )


def _number(value: Any) -> Any:
    """Return a value as NumPy has it; some originals keep a number as an array of one."""
    if not isinstance(value, Tensor):
        return value
    return value.asnumpy().reshape(()) if value.size == 1 else value.asnumpy()


def _check_known(optimizer: Any, known: list[Any]) -> None:
    """Refuse an optimizer that keeps more than its original and its schedules do."""
    ids = {id(parameter) for parameter in [optimizer.global_step, *known]}
    ids |= {id(parameter) for parameter in _of_schedules((optimizer.learning_rate, optimizer.weight_decay))}
    for parameter in optimizer.get_parameters():
        if id(parameter) not in ids:
            raise StateError(f"this {type(optimizer).__name__} keeps {parameter.name}, which is unknown here")


def _of_schedules(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _of_schedules(item)
    elif isinstance(value, nn.Cell):
        yield from value.get_parameters()
    elif isinstance(value, Parameter):
        yield value

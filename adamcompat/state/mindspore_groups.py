"""Describe for `adamcompat.state` MindSpore's optimizers whose groups hold every setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindspore import Tensor

from adamcompat.mapping import lens
from adamcompat.mapping.model import Dialect
from adamcompat.mindspore.grouped_drop_in import GroupedDropIn
from adamcompat.mindspore.torch_style import StepAdam
from adamcompat.state.live import Live, plain_numbers
from adamcompat.state.mindspore_places import Counter, Place, named_parameters
from adamcompat.state.terms import StateError


def of_groups(optimizer: Any, parameters: Any, dialect: Dialect) -> Live:
    """Describe an optimizer of mindspore.experimental.optim or mint.optim, or one in PyTorch's style.

    Args:
        optimizer: one of adamcompat's, or an original.
        parameters: the Parameters that it updates, in its order, as for `mindspore_places.named_parameters`; None for
            the optimizer's own.
        dialect: the facts of its API.

    Returns:
        The description. Its hyperparameters are those that all groups share.

    Raises:
        StateError: it is an original that runs on other devices only, only some groups keep maxima of second moments,
            or `parameters` are not those of the optimizer.
    """
    ours = isinstance(optimizer, (GroupedDropIn, StepAdam))
    if dialect.devices and not ours:
        raise StateError(
            f"{dialect.target} runs on {', '.join(dialect.devices)} alone, and its state was not measured; use ours"
        )
    own = named_parameters(optimizer, parameters)
    columns = {"parameter": own.values(), "first_moment": optimizer.exp_avg, "second_moment": optimizer.exp_avg_sq}
    if (maxima := _maxima(optimizer, dialect, ours)) is not None:
        columns["maximum_second_moment"] = maxima
    settings = [plain_numbers(_settings(group, dialect, ours)) for group in optimizer.param_groups]
    shared = {name: value for name, value in settings[0].items() if all(one.get(name) == value for one in settings)}
    kind = type(optimizer)
    return Live(
        title=f"{kind.__module__}.{kind.__name__}",
        dialect=dialect.name,
        numerics=optimizer._grouped.numerics.name if ours else dialect.numerics,
        convention="mindspore",
        shapes={name: tuple(parameter.shape) for name, parameter in own.items()},
        places={
            role: {name: Place(parameter) for name, parameter in zip(own, found, strict=True)}
            for role, found in columns.items()
        },
        step=Counter(optimizer.state_step, optimizer._grouped.before if ours else 0),
        hyperparameters=shared,
    )


def _settings(group: Mapping[str, Any], dialect: Dialect, ours: bool) -> dict[str, Any]:
    """Return the settings of a group under canonical names, without those that an original ignores."""
    native = {
        fact.name: lens.each(fact, group[fact.name], _number)
        for fact in dialect.accepted
        if fact.parts[0].canonical != "parameters"
    }
    return lens.to_canonical(dialect, native | ({} if ours else dict.fromkeys(dialect.ignored, False)))


def _number(value: Any) -> Any:
    return float(str(value.asnumpy().reshape(()))) if isinstance(value, Tensor) else value


def _maxima(optimizer: Any, dialect: Dialect, ours: bool) -> list[Any] | None:
    """Return the maxima of the second moments; None where no group keeps them."""
    fact = dialect.named("amsgrad")
    assert fact is not None
    if not ours and fact.name in dialect.ignored:
        return None
    asked = [bool(group[fact.name]) for group in optimizer.param_groups]
    if not any(asked):
        return None
    if not all(asked):
        raise StateError(f"{fact.name} is set in some groups alone, and the state of all is carried as one")
    return list(optimizer._maxima() if ours else optimizer.max_exp_avg_sq)

"""Tell which runtime an optimizer belongs to; no framework is imported to find out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adamcompat.kinds import told
from adamcompat.mapping.originals import originals
from adamcompat.mapping.runtimes import FRAMEWORKS, ORIGINALS
from adamcompat.state.live import Live
from adamcompat.state.terms import StateError

# A package, to the framework that describes its optimizers as `Live`.
_CARRIERS = {
    **{package: framework for framework in ORIGINALS.values() for package in framework.packages},
    "adamcompat.numpy": FRAMEWORKS["numpy"],
}


def find(optimizer: Any, parameters: Any, session: Any, *, build: bool) -> Live:
    """Describe an optimizer, by the runtime that its class, or a base of it, belongs to.

    Args:
        optimizer: an Adam of any runtime.
        parameters: the parameters that it updates, as for `AdamState.of`; None for those that it knows itself.
        session: the tf.compat.v1.Session for graphs of TensorFlow, else None.
        build: whether an optimizer without state is built with `parameters`.

    Returns:
        The description.

    Raises:
        StateError: the optimizer is none of those that are known here, it has no state, or its state cannot be carried.
    """
    # A model of PyTorch says itself which parameters it has.
    plain = isinstance(parameters, Iterable) or hasattr(parameters, "named_parameters")
    if parameters is not None and not plain:
        raise StateError(
            f"parameters must be the variables that the optimizer updates, or a dictionary from names to them; got "
            f"{told(parameters)}"
        )
    for ancestor in type(optimizer).__mro__:
        for package, framework in _CARRIERS.items():
            if f"{ancestor.__module__}.".startswith(f"{package}."):
                live: Live | None = framework.load("state").describe(optimizer, parameters, session, build=build)
                if live is not None:
                    return live
    supported = ", ".join(original.target for original in originals().values())
    kind = type(optimizer)
    raise StateError(f"expected {supported}, or a class of adamcompat; got {kind.__module__}.{kind.__qualname__}")

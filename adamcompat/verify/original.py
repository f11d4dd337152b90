"""Hold an original and what can be done with it: it is called by canonical or by its own names, step by step."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.drive import Driver, Opened, find, start
from adamcompat.drive.arguments import original as as_adapter
from adamcompat.mapping import lens
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING

Array = NDArray[Any]


class NoSuchParameterError(Exception):
    """Tell that the dialect has no parameter of a meaning, so that nothing can be tried."""


@contextlib.contextmanager
def hushed() -> Iterator[list[warnings.WarningMessage]]:
    """Keep warnings and log lines of what is provoked on purpose away from the user.

    Yields:
        The warnings that were caught so far.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        logging.disable(before)


@dataclass(frozen=True, slots=True)
class Original:
    """Hold one class that people write against, as it is installed here.

    Attributes:
        entry: its name in `adamcompat.drive`.
        dialect: the facts of this package, for the names to call it with.
        framework: the name of its framework, for the heading of its column.
        version: of that framework.
        kind: the class.
        growing: makes a schedule of the framework with the value ``factor * (step + 1)``, for what is
            driven; None where the framework has none.
        once: makes one with the given keywords and makes a step with it, without a driver.
        mistakes: for each kind of mistake, ways to make it.
        state: name and value of all that a driver's optimizer keeps, in its order.
        resolve: the object of a dotted name; raises AttributeError or ImportError where there is none.
        kinds: the original's own names of kinds of state, each with its value for the first parameter.
        sparse: whether gradients may hold some rows only.
        group_keys: the keys that a parameter group may have.
        state_mode: the mode of the driver in which names of state are those of a fresh process.
        share: the share of the elements, from 0 to 1, that have the bits of the formula; less than 1 where its square
            root is not always rounded right.
    """

    entry: str
    dialect: Dialect
    framework: str
    version: str
    kind: type[Any]
    growing: Callable[[float], Any] | None
    once: Callable[[Mapping[str, Any]], Any]
    mistakes: Mapping[str, Sequence[Callable[[], Any]]]
    state: Callable[[Driver], list[tuple[str, Array]]]
    resolve: Callable[[str], Any]
    kinds: Callable[[Driver], dict[str, Array]]
    sparse: bool = False
    group_keys: tuple[str, ...] = ()
    state_mode: str = ""
    share: float = 1.0

    def native(self, hyper: Mapping[str, Any]) -> dict[str, Any]:
        """Turn canonical hyperparameters into this dialect's keywords.

        What is not given changes nothing, as in the predictions: a default that would is replaced by the neutral value.

        Args:
            hyper: canonical names to values.

        Returns:
            Native names to values.

        Raises:
            NoSuchParameterError: the dialect has no parameter of a meaning.
        """
        for canonical in hyper:
            if self.dialect.named(canonical) is None:
                raise NoSuchParameterError(canonical)
        neutral = {fact.canonical: MAPPING.canonical[fact.canonical].neutral for fact in self.dialect.facts}
        acting = {
            fact.canonical: neutral[fact.canonical]
            for fact in self.dialect.facts
            if fact.default is not None and neutral[fact.canonical] not in (None, fact.default)
        }
        return lens.to_native(self.dialect, {**acting, **hyper})

    def start(
        self, native: Mapping[str, Any], weights: Sequence[Array], names: Sequence[str] = (), mode: str = ""
    ) -> Driver:
        """Open the original on copies of `weights`, with keywords as they are: nothing is checked or translated.

        Args:
            native: keywords by the original's own names.
            weights: the initial parameters, one array a parameter.
            names: of the parameters; without any they are ``omega1``, ``omega2`` and so on.
            mode: how a step is run; an empty text for the default.

        Returns:
            A driver that makes its steps.
        """
        entry, mode = find(f"{self.entry}:{mode}" if mode else self.entry)
        labels = tuple(names) or tuple(f"omega{i + 1}" for i in range(len(weights)))
        adapter = as_adapter(self.entry, self.dialect)
        opened = Opened(self.entry, entry, mode, self.dialect, adapter, dict(native), {}, labels)
        return start(opened, weights)

    def trajectory(
        self,
        native: Mapping[str, Any],
        weights: Sequence[Array],
        gradients: Sequence[Sequence[Any]],
        names: Sequence[str] = (),
    ) -> Array:
        """Run the original, without its warnings and log lines.

        Args:
            native: keywords by the original's own names.
            weights: the initial parameters, one array a parameter.
            gradients: for each step one array, or `RowSparse`, a parameter.
            names: of the parameters; without any they are ``omega1``, ``omega2`` and so on.

        Returns:
            All parameters after each step, one after the other in one vector.
        """
        with hushed():
            return trajectory(self.start(native, weights, names), gradients)


def trajectory(driver: Driver, gradients: Sequence[Sequence[Any]]) -> Array:
    """Run a driver, and return all parameters after each step, one after the other in one vector.

    Args:
        driver: of any optimizer; it has made these steps then.
        gradients: for each step one array a parameter.
    """
    seen: list[Array] = []
    for step in gradients:
        driver.step(step)
        seen += [array.ravel() for array in driver.parameters()]
    return np.concatenate(seen)


def refuses(attempt: Callable[..., Any], *arguments: Any) -> str | None:
    """Return the name of the exception that `attempt` raises, or None.

    Args:
        attempt: what to try; its warnings and log lines are kept away from the user.
        arguments: of the call.
    """
    with hushed():
        try:
            attempt(*arguments)
        except Exception as error:
            return type(error).__name__
    return None

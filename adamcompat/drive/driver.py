"""Define drivers, and open them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adamcompat.drive.arguments import check_hyperparameters, keywords, original
from adamcompat.drive.catalogue import Entry, find
from adamcompat.drive.groups import Grouping, parameter_names, read_groups
from adamcompat.kinds import told
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.originals import originals
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import DTYPES, RowSparse
from adamcompat.state.layout import unchanged
from adamcompat.state.live import Live
from adamcompat.state.matching import Matching, Pair
from adamcompat.state.model import AdamState
from adamcompat.state.writing import restore

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """Describe the optimizer that a driver runs, and its arguments.

    Attributes:
        label: as it was asked for.
        entry: what the catalogue says of it.
        mode: how a step is run.
        dialect: the dialect that it is called in.
        adapter: the dialect's view of its parameters.
        native: the keywords it was given, by its own names; the rest are its own defaults.
        own: those of them that belong to no dialect, such as ``numerics``.
        names: names of the parameters.
        groups: how they are grouped, or None where they are not.
    """

    label: str
    entry: Entry
    mode: str
    dialect: Dialect
    adapter: Adapter
    native: dict[str, Any]
    own: dict[str, Any]
    names: tuple[str, ...]
    groups: Grouping | None = None

    def grouped(self, tensors: Sequence[Any]) -> list[Any]:
        """Return `tensors` as an optimizer takes its parameters: in groups where there are any.

        Args:
            tensors: one a parameter, in the order of the weights.
        """
        if self.groups is None:
            return list(tensors)
        weights = {fact.name for fact in self.dialect.groups if fact.type == "parameters"}
        return [
            {key: [tensors[i] for i in value] if key in weights else value for key, value in entry.items()}
            for entry in self.groups.entries
        ]

    def ordered(self, gradients: Sequence[Any]) -> tuple[Any, ...]:
        """Return gradients in the order in which such an optimizer takes them.

        Args:
            gradients: one a parameter, in the order of the weights.
        """
        return tuple(gradients) if self.groups is None else tuple(gradients[i] for i in self.groups.order)


class Driver(Protocol):
    """Hold one optimizer and the parameters that it updates."""

    opened: Opened

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step.

        Args:
            gradients: an array or `RowSparse` for each parameter, in the order of the weights. Arrays are
                rounded to the parameter's dtype.

        Raises:
            ValueError: the number of gradients is wrong, a shape is (some dialects have another exception for that), or
                the optimizer takes no `RowSparse`.
        """

    def load(self, state: AdamState) -> None:
        """Go on from what another optimizer kept, as far as this one keeps it too.

        Args:
            state: under the names of the weights.

        Raises:
            ValueError: the state is in the middle of an accumulation that this optimizer does not have.
        """

    def parameters(self) -> list[Array]:
        """Return copies of the parameters as they are now, in the order of the weights."""

    def slots(self) -> dict[str, Array]:
        """Return copies of the optimizer's state, by the names that the framework gives it."""


def prepare(
    name: str,
    hyperparameters: AbstractMapping[str, Any] | None = None,
    names: Sequence[str] = (),
    beneath: AbstractMapping[str, Any] | None = None,
) -> Opened:
    """Translate hyperparameters for an optimizer, and say what will be run; opens nothing.

    Args:
        name: see `open_driver`.
        hyperparameters: see `open_driver`.
        names: names of the parameters, each its own.
        beneath: what its own keywords are where `hyperparameters` says nothing.

    Returns:
        The optimizer and its arguments, for `start`.

    Raises:
        ValueError: the optimizer, its mode or a hyperparameter is unknown, or groups do not fit.
        ModuleNotFoundError: its framework is not installed.

    >>> prepare("mindspore", {"beta_1": 0.8, "epsilon": 1e-7}).native
    {'beta1': 0.8, 'eps': 1e-07}
    """
    entry, mode = find(name)
    dialect = MAPPING.dialects[mode if mode in MAPPING.dialects else entry.dialect]
    adapter = entry.adapter or original(entry.name, dialect)
    if len(set(names)) != len(names):
        raise ValueError(f"two of the weights have the same name; give each its own: {', '.join(names)}")
    own = entry.framework.load("drive").own_keywords(entry) if entry.adapter is not None else {}
    if hyperparameters is not None:
        check_hyperparameters(hyperparameters, "hyperparameters")
    rest = dict(hyperparameters or {})
    grouped = {key: rest.pop(key) for key in parameter_names() if key in rest}
    if len(grouped) > 1:
        raise ValueError(f"{' and '.join(map(repr, grouped))} mean the same; give one")
    given = next(iter(grouped.values()), None)
    groups = None if given is None else read_groups(given, dialect, names, entry.name)
    found = keywords(adapter, rest, own, beneath)
    mine = {key: found.pop(key) for key in own if key in found}
    if entry.adapter is None:
        _refuse_original(entry.name, dialect, found)
    return Opened(name, entry, mode, dialect, adapter, found, mine, tuple(names), groups)


def _refuse_original(name: str, dialect: Dialect, native: AbstractMapping[str, Any]) -> None:
    """Refuse an original that would not do what it is asked to.

    Raises:
        ValueError: the original does not run everywhere, or ignores what was given.
    """
    if name not in originals():
        return
    ignored = [item for item in dialect.ignored if native.get(item)]
    if not dialect.devices and not ignored:
        return
    ours = next(f"{a.module}.{a.name}" for a in MAPPING.adapters if a.dialect == dialect.name and a.replaces(dialect))
    if dialect.devices:
        raise ValueError(
            f"{name}: {dialect.target} runs on {', '.join(dialect.devices)} alone, and is not driven; drive {ours}"
        )
    raise ValueError(
        f"{name}: {dialect.target} accepts {', '.join(ignored)} and ignores it; leave it out, or drive {ours}"
    )


def open_driver(
    name: str,
    weights: Sequence[Any],
    hyperparameters: AbstractMapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
) -> Driver:
    """Open an optimizer on copies of `weights`.

    Args:
        name: an original by its dialect, such as ``"keras3"``, ``"tf26"``, ``"mindspore"`` or ``"torch"``, also
            ``"tf_keras"``; ``"adamcompat.TFStyleAdam"`` and our other classes by their full names; or ``"float64"``, a
            reference in float64 with canonical numerics. A mode may follow: ``":function"`` or
            ``":jit"`` (Keras, TensorFlow 2.6), ``":graph"`` (TensorFlow 1, MindSpore), or the dialect whose
            defaults and order of stages float64 should follow, as in ``"float64:mindspore"``.
        weights: the initial parameters: float16, float32 or float64 arrays.
        hyperparameters: by their names in any dialect. What is not given is the optimizer's own
            default. Learning rates may be numbers, lists with one value a step, callables of the step
            (0 at the first) or of nothing, or a schedule of the optimizer's own framework. Keywords of our
            classes (``numerics``, ``fused``) are taken too. For an optimizer in MindSpore's style ``params`` is a
            list of parameter groups, with the names or positions of weights in place of Parameters.
        names: of the parameters, for filters such as MindSpore's and for the names of slots.

    Returns:
        A driver that makes its steps.

    Raises:
        ValueError: the optimizer or a hyperparameter is unknown, or the weights are no arrays of real numbers.
        ModuleNotFoundError: the framework is not installed.

    >>> driver = open_driver("adamcompat.TFStyleAdam", [np.ones(2, np.float32)], {"lr": 0.1})
    >>> driver.step([np.array([1, -1], np.float32)])
    >>> driver.parameters()[0].round(3)
    array([0.9, 1.1], dtype=float32)
    """
    if isinstance(weights, str) or not isinstance(weights, (Sequence, np.ndarray)):
        raise TypeError(f"weights must be a list of arrays; got {told(weights)}")
    labels = tuple(names) if names is not None else tuple(f"parameter_{i}" for i in range(len(weights)))
    return start(prepare(name, hyperparameters, labels), weights)


def start(opened: Opened, weights: Sequence[Any]) -> Driver:
    """Open what was prepared on copies of `weights`.

    Args:
        opened: as `prepare` returns it.
        weights: the initial parameters: float16, float32 or float64 arrays, one for each name.

    Returns:
        A driver that makes the optimizer's steps.

    Raises:
        ValueError: the weights are no arrays of real numbers, or their number is not that of the names.
        ModuleNotFoundError: the framework is not installed.
    """
    arrays = [np.array(weight) for weight in weights]
    if not arrays:
        raise ValueError("no weights: give at least one array to update")
    if len(opened.names) != len(arrays):
        raise ValueError(f"got {len(opened.names)} names for {len(arrays)} weights; give each its own, or none")
    for label, array in zip(opened.names, arrays, strict=True):
        if array.dtype not in DTYPES:
            raise ValueError(f"{label} has dtype {array.dtype}; expected float16, float32 or float64")
    driver: Driver = opened.entry.framework.load("drive").open_driver(opened, arrays)
    return driver


def load_into(live: Live, state: AdamState) -> int:
    """Set an optimizer to a state under the names of its parameters.

    The largest second moments begin with the second moments and averages with the parameters where the state has none;
    what the optimizer does not keep is left out.

    Args:
        live: the optimizer, whose parameters stay as they are.
        state: with the names and shapes of the optimizer's parameters. Its values may be rounded to narrower dtypes.

    Returns:
        How many calls the optimizer has seen then.

    Raises:
        ValueError: the state is in the middle of an accumulation that the optimizer does not have.
    """
    if state.accumulated_calls and live.accumulation_steps != state.accumulation_steps:
        raise ValueError(
            f"what was recorded begins in the middle of an accumulation ({state.accumulated_calls} of "
            f"{state.accumulation_steps} gradients), which the {live.title} does not have: give it the same number, or "
            f"record from an update on"
        )
    parameters = {name: place.read() for name, place in live.places.get("parameter", {}).items()}
    begins = {"maximum_second_moment": state.second_moment, "average": parameters}
    kept = {role: (getattr(state, role) or begin) if role in live.places else None for role, begin in begins.items()}
    if "accumulated_gradient" not in live.places:
        kept["accumulated_gradient"] = None
    fitting = replace(state, parameters=None, hyperparameters={}, **kept)  # type: ignore[arg-type]
    pairs = tuple(Pair(name, name, unchanged(tuple(shape)), "name") for name, shape in live.shapes.items())
    restore(live, fitting, Matching(pairs), with_parameters=False, cast=True)
    return fitting.step * (live.accumulation_steps or 1) + fitting.accumulated_calls


def keyword_only(kind: Any) -> dict[str, Any]:
    """Return the keywords of a class of ours that no dialect has, with their defaults: they are given by name alone."""
    parameters = inspect.signature(kind).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def as_dense(gradient: Any, like: Array) -> Array:
    """Return a gradient as an array of a parameter's shape and dtype.

    Args:
        gradient: an array or `RowSparse`.
        like: the parameter, or an array of its shape and dtype.

    Raises:
        ValueError: the shape of the gradient differs.
    """
    array = gradient.dense(like.shape) if isinstance(gradient, RowSparse) else np.asarray(gradient)
    if array.shape != like.shape:
        raise ValueError(f"a gradient has shape {array.shape}, but its parameter has shape {like.shape}")
    return np.ascontiguousarray(array, dtype=like.dtype).reshape(like.shape)


def check_count(gradients: Sequence[Any], parameters: int) -> None:
    """Refuse a list of gradients of the wrong length.

    Args:
        gradients: one for each parameter.
        parameters: the number of parameters.

    Raises:
        ValueError: there are fewer or more gradients than parameters.
    """
    if len(gradients) != parameters:
        raise ValueError(f"got {len(gradients)} gradients for {parameters} parameters")

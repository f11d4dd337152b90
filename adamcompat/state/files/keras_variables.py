"""Tell the variables of Keras's optimizers, which its files number, apart by their order and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from adamcompat.mapping.model import Dialect
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.terms import Shape


class Variable(Protocol):
    """Stand for a variable in a file."""

    @property
    def shape(self) -> Shape:
        """Return the variable's shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the variable's dtype."""


# The dialects of Keras 3. Where a file does not say whose state it holds, it is taken for the first one's, Adam's: all
# keep the same.
MEMBERS = tuple(MAPPING.dialects[name] for name in RUNTIMES["tensorflow"].originals)

Found = TypeVar("Found", bound=Variable)

# What Keras calls its other optimizers where nobody names them. Some keep variables that look like Adam's.
_OTHERS = frozenset(
    (
        *("adadelta", "adafactor", "adagrad", "adamax", "ftrl", "lamb", "lion", "muon", "multi_optimizer", "nadam"),
        *("rm_sprop", "rmsprop", "schedule_free_adam_w", "sgd", "loss_scale_optimizer"),
    )
)
# Before the variables of the optimizer inside: iteration, learning rate, counter and scale of LossScaleOptimizer.
OWN_OF_LOSS_SCALE = 4
_SCALE = 3


@dataclass(frozen=True, slots=True)
class Options:
    """Hold what an optimizer keeps, as far as a file tells it; None where it does not.

    Attributes:
        rate: whether the learning rate is a variable; a schedule is none.
        average: whether averages are kept.
        accumulates: whether gradients are accumulated.
        maximum: whether the maxima of AMSGrad are kept.
        interleaved: whether averages and accumulated gradients take turns, as they did before Keras 3.10.
    """

    rate: bool | None = None
    average: bool | None = None
    accumulates: bool | None = None
    maximum: bool | None = None
    interleaved: bool = False


def ways(variables: Sequence[Found], options: Options) -> list[dict[str, list[Found]]]:
    """Return the ways in which variables can be read as Adam's.

    A counter comes first, perhaps a learning rate, averages, accumulated gradients, the moments in turn, the maxima.

    Args:
        variables: all variables of the optimizer, in the order of the file.
        options: what is known of the optimizer; each None is tried both ways.

    Returns:
        For each way the variables by their role in mapping.yaml, in the order of the parameters. The counter and the
        learning rate are left out.
    """
    if not variables or variables[0].shape != () or variables[0].dtype.kind not in "iu":
        return []
    found = []
    for rate in _choices(options.rate):
        if rate and (len(variables) < 2 or variables[1].shape != () or variables[1].dtype.kind != "f"):
            continue
        rest = list(variables[1 + rate :])
        for average in _choices(options.average):
            for accumulates in _choices(options.accumulates):
                for maximum in _choices(options.maximum):
                    way = _way(rest, average, accumulates, maximum, interleaved=options.interleaved)
                    if way is not None:
                        found.append(way)
    return found


def _choices(known: bool | None) -> tuple[bool, ...]:
    return (False, True) if known is None else (known,)


def _way(
    rest: list[Found], average: bool, accumulates: bool, maximum: bool, *, interleaved: bool
) -> dict[str, list[Found]] | None:
    each = 2 + average + accumulates + maximum
    count, odd = divmod(len(rest), each)
    if odd or not count:
        return None
    way: dict[str, list[Found]] = {}
    if average and accumulates and interleaved:
        way["average"], way["accumulated_gradient"] = rest[0 : 2 * count : 2], rest[1 : 2 * count : 2]
        rest = rest[2 * count :]
    else:
        for wanted, role in ((average, "average"), (accumulates, "accumulated_gradient")):
            if wanted:
                way[role], rest = rest[:count], rest[count:]
    way["first_moment"], way["second_moment"] = rest[0 : 2 * count : 2], rest[1 : 2 * count : 2]
    if maximum:
        way["maximum_second_moment"] = rest[2 * count :]
    shapes = [[tuple(variable.shape) for variable in part] for part in way.values()]
    real = all(variable.dtype.kind in "fV" for part in way.values() for variable in part)
    return way if real and all(part == shapes[0] for part in shapes) else None


def is_loss_scale(variables: Sequence[Variable]) -> bool:
    """Return whether variables begin with those of LossScaleOptimizer, which has another optimizer inside."""
    kinds = "".join(v.dtype.kind for v in variables[: OWN_OF_LOSS_SCALE + 1] if v.shape == ())
    return kinds == "ififi"


def scale_of(variables: Sequence[Variable]) -> float | None:
    """Return the loss scale among the variables of LossScaleOptimizer; None where these are no such variables."""
    if not is_loss_scale(variables):
        return None
    return float(np.asarray(variables[_SCALE]).reshape(()))


def scale_note(scale: float | None) -> str:
    """Return the note that the loss scale is not carried.

    Args:
        scale: the loss scale; None where it is not known.
    """
    known = "" if scale is None else f" ({scale:g})"
    return (
        f"the optimizer was inside a LossScaleOptimizer: its state is read, and the loss scale{known} is not a part of "
        f"it; the program that goes on has its own, set it there (initial_scale in Keras)"
    )


def dialect_called(name: str) -> Dialect | None:
    """Return the dialect of Keras that a name stands for, None if none's; Keras numbers the second and later ones.

    Args:
        name: of a class, or of an optimizer that Keras named after its class.

    >>> [dialect_called(name).target for name in ("AdamW", "adam_w_1", "adam")]
    ['keras.optimizers.AdamW', 'keras.optimizers.AdamW', 'keras.optimizers.Adam']
    """
    plain = re.sub(r"_\d+$", "", name).replace("_", "").lower()
    return next((one for one in MEMBERS if one.member.lower() == plain), None)


def other_optimizer(name: str) -> str | None:
    """Return the optimizer of Keras that a name stands for, if it is not Adam; Keras numbers the second and later ones.

    >>> other_optimizer("adamax_1"), other_optimizer("adam_2"), other_optimizer("mine")
    ('adamax', None, None)
    """
    plain = re.sub(r"_\d+$", "", name)
    return plain if plain in _OTHERS else None


# Which parameters the moments belong to, where other layers are trained now than when the optimizer was built.


def places_of(shapes: Sequence[Shape], candidates: Mapping[str, Shape]) -> list[tuple[str, ...]]:
    """Return the ways to find moments' parameters among those of a model, in order and whole layers at a time.

    Args:
        shapes: of the moments.
        candidates: shapes of all parameters that may be trained, by name and in order.

    Returns:
        The names of the parameters, for the first two ways at most. Where whole layers do not fit, parameters are taken
        one by one.

    >>> places_of([(2,)], {"a/kernel": (3,), "b/kernel": (2,)})
    [('b/kernel',)]
    """
    layers: list[tuple[str, list[str]]] = []
    for name in candidates:
        layer = name.rpartition("/")[0]
        if not layers or layers[-1][0] != layer:
            layers.append((layer, []))
        layers[-1][1].append(name)
    wanted = [tuple(shape) for shape in shapes]
    groups = [names for _, names in layers]
    found = _embedded(wanted, groups, candidates)
    return found or _embedded(wanted, [[name] for name in candidates], candidates)


def _embedded(
    wanted: Sequence[Shape], groups: Sequence[Sequence[str]], candidates: Mapping[str, Shape]
) -> list[tuple[str, ...]]:
    """Return the first two choices of groups whose shapes, one after the other, are those that are wanted."""
    # How many ways there are from each group and place on, so that nothing is searched in vain.
    counts = {(len(groups), len(wanted)): 1}

    def fits(group: int, place: int) -> bool:
        names = groups[group]
        return [tuple(candidates[name]) for name in names] == list(wanted[place : place + len(names)])

    for group in reversed(range(len(groups))):
        for place in range(len(wanted) + 1):
            ways = counts.get((group + 1, place), 0)
            if fits(group, place):
                ways += counts.get((group + 1, place + len(groups[group])), 0)
            if ways:
                counts[group, place] = min(ways, 2)

    def walk(group: int, place: int) -> Iterator[tuple[str, ...]]:
        if (group, place) not in counts:
            return
        if group == len(groups):
            yield ()
            return
        if fits(group, place):
            for rest in walk(group + 1, place + len(groups[group])):
                yield (*groups[group], *rest)
        yield from walk(group + 1, place)

    found = []
    for names in walk(0, 0):
        found.append(names)
        if len(found) == 2:
            break
    return found

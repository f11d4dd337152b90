"""Find what the numbered parameters of an optimizer of PyTorch are called in the model beside it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from adamcompat.state import naming
from adamcompat.state.terms import Shape

# PyTorch's norms keep these beside their weights, in real numbers; no optimizer has them.
_BUFFERS = ("running_mean", "running_var")
_HINT = "make the optimizer with model.named_parameters(), and its state_dict() tells names"


@dataclass(frozen=True, slots=True)
class Named:
    """Hold the names of parameters.

    Attributes:
        names: by what stands for the parameter in the file; in the order of the file.
        in_model: whether these are names in the model that is in the file.
    """

    names: Mapping[Hashable, str]
    in_model: bool


def names_of(
    shapes: Mapping[Hashable, Shape | None], given: Sequence[str] | None, model: Mapping[str, Shape]
) -> tuple[Named, list[str]]:
    """Find the name of each parameter.

    Args:
        shapes: of the parameters, in order; None where there is no state that shows it.
        given: their names, where the optimizer knows them.
        model: the shapes of what the model holds, by name and in order; empty where there is none.

    Returns:
        The names, and what is to be said of them. Where shapes and order leave it open, they are numbers.

    >>> names_of({0: (2, 3), 1: None}, None, {"fc.weight": (2, 3), "fc.bias": (2,)})[0].names
    {0: 'fc.weight', 1: 'fc.bias'}
    """
    if given is not None and len(given) == len(shapes) == len(set(given)):
        named = dict(zip(shapes, given, strict=True))
        fits = all(name in model and shapes[place] in (None, model[name]) for place, name in named.items())
        notes = (
            [] if fits or not model else ["the model in it has other parameters than its optimizer, and is not read"]
        )
        return Named(named, fits), notes
    without = Named(dict(zip(shapes, naming.numbers(len(shapes)), strict=True)), False)
    if not model:
        return without, []
    trained = [name for name in model if naming.split(name)[1] not in _BUFFERS]
    ways: list[tuple[str, ...]] = []
    for candidates in (trained, list(model)):
        ways = ways or _embedded(list(shapes.values()), candidates, model)
    if len(ways) == 1:
        return Named(dict(zip(shapes, ways[0], strict=True)), True), []
    why = "shapes leave it open" if ways else "it has others, or they stand in groups and so in another order"
    return without, [f"which parameter of the model in it is which is not known, for {why}: they are numbered. {_HINT}"]


def _embedded(
    wanted: Sequence[Shape | None], candidates: Sequence[str], shapes: Mapping[str, Shape]
) -> list[tuple[str, ...]]:
    """Return the ways to find parameters of these shapes, one after the other, among candidates; at most two."""
    # How many ways there are from each candidate and place on, so that nothing is searched in vain.
    rows, columns = len(candidates), len(wanted)
    counts = [[0] * (columns + 1) for _ in range(rows + 1)]
    counts[rows][columns] = 1

    def fits(row: int, column: int) -> bool:
        return column < columns and wanted[column] in (None, shapes[candidates[row]])

    for row in reversed(range(rows)):
        for column in range(max(0, columns - rows + row), min(columns, row) + 1):
            taken = counts[row + 1][column + 1] if fits(row, column) else 0
            counts[row][column] = min(2, taken + counts[row + 1][column])
        counts[row][columns] = 1
    found: list[tuple[str, ...]] = []
    open_: list[tuple[int, int, tuple[str, ...]]] = [(0, 0, ())]
    while open_ and len(found) < 2:
        row, column, names = open_.pop()
        if not counts[row][column]:
            continue
        if row == rows:
            found.append(names)
            continue
        open_.append((row + 1, column, names))
        if fits(row, column):
            open_.append((row + 1, column + 1, (*names, candidates[row])))
    return found

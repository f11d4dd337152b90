"""Choose among the combinations of a test that is parametrized along several axes.

A test over 25 recorded cases, 2 modes and 3 numerics has 150 combinations, and with a real framework each costs a
second to compile. Nearly every fault shows with one value, whatever stands beside it. So by default such a test runs a
choice in which each value of each axis stands, with partners as different as can be. ``--every-combination`` runs all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import pytest

# A test of so many combinations, or fewer, runs whole.
FEW = 3
# How many combinations each value stands in at least, where there are as many.
TIMES = 1


def axes_of(items: Sequence[pytest.Item]) -> list[tuple[int, ...]]:
    """Return the place of each item on each axis; arguments that are given together are one axis.

    Args:
        items: the items of one parametrized test.

    Returns:
        For each item its index on each axis.
    """
    columns = set()
    for name in items[0].callspec.params:  # type: ignore[attr-defined]
        # The index that pytest gives to a value is another one in each combination.
        known: dict[int, int] = {}
        columns.add(tuple(known.setdefault(id(item.callspec.params[name]), len(known)) for item in items))  # type: ignore[attr-defined]
    return list(zip(*sorted(columns), strict=True))


def chosen(places: Sequence[Sequence[int]], times: int = TIMES) -> list[int]:
    """Choose combinations in which each value of each axis stands several times, with many partners.

    Args:
        places: for each combination its index on each axis.
        times: how often each value is to stand in what is chosen, where there are that many combinations of it.

    Returns:
        Positions in `places`, in their order.

    >>> grid = [(i, j) for i in range(6) for j in range(3)]
    >>> [grid[i] for i in chosen(grid, 1)]
    [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)]
    """
    there = Counter((axis, value) for place in places for axis, value in enumerate(place))
    missing = {key: min(times, count) for key, count in there.items()}
    used: Counter[tuple[int, int]] = Counter()
    pairs: set[tuple[tuple[int, int], tuple[int, int]]] = set()
    left, found = dict(enumerate(places)), []
    while left and any(missing.values()):

        def worth(position: int) -> tuple[int, int, int, int]:
            values = list(enumerate(left[position]))
            new = sum(pair not in pairs for pair in combinations(values, 2))
            return sum(missing[value] > 0 for value in values), new, -sum(used[value] for value in values), -position

        best = max(left, key=worth)
        values = list(enumerate(left.pop(best)))
        found.append(best)
        pairs.update(combinations(values, 2))
        for value in values:
            used[value] += 1
            missing[value] = max(0, missing[value] - 1)
    return sorted(found)


def split(items: Iterable[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Split collected tests into those that run and combinations that are left out.

    Only tests that run a real framework along two axes or more leave any out.

    Args:
        items: what was collected.

    Returns:
        The tests to run and the others, each in their order.
    """
    tests: dict[tuple[str, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0], type(item).__name__].append(item)
    left_out: set[int] = set()
    for group in tests.values():
        if len(group) > FEW and hasattr(group[0], "callspec") and group[0].get_closest_marker("frameworks"):
            places = axes_of(group)
            if len(places[0]) > 1:
                run = set(chosen(places))
                left_out.update(id(item) for position, item in enumerate(group) if position not in run)
    return [item for item in items if id(item) not in left_out], [item for item in items if id(item) in left_out]

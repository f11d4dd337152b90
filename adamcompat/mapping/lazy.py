"""Make values when they are asked for: most programs need the facts of one dialect or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Makers: TypeAlias = Mapping[str, Callable[[], T]]


class Lazy(Mapping[str, T]):
    """Hold values that are made once each, when they are first asked for.

    Args:
        makers: for each name a function without arguments that makes its value. It may run twice where two threads ask
            at once; the first value stays. Or a function that returns these functions, called when any is needed.

    >>> squares = Lazy({"two": lambda: 4, "three": lambda: 9})
    >>> squares["two"], list(squares), len(squares)
    (4, ['two', 'three'], 2)
    """

    def __init__(self, makers: Makers[T] | Callable[[], Makers[T]]) -> None:
        self._given = makers
        self._made: dict[str, T] = {}

    @property
    def _makers(self) -> Makers[T]:
        if callable(self._given):
            self._given = self._given()
        return self._given

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            # Two threads may both make it; the first one's stays.
            self._made.setdefault(name, self._makers[name]())
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __reduce__(self) -> tuple[Callable[..., dict[str, T]], tuple[dict[str, T]]]:
        """Pickle as a dictionary with all values; makers may be functions that have no name."""
        return dict, (dict(self),)

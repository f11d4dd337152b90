"""Count what became of each place that makes an Adam: by dialect, and for which reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adamcompat.migrate.constructions import Construction, Fate
from adamcompat.migrate.findings import Outcome

# What may get an Adam in a way that is no construction: by a name, a look-up, or in text that is not read.
_PERHAPS = ("adam-by-name", "look-up", "not-read")
_KEPT = (Fate.EXPLAINED, Fate.REFUSED)
_UNREAD = ("cannot-read", "does-not-parse")


@dataclass
class Report:
    """Tell what a migration would do to the Adams of some files.

    Attributes:
        to: what is migrated to.
        files: how many files were looked at.
        places: the places that make an Adam, each with its file; every one has one fate.
        perhaps: how many other places may get one, by a name or a look-up.
        unread: the files that could not be read, in whole or in part.
    """

    to: str
    files: int = 0
    places: list[tuple[Path, Construction]] = field(default_factory=list)
    perhaps: int = 0
    unread: list[Path] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        codes = [finding.message.code for finding in outcome.findings]
        self.files += 1
        self.places += [(outcome.path, construction) for construction in outcome.constructions]
        self.perhaps += sum(code in _PERHAPS for code in codes)
        if any(code in _UNREAD for code in codes):
            self.unread.append(outcome.path)

    @property
    def dialects(self) -> dict[str, Counter[Fate]]:
        """Return the number of places of each dialect with each fate; the most frequent dialect first."""
        found: dict[str, Counter[Fate]] = {}
        for _, place in self.places:
            found.setdefault(place.dialect, Counter())[place.fate] += 1
        return dict(sorted(found.items(), key=lambda item: (-item[1].total(), item[0])))

    @property
    def total(self) -> Counter[Fate]:
        """Return the number of places with each fate."""
        return Counter(place.fate for _, place in self.places)

    def reasons(self, fate: Fate) -> Counter[str]:
        """Return the number of places with a fate for each reason, by the code of the remark that decided it."""
        return Counter(place.decisive for _, place in self.places if place.fate is fate)

    def as_data(self) -> dict[str, Any]:
        """Return the report as data that JSON can hold."""
        return {
            "to": self.to,
            "looked_at": self.files,
            "not_read": [str(path) for path in self.unread],
            "found": len(self.places),
            **_counts(self.total),
            "perhaps": self.perhaps,
            "dialects": {name: {"found": fates.total(), **_counts(fates)} for name, fates in self.dialects.items()},
            "reasons": {fate.value: dict(self.reasons(fate).most_common()) for fate in _KEPT},
            "constructions": [{"path": str(path), **place.as_data()} for path, place in self.places],
        }

    def lines(self) -> Iterator[str]:
        """Return the report as text: each place, then the counts."""
        for path, place in self.places:
            why = "" if place.fate is Fate.REWRITTEN else f" ({place.decisive})"
            yield f"{place.where(path)}: {place.fate.value}{why}: {place.source}, {place.dialect}"
        if self.places:
            yield ""
        width = max(map(len, [*self.dialects, "dialect"]))
        yield f"{'dialect':{width}}  {'found':>6}" + "".join(f"  {fate.value:>9}" for fate in Fate)
        for name, fates in [*self.dialects.items(), ("total", self.total)]:
            yield f"{name:{width}}  {fates.total():6}" + "".join(f"  {fates[fate]:9}" for fate in Fate)
        yield ""
        for fate in _KEPT:
            if counted := self.reasons(fate).most_common():
                yield f"{fate.value}: {', '.join(f'{code} {number}' for code, number in counted)}"
        if self.perhaps:
            yield f"may get an Adam by a name or a look-up: {self.perhaps}"
        if self.unread:
            yield f"files that could not be read in whole: {len(self.unread)}"
        yield f"files looked at: {self.files}"


def _counts(fates: Counter[Fate]) -> dict[str, int]:
    return {fate.value: fates[fate] for fate in Fate}

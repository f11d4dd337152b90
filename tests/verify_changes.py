"""Copies of mapping.yaml with one fact changed, and the facts that verify must then name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adamcompat.mapping.loader import load
from adamcompat.mapping.model import Mapping

TEXT = (Path(__file__).parent.parent / "mapping.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Change:
    """In one block of the file, one text for another.

    Attributes:
        kind: of fact.
        block: the path of the block, such as ``dialects.keras3``.
        old, new: what to replace, once.
        paths: what must be named, and nothing else; relative to the block.
    """

    kind: str
    block: str
    old: str
    new: str
    paths: tuple[str, ...]

    @property
    def expected(self) -> set[str]:
        return {f"{self.block}.{path}" for path in self.paths}

    def text(self) -> str:
        start = 0
        for depth, name in enumerate(self.block.split(".")):
            start = TEXT.index(f"\n{'  ' * depth}{name}:\n", start)
        at = TEXT.index(self.old, start)
        return TEXT[:at] + self.new + TEXT[at + len(self.old) :]

    def mapping(self, folder: Path) -> Mapping:
        path = folder / "mapping.yaml"
        path.write_text(self.text(), encoding="utf-8")
        return load(path)


def ids(changes: list[Change]) -> list[str]:
    return [f"{change.kind}: {change.block}.{change.paths[0]}" for change in changes]

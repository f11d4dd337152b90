"""What the installed frameworks do not share with the newest."""

from __future__ import annotations

from importlib import metadata

from adamcompat.mapping.model import release
from adamcompat.mapping.tables import MAPPING


def before(package: str, version: str) -> bool:
    """Whether an older version of a package is installed."""
    return release(metadata.version(package)) < release(version)


def older(dialect: str) -> dict[str, str]:
    """Facts of a dialect that the installed framework is too old for, and what holds there."""
    facts = MAPPING.dialects[dialect].older
    return {fact.fact: fact.was for fact in facts if before(fact.framework.lower(), fact.below)}

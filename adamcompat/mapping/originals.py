"""List the frameworks' own optimizers: what tools call each, and under which name its class is found."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from typing import Any

from adamcompat.mapping.model import Dialect
from adamcompat.mapping.model import Mapping as Facts
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING

# Keras 3 has taken the first name; what is older lives on under the second.
_OLDER, _NOW = "tf.keras.", "tf_keras."
_TF = "tf."


@dataclass(frozen=True, slots=True)
class Original:
    """Describe an optimizer of a framework.

    Attributes:
        name: what tools call it.
        aliases: other names that are understood.
        dialect: the dialect that it is called in.
        runtime: the name of the runtime whose tensors it updates.
        target: the dotted name of its class today.

    >>> originals()["keras3"].target
    'keras.optimizers.Adam'
    """

    name: str
    aliases: tuple[str, ...]
    dialect: Dialect
    runtime: str
    target: str

    @property
    def package(self) -> str:
        """Return the import name of the package that has it."""
        return _importable(self.target).partition(".")[0]

    def loaded(self) -> type[Any] | None:
        """Return the original's own class, or None where its package is not imported.

        While ours stands under its name, this is still the class that ours stands for.
        """
        if self.package not in sys.modules:
            return None
        try:
            kind = locate(self.target)
        except AttributeError:
            return None
        stood_for: type[Any] = vars(kind).get("_stands_for", kind)
        return stood_for


def _today(target: str) -> str:
    return _NOW + target.removeprefix(_OLDER) if target.startswith(_OLDER) else target


def _importable(target: str) -> str:
    return f"tensorflow.{target.removeprefix(_TF)}" if target.startswith(_TF) else target


def locate(target: str) -> Any:
    """Return the object that a target of mapping.yaml names, importing its package.

    Args:
        target: the dotted name of a class or function.

    Raises:
        ModuleNotFoundError: its package is not installed.
        AttributeError: the package has nothing of that name.

    >>> locate("math.sqrt")(4)
    2.0
    """
    package, *names = _importable(_today(target)).split(".")
    return reduce(getattr, names, import_module(package))


@cache
def originals() -> Mapping[str, Original]:
    """Return all originals by name: each runtime's in the order of its dialects.

    >>> [name for name in originals() if name.startswith("tf_keras")]
    ['tf_keras', 'tf_keras_adamw']
    """
    return {original.name: original for original in _all()}


def _all() -> Iterator[Original]:
    for runtime, record in RUNTIMES.items():
        for dialect in map(MAPPING.dialects.__getitem__, record.originals):
            # Keras is what people call it; the dialect's number is the mapping's.
            first, *member = dialect.name.split("_")
            short = first.rstrip("0123456789")
            known = short != first and short in record.framework.packages
            aliases = ("_".join([short, *member]), *dialect.names) if known else dialect.names
            yield Original(dialect.name, aliases, dialect, runtime, _today(dialect.target))
            if dialect.target.startswith("keras."):
                target = f"tf_{dialect.target}"
                yield Original("_".join(["tf_keras", *member]), (target,), dialect, runtime, target)


def dialect_named(name: str, mapping: Facts) -> Dialect | None:
    """Return a dialect by its short name, a dotted name of its class, or what tools call its original.

    Args:
        name: such as ``keras3``, ``keras`` or ``keras.optimizers.Adam``.
        mapping: the dialects that there are.

    Returns:
        The dialect; None where none has that name.

    >>> found = dialect_named("keras_adamw", MAPPING)
    >>> found.name if found else None
    'keras3_adamw'
    """
    for dialect in mapping.dialects.values():
        if name in (dialect.name, *dialect.names):
            return dialect
    called = next((one.dialect.name for one in originals().values() if name in (one.name, *one.aliases)), None)
    return mapping.dialects.get(called) if called is not None else None


def original_of(kind: type[Any]) -> Original | None:
    """Return the original that a class is or extends, the nearest of several; None if there is none.

    Args:
        kind: the class of an optimizer.
    """
    found = {original.loaded(): original for original in originals().values()}
    return next((found[base] for base in kind.__mro__ if base in found), None)

"""Which class a name in source code stands for."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adamcompat.mapping.model import Adapter, Dialect, ParameterFact
from adamcompat.mapping.tables import MAPPING

# Names that everybody gives these modules; they are how mapping.yaml abbreviates, too.
CUSTOMARY = {"tf": "tensorflow", "ms": "mindspore", "nn": "mindspore.nn"}
_ROOTS = {name.split(".")[0] for dialect in MAPPING.dialects.values() for name in dialect.names} | {"adamcompat"}


def full(name: str) -> str:
    """A dotted name with customary abbreviations written out.

    >>> full("tf.keras.optimizers.Adam"), full("nn.Adam")
    ('tensorflow.keras.optimizers.Adam', 'mindspore.nn.Adam')
    """
    first, dot, rest = name.partition(".")
    return f"{CUSTOMARY[first]}{dot}{rest}" if first in CUSTOMARY else name


@dataclass(frozen=True, slots=True)
class Signature:
    """A class that can be called: an original, or the adapter that stands in for one.

    Attributes:
        dialect: whose names, defaults and meanings it has.
        name: its dotted name.
        accepted: its parameters, those that it borrows from other dialects included.
        schedules: the dialect whose schedule classes its learning rate may be.
        adapter: set where the class is adamcompat's.
    """

    dialect: Dialect
    name: str
    accepted: tuple[ParameterFact, ...]
    schedules: str
    adapter: Adapter | None = None

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return self.name if self.adapter is not None else self.dialect.title

    @property
    def rates(self) -> tuple[str, ...]:
        """What it takes as a learning rate beside a number: its dialect's forms, and those of its framework."""
        return tuple(dict.fromkeys(self.dialect.rates + MAPPING.dialects[self.schedules].rates))

    def named(self, canonical: str) -> ParameterFact | None:
        """The parameter that means `canonical`; aliases do not count."""
        return next((fact for fact in self.accepted if fact.canonical == canonical and fact.alias_of is None), None)

    def find(self, name: str) -> ParameterFact | None:
        """The parameter of that name."""
        return next((fact for fact in self.accepted if fact.name == name), None)

    def reads_as_default(self, fact: ParameterFact, value: object) -> bool:
        """Whether it takes a value for "not given", as an original does; our styles refuse such values."""
        return fact.reads_as_default(value) and (self.adapter is None or self.adapter.replaces(self.dialect))


def original(dialect: Dialect) -> Signature:
    """The framework's own class."""
    return Signature(dialect, dialect.target, dialect.accepted, dialect.name)


def drop_in(dialect: Dialect) -> Adapter | None:
    """The adapter that replaces a dialect's original in its own framework, if there is one."""
    own = (found for found in MAPPING.adapters if found.dialect == dialect.name)
    return next((found for found in own if found.replaces(dialect)), None)


def of_adapter(adapter: Adapter) -> Signature:
    """One of adamcompat's classes."""
    dialect = MAPPING.dialects[adapter.dialect]
    accepted = dialect.accepted + tuple(fact for _, fact in MAPPING.borrowed(adapter))
    # On another framework's tensors a learning rate is that framework's schedule.
    drop_ins = {other.name: drop_in(other) for other in MAPPING.dialects.values()}
    homes = (name for name, found in drop_ins.items() if found is not None and found.runtime == adapter.runtime)
    return Signature(dialect, f"{adapter.module}.{adapter.name}", accepted, next(homes, dialect.name), adapter)


def shims(dialect: Dialect) -> tuple[Signature, ...]:
    """adamcompat's classes for the framework of a dialect."""
    own = drop_in(dialect)
    return tuple(of_adapter(item) for item in MAPPING.adapters if own is not None and item.runtime == own.runtime)


def _catalogue() -> dict[str, tuple[Signature, ...]]:
    found: dict[str, list[Signature]] = {}
    for dialect in MAPPING.dialects.values():
        for name in dict.fromkeys(full(name) for name in dialect.names):
            found.setdefault(name, []).append(original(dialect))
    for dialect in MAPPING.dialects.values():
        for name in dialect.former:
            found.setdefault(full(name), []).append(original(dialect))
    for adapter in MAPPING.adapters:
        signature = of_adapter(adapter)
        found[signature.name] = [signature]
    return {name: tuple(signatures) for name, signatures in found.items()}


CATALOGUE = _catalogue()


def choose(candidates: tuple[Signature, ...], positional: int, keywords: Sequence[str]) -> Signature:
    """The first class that takes these arguments; the first of all where none does.

    ``tf.keras.optimizers.Adam`` is Keras 3's today and was TensorFlow 2.6's; ``decay=`` says which is meant.
    """
    for signature in candidates:
        known = all(signature.find(keyword) is not None for keyword in keywords)
        if known and positional <= len(signature.dialect.parameters):
            return signature
    return candidates[0]


@dataclass
class Bindings:
    """What the names of a module stand for, as far as its import statements tell.

    Attributes:
        imported: name to the dotted names that are imported under it.
        rebound: names that something else than an import gives a value, anywhere in the module.
        stars: modules of ``from module import *``.
        customary: whether a name that is not bound at all may mean what it customarily means.
    """

    imported: dict[str, set[str]] = field(default_factory=dict)
    rebound: set[str] = field(default_factory=set)
    stars: list[str] = field(default_factory=list)
    customary: bool = False

    @classmethod
    def of(cls, nodes: Iterable[ast.AST], *, customary: bool = False) -> Bindings:
        """Collect the bindings of a module from its nodes."""
        found = cls(customary=customary)
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    found.imported.setdefault(name, set()).add(alias.name if alias.asname else name)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if alias.name == "*":
                        found.stars.append(node.module or "")
                    else:
                        whole = f"{'.' * node.level}{node.module or ''}.{alias.name}"
                        found.imported.setdefault(alias.asname or alias.name, set()).add(whole)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                found.rebound.add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.rebound.add(node.name)
            elif isinstance(node, ast.arg):
                found.rebound.add(node.arg)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                found.rebound.add(node.name)
        return found

    def resolve(self, node: ast.expr) -> str | None:
        """The full dotted name of an expression such as ``tf.keras.optimizers.Adam``, or None.

        A name with several meanings resolves where all of them are the same class.
        """
        found = sorted(self.meanings(node))
        classes = [CATALOGUE.get(name) for name in found]
        same = None not in classes and all(item == classes[0] for item in classes)
        return found[0] if len(found) == 1 or (found and same) else None

    def meanings(self, node: ast.expr) -> set[str]:
        """Every dotted name that an expression may stand for, as far as imports tell."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return set()
        rest = "".join(f".{name}" for name in reversed(attributes))
        if node.id in self.imported:
            return {root + rest for root in self.imported[node.id]}
        if node.id in self.rebound:
            return set()
        starred = {f"{module}.{node.id}{rest}" for module in self.stars}
        if known := {name for name in starred if name in CATALOGUE}:
            return known
        if self.customary and (node.id in CUSTOMARY or node.id in _ROOTS):
            return {full(node.id + rest)}
        return set()

    def ambiguous(self, node: ast.expr) -> bool:
        """Whether an expression may be an Adam that is known here, or something else."""
        root = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or not self.meanings(node) & set(CATALOGUE):
            return False
        return root.id in self.rebound or self.resolve(node) is None

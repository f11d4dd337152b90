"""Tell which class a name in source code stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from adamcompat.mapping.facts import Fact, ParameterFact
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING

# Names that everybody gives these modules; they are how mapping.yaml abbreviates, too.
CUSTOMARY = {"tf": "tensorflow", "ms": "mindspore", "nn": "mindspore.nn"}
_NAMES = [name for dialect in MAPPING.dialects.values() for name in dialect.names]
ROOTS = {name.partition(".")[0] for name in _NAMES} | {"adamcompat"}
_FRAMEWORKS = {CUSTOMARY.get(root, root).partition(".")[0] for root in ROOTS} - {"adamcompat"}
# Where other Adams come from, which no dialect here describes; and what people call such modules.
_ELSEWHERE = ("torch", "tensorflow_addons", "optax", "paddle", "jax", "transformers", "apex", "deepspeed")
_CUSTOMARY_ELSEWHERE = {"optim": "torch.optim", "tfa": "tensorflow_addons", "paddle": "paddle"}
# The names of such classes: AdamW, AdamWeightDecay, LazyAdam, NAdam, and adam, as old versions of Keras wrote it.
_KIND_OF_ADAM = re.compile(r"\w*Adam(?!ax)\w*|adamw?")


@cache
def canonical(name: str) -> str:
    """A dotted name by the module that the mapping names it by.

    >>> canonical("tensorflow.compat.v1.compat.v2.optimizers.Adam"), canonical("tensorflow.compat.v1.train")
    ('tensorflow.optimizers.Adam', 'tensorflow.compat.v1.train')
    """
    found = True
    while found:
        found = False
        for module, known in MAPPING.modules.items():
            if name.startswith(module) and name[len(module) :][:1] in ("", "."):
                name, found = known + name[len(module) :], True
    return name


def full(name: str) -> str:
    """A dotted name with customary abbreviations written out, by the module that the mapping names it by.

    >>> full("tf.keras.optimizers.Adam"), full("nn.Adam")
    ('tensorflow.keras.optimizers.Adam', 'mindspore.nn.Adam')
    """
    first, dot, rest = name.partition(".")
    return canonical(f"{CUSTOMARY[first]}{dot}{rest}" if first in CUSTOMARY else name)


def elsewhere(name: str, *, customary: bool = False) -> str | None:
    """The full dotted name of an Adam of some framework that no dialect describes, or None.

    Args:
        name: a dotted name.
        customary: whether it may be abbreviated as people do.

    >>> elsewhere("torch.optim.Adam"), elsewhere("keras.optimizers.AdamW"), elsewhere("keras.optimizers.Adam")
    ('torch.optim.Adam', 'keras.optimizers.AdamW', None)
    >>> elsewhere("optim.Adam", customary=True), elsewhere("mine.Adam")
    ('torch.optim.Adam', None)
    """
    first, dot, rest = name.partition(".")
    if customary and dot:
        first = _CUSTOMARY_ELSEWHERE.get(first, CUSTOMARY.get(first, first))
    whole = canonical(f"{first}{dot}{rest}")
    known = whole.partition(".")[0] in _FRAMEWORKS.union(_ELSEWHERE) and whole not in CATALOGUE
    return whole if known and _KIND_OF_ADAM.fullmatch(whole.rpartition(".")[2]) else None


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
    accepted: tuple[Fact, ...]
    schedules: str
    adapter: Adapter | None = None

    @property
    def title(self) -> str:
        """Return what to call it in a message."""
        return self.name if self.adapter is not None else self.dialect.title

    @property
    def rates(self) -> tuple[str, ...]:
        """Return what it takes as a learning rate beside a number: its dialect's forms, and those of its framework."""
        return tuple(dict.fromkeys(self.dialect.rates + MAPPING.dialects[self.schedules].rates))

    def named(self, canonical: str) -> ParameterFact | None:
        """The parameter, or the element of a tuple, that means `canonical`; aliases do not count."""
        facts = (part for fact in self.accepted for part in fact.parts)
        return next((fact for fact in facts if fact.canonical == canonical and fact.alias_of is None), None)

    def find(self, name: str) -> Fact | None:
        """The parameter of that name."""
        return next((fact for fact in self.accepted if fact.name == name), None)

    def reads_as_default(self, fact: Fact, value: object) -> bool:
        """Return whether it takes a value for "not given", as an original does; our styles refuse such values."""
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
        for name in dict.fromkeys(map(full, dialect.names)):
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
    """The class that takes most of these arguments; of several the one that the name means first.

    ``tf.keras.optimizers.Adam`` is Keras 3's today and was TensorFlow 2.6's; ``decay=`` says which is meant.
    """

    def strange(signature: Signature) -> int:
        unknown = sum(signature.find(keyword) is None for keyword in keywords)
        return unknown + max(0, positional - len(signature.dialect.parameters))

    return min(candidates, key=strange)

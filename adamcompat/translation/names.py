"""Tell which class a name in source code stands for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

from adamcompat.kinds import told
from adamcompat.mapping.facts import Fact, ParameterFact
from adamcompat.mapping.model import Adapter, Dialect, Mapping
from adamcompat.mapping.originals import dialect_named
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.mapping.vocabulary import RateForm

# Names that everybody gives these modules; they are how mapping.yaml abbreviates, too.
CUSTOMARY = {"tf": "tensorflow", "tfa": "tensorflow_addons", "ms": "mindspore", "nn": "mindspore.nn"}
# Where Adams come from that no dialect here describes; and what people call such modules, which may be other ones.
_ELSEWHERE = ("torch", "optax", "paddle", "jax", "transformers", "apex", "deepspeed")
_CUSTOMARY_ELSEWHERE = {"optim": "torch.optim", "paddle": "paddle"}
# The names of such classes: LazyAdam, NAdam, and adam, as old versions of Keras wrote it.
_KIND_OF_ADAM = re.compile(r"\w*Adam(?!ax)\w*|adamw?")


@cache
def canonical(name: str) -> str:
    """Return a dotted name that begins with the module that the mapping names the object by.

    Args:
        name: a dotted name; may begin with another name of the module.

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
    """Return a dotted name with customary abbreviations written out, by the module that the mapping names it by.

    Args:
        name: a dotted name; may begin with an abbreviation such as ``tf``.

    >>> full("tf.keras.optimizers.Adam"), full("nn.Adam")
    ('tensorflow.keras.optimizers.Adam', 'mindspore.nn.Adam')
    """
    first, dot, rest = name.partition(".")
    return canonical(f"{CUSTOMARY[first]}{dot}{rest}" if first in CUSTOMARY else name)


@dataclass(frozen=True, slots=True)
class Signature:
    """Describe a class that can be called: an original, or the adapter that stands in for one.

    Attributes:
        dialect: the dialect whose names, defaults and meanings it has.
        name: its dotted name.
        accepted: its parameters, those that it borrows from other dialects included.
        schedules: the name of the dialect whose schedule classes its learning rate may be.
        rates: what may be the learning rate beside a number: ``list``, ``schedule``, ``callable``.
        adapter: set where the class is adamcompat's.
    """

    dialect: Dialect
    name: str
    accepted: tuple[Fact, ...]
    schedules: str
    rates: tuple[RateForm, ...]
    adapter: Adapter | None = None

    @property
    def title(self) -> str:
        """Return the name of the class for a message."""
        return self.name if self.adapter is not None else self.dialect.title

    @property
    def positional(self) -> tuple[Fact, ...]:
        """Return the parameters that may be given by position."""
        return tuple(fact for fact in self.dialect.parameters if not fact.keyword_only)

    def named(self, canonical: str) -> ParameterFact | None:
        """Return the parameter, or the element of a tuple, that means `canonical`, or None.

        Args:
            canonical: the canonical name. Aliases of a parameter do not count.
        """
        facts = (part for fact in self.accepted for part in fact.parts)
        return next((fact for fact in facts if fact.canonical == canonical and fact.alias_of is None), None)

    def find(self, name: str) -> Fact | None:
        """Return the parameter of that name, or None."""
        return next((fact for fact in self.accepted if fact.name == name), None)

    def ignores(self, fact: Fact) -> bool:
        """Return whether the class accepts a parameter and does nothing with it, as some originals do."""
        return self.adapter is None and fact.name in self.dialect.ignored

    def reads_as_default(self, fact: Fact, value: object) -> bool:
        """Return whether the class takes a value for "not given", as some originals do.

        Our styles refuse such values.

        Args:
            fact: the parameter.
            value: its value, or UNKNOWN.
        """
        return fact.reads_as_default(value) and (self.adapter is None or self.adapter.replaces(self.dialect))


def original(dialect: Dialect, mapping: Mapping = MAPPING) -> Signature:
    """Return the framework's own class of a dialect.

    Args:
        dialect: the dialect of the class.
        mapping: holds the dialects that it extends.
    """
    return Signature(dialect, dialect.target, dialect.accepted, mapping.schedules_of(dialect), dialect.rates)


def drop_in(dialect: Dialect) -> Adapter | None:
    """Return the adapter that replaces a dialect's original in its own framework, or None."""
    own = (found for found in MAPPING.adapters if found.dialect == dialect.name)
    return next((found for found in own if found.replaces(dialect)), None)


def of_adapter(adapter: Adapter) -> Signature:
    """Return one of adamcompat's classes.

    Args:
        adapter: the class.

    Returns:
        The class as it is called. Where its parameters come first though the dialect gives them at each step, they are
        part of its signature.
    """
    dialect = MAPPING.dialects[adapter.dialect]
    accepted = dialect.accepted + tuple(fact for _, fact in MAPPING.borrowed(adapter))
    # On another framework's tensors a learning rate is that framework's schedule.
    drop_ins = {other.name: drop_in(other) for other in MAPPING.dialects.values()}
    homes = (name for name, found in drop_ins.items() if found is not None and found.runtime == adapter.runtime)
    home = MAPPING.dialects[next(homes, dialect.name)]
    base = RUNTIMES[adapter.runtime].base(dialect)
    if base is not None and base.leads and (taken := home.named("parameters")) is not None:
        dialect, accepted = replace(dialect, parameters=(taken, *dialect.parameters)), (taken, *accepted)
    # Groups that hold every setting hold numbers.
    rates = dialect.rates if dialect.overrides else tuple(dict.fromkeys(dialect.rates + home.rates))
    return Signature(dialect, f"{adapter.module}.{adapter.name}", accepted, MAPPING.schedules_of(home), rates, adapter)


def shims(dialect: Dialect) -> tuple[Signature, ...]:
    """Return adamcompat's classes for the framework of a dialect; none where it has no drop-in.

    Args:
        dialect: the dialect of an original.
    """
    own = drop_in(dialect)
    return tuple(of_adapter(item) for item in MAPPING.adapters if own is not None and item.runtime == own.runtime)


@dataclass(frozen=True)
class Catalogue:
    """Tell which classes are known, by their dotted names.

    Attributes:
        mapping: the dialects that there are.
    """

    mapping: Mapping

    @cached_property
    def classes(self) -> dict[str, tuple[Signature, ...]]:
        """Return the classes that each dotted name may mean; the one that it means first comes first."""
        found: dict[str, list[Signature]] = {}
        for names in ("names", "former"):
            for dialect in self.mapping.dialects.values():
                for name in dict.fromkeys(map(full, getattr(dialect, names))):
                    found.setdefault(name, []).append(original(dialect, self.mapping))
        for adapter in self.mapping.adapters:
            signature = of_adapter(adapter)
            found[signature.name] = [signature]
        return {name: tuple(signatures) for name, signatures in found.items()}

    @cached_property
    def roots(self) -> frozenset[str]:
        """Return the names at the beginning of the dotted names, as the mapping abbreviates them."""
        names = (name for dialect in self.mapping.dialects.values() for name in dialect.names)
        return frozenset({name.partition(".")[0] for name in names} | {"adamcompat"})

    @cached_property
    def packages(self) -> frozenset[str]:
        """Return the packages that hold an Adam."""
        return frozenset(full(root).partition(".")[0] for root in self.roots) - {"adamcompat"}

    @cached_property
    def homes(self) -> frozenset[str]:
        """Return the modules that hold an Adam."""
        names = (name for dialect in self.mapping.dialects.values() for name in dialect.names)
        return frozenset(full(name).rpartition(".")[0] for name in names)

    @cached_property
    def class_names(self) -> frozenset[str]:
        """Return the classes' own names, without their modules."""
        return frozenset(dialect.member for dialect in self.mapping.dialects.values())

    def elsewhere(self, name: str, *, customary: bool = False) -> str | None:
        """Return the full dotted name of a framework's Adam that no dialect describes, or None.

        Args:
            name: a dotted name.
            customary: whether it may be abbreviated as people do.

        >>> KNOWN.elsewhere("torch.optim.NAdam"), KNOWN.elsewhere("keras.optimizers.Nadam")
        ('torch.optim.NAdam', None)
        >>> KNOWN.elsewhere("tfa.optimizers.LazyAdam", customary=True), KNOWN.elsewhere("mine.Adam")
        ('tensorflow_addons.optimizers.LazyAdam', None)
        """
        first, dot, rest = name.partition(".")
        if customary and dot:
            first = _CUSTOMARY_ELSEWHERE.get(first, CUSTOMARY.get(first, first))
        whole = canonical(f"{first}{dot}{rest}")
        known = whole.partition(".")[0] in self.packages.union(_ELSEWHERE) and whole not in self.classes
        return whole if known and _KIND_OF_ADAM.fullmatch(whole.rpartition(".")[2]) else None

    def customary(self, name: str) -> tuple[Signature, ...]:
        """Return the classes that a name means as people abbreviate it, where no import says so.

        Args:
            name: a dotted name, such as ``optim.AdamW``.

        >>> [signature.dialect.name for signature in KNOWN.customary("optim.AdamW")]
        ['torch_adamw']
        """
        first, dot, rest = name.partition(".")
        return self.classes.get(f"{_CUSTOMARY_ELSEWHERE.get(first, first)}{dot}{rest}", ())

    def dialect(self, name: str, what: str = "a dialect") -> Dialect:
        """Return a dialect by its short name or by a dotted name of its class.

        Args:
            name: such as ``keras3``, ``keras`` or ``keras.optimizers.Adam``.
            what: the argument that it is, for the text of an error.

        Raises:
            TypeError: the name is no text.
            ValueError: there is none of that name.
        """
        if not isinstance(name, str):
            raise TypeError(f"{what} must be the name of a dialect, such as 'keras3' or 'mindspore'; got {told(name)}")
        if (found := dialect_named(name, self.mapping)) is not None:
            return found
        close = difflib.get_close_matches(name, self.mapping.dialects, n=1)
        hint = f"did you mean {close[0]!r}? known" if close else "known"
        raise ValueError(f"unknown dialect {name!r}; {hint}: {', '.join(self.mapping.dialects)}")


KNOWN = Catalogue(MAPPING)


def choose(candidates: tuple[Signature, ...], positional: int, keywords: Sequence[str]) -> Signature:
    """Return the class that takes most of some arguments; of several the one that the name means first.

    ``tf.keras.optimizers.Adam`` is Keras 3's today and was TensorFlow 2.6's; ``decay=`` says which is meant.

    Args:
        candidates: the classes that the name may mean, at least one.
        positional: how many arguments are given by position.
        keywords: the names of the others.

    Returns:
        The class that lacks a place for the fewest arguments.
    """

    def strange(signature: Signature) -> int:
        unknown = sum(signature.find(keyword) is None for keyword in keywords)
        return unknown + max(0, positional - len(signature.positional))

    return min(candidates, key=strange)

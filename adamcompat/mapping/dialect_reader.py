"""Read the canonical names, the numerics and the dialects of mapping.yaml."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, get_type_hints

from adamcompat.mapping.facts import Fact, ParameterFact, TupleFact
from adamcompat.mapping.model import (
    ArgumentFact,
    Canonical,
    Conflict,
    Correction,
    Dialect,
    Errors,
    MethodFact,
    Numerics,
    Older,
    Semantics,
    Slot,
)
from adamcompat.mapping.nodes import Fields, Node, one_of, word
from adamcompat.mapping.parameter_reader import ParameterReader
from adamcompat.mapping.vocabulary import (
    STAGES,
    Amsgrad,
    AverageStart,
    BiasCorrection,
    ConflictForm,
    Epsilon,
    MethodRole,
    Nesterov,
    PowerStart,
    Protocol,
    RateForm,
    Scope,
)

T = TypeVar("T")

_VERSION = re.compile(r"\d+(\.\d+)*")

# The corrections that drop-ins make.
_CORRECTIONS = (
    *("repeated_rows", "centralization", "live_values", "construct_once", "integer_gradients"),
    "wide_parameters",
)
_SLOT_ROLES = (
    "step",
    "learning_rate",
    "parameter",
    "beta1_power",
    "beta2_power",
    "average",
    "accumulated_gradient",
    "first_moment",
    "second_moment",
    "maximum_second_moment",
)
_NEEDED_SLOTS = {"first_moment", "second_moment"}


def read_canonical(name: str, node: Node) -> Canonical:
    """Read what a canonical name means.

    Args:
        name: the canonical name.
        node: its block under ``canonical``.

    Raises:
        MappingError: a key is missing or unknown, or its value is of another kind.
    """
    fields = node.fields()
    entry = Canonical(
        name=name,
        about=fields.take("about", Node.text),
        neutral=fields.take("neutral", Node.scalar),
        scope=fields.take("scope", word(Scope)),
    )
    fields.close()
    return entry


class NumericsReader:
    """Read ways of rounding, each of which may extend one that stands above it.

    Attributes:
        read: what was read so far, by name.
    """

    def __init__(self) -> None:
        self.read: dict[str, Numerics] = {}

    def numerics(self, name: str, node: Node) -> Numerics:
        """Read one way of rounding, and keep it for those that extend it.

        Args:
            name: its name.
            node: its block under ``numerics``.

        Returns:
            The way of rounding. Each fact that the block leaves out is that of the one that it extends.

        Raises:
            MappingError: a key is missing or unknown, a word is not in the vocabulary, or the block extends one that
                does not stand above.
        """
        fields = node.fields()
        base: Numerics | None = fields.maybe("extends", lambda child: extended(child, "numerics", self.read), None)
        ways = {}
        for field, kind in get_type_hints(Numerics).items():
            if field in ("name", "about", "extends"):
                continue
            if base is not None and field not in fields.left:
                fields.known.append(field)
                ways[field] = getattr(base, field)
            else:
                ways[field] = fields.take(field, word(kind))
        about = fields.take("about", Node.text)
        fields.close()
        self.read[name] = Numerics(name=name, about=about, extends=base.name if base else None, **ways)
        return self.read[name]


def extended(node: Node, kind: str, read: dict[str, T]) -> T:
    """Return the entry that is extended, which must stand above the one that extends it.

    Args:
        node: the value of ``extends``, a name.
        kind: what such entries are called in an error: ``numerics`` or ``dialect``.
        read: the entries that stand above, by name.

    Returns:
        The entry of that name.

    Raises:
        MappingError: the value is no text, or no entry above has that name.
    """
    name = node.text()
    if name not in read:
        raise node.error(f"unknown {kind} {name!r}; extends takes one that is defined above: {', '.join(read)}")
    return read[name]


class DialectReader(ParameterReader):
    """Read dialects, each of which may extend one that stands above it.

    Args:
        canonical: the canonical names that parameters may have.
        numerics: the ways of rounding that a dialect may name.

    Attributes:
        read: the dialects that were read so far, by name.
    """

    def __init__(self, canonical: dict[str, Canonical], numerics: dict[str, Numerics]) -> None:
        super().__init__(canonical)
        self.numerics = numerics
        self.read: dict[str, Dialect] = {}

    def argument(self, node: Node) -> ArgumentFact:
        """Read one argument of a method."""
        fields = node.fields()
        fact = ArgumentFact(
            name=fields.take("name", Node.text), canonical=fields.maybe("canonical", self.canonical_name, None)
        )
        fields.close()
        return fact

    def method(self, node: Node) -> MethodFact:
        """Read one method of the calling convention."""
        fields = node.fields()
        fact = MethodFact(
            name=fields.take("name", Node.text),
            role=fields.take("role", word(MethodRole)),
            arguments=fields.take("arguments", lambda child: tuple(self.argument(item) for item in child.items())),
        )
        fields.close()
        return fact

    def numerics_name(self, node: Node) -> str:
        """Read the name of a way of rounding, which must exist."""
        return node.choice(tuple(self.numerics))

    def changes(self, fields: Fields) -> tuple[dict[str, Node], dict[str, Node]]:
        """Read how a dialect changes the parameters of the one that it extends.

        Args:
            fields: the entries of the dialect's block; ``defaults`` and ``without`` are taken.

        Returns:
            The nodes of other defaults, and the nodes that name what is left out, each by the name of the parameter.
        """
        defaults: dict[str, Node] = fields.maybe("defaults", lambda child: dict(child.entries()), {})
        without: dict[str, Node] = fields.maybe(
            "without", lambda child: {item.text(): item for item in child.items()}, {}
        )
        return defaults, without

    def dialect(self, name: str, node: Node) -> Dialect:
        """Read one dialect, and keep it for those that extend it.

        Args:
            name: its name.
            node: its block under ``dialects``.

        Returns:
            The dialect. What the block leaves out is that of the dialect that it extends.

        Raises:
            MappingError: a key is missing or unknown, a value is of another kind, a name is not defined, or facts
                contradict each other.
        """
        fields = node.fields()
        base: Dialect | None = fields.maybe("extends", lambda child: extended(child, "dialect", self.read), None)

        def take(key: str, read: Callable[[Node], T], *absent: T) -> T:
            """Return an entry of the block, or that of the extended dialect where it is left out."""
            if base is None or key in fields.left:
                return fields.maybe(key, read, absent[0]) if absent else fields.take(key, read)
            fields.known.append(key)
            inherited: T = getattr(base, key)
            return inherited

        nothing: tuple[Fact, ...] = ()
        parameters, keywords = take("parameters", self.parameters), take("keywords", self.parameters, nothing)
        every = "groups" in fields.left and not fields.left["groups"].is_list
        overrides = every or ("groups" not in fields.left and base is not None and base.overrides)
        groups: tuple[ParameterFact, ...] = take("groups", self.group_keys, ())
        corrections: tuple[Correction, ...] = fields.maybe("corrections", _corrections, ())
        inherited = () if base is None else base.corrections
        if base is not None:
            known = {fact.name for fact in (*parameters, *keywords, *groups, *inherited)}
            defaults, without = self.changes(fields)
            for changed, item in (defaults | without).items():
                if changed not in known:
                    raise item.error(f"{base.name!r} has no parameter {changed!r}")
            parameters, keywords = (self.changed(facts, defaults, without) for facts in (parameters, keywords))
            groups = self.changed(groups, defaults, without)
            corrections = (*(one for one in inherited if one.name not in without), *corrections)
        semantics = take("semantics", _semantics)
        if base is not None and semantics is base.semantics:
            # A parameter that is left out takes its form along.
            gone = {part.canonical for fact in base.accepted if fact.name in without for part in fact.parts}
            semantics = replace(
                semantics,
                amsgrad="none" if "amsgrad" in gone else semantics.amsgrad,
                nesterov="none" if "nesterov" in gone else semantics.nesterov,
            )
        slot_names: dict[str, str] = take("slot_names", _slot_names, {})
        dialect = Dialect(
            name=name,
            extends=base.name if base is not None else None,
            title=fields.take("title", Node.text),
            target=fields.take("target", Node.text),
            aliases=fields.take("aliases", Node.texts),
            former=fields.maybe("former", Node.texts, ()),
            versions=fields.take("versions", Node.text),
            protocol=take("protocol", word(Protocol)),
            methods=take("methods", lambda child: tuple(self.method(item) for item in child.items())),
            rates=take("rates", lambda child: tuple(map(word(RateForm), child.items()))),
            kwargs=take("kwargs", Node.truth),
            parameters=parameters,
            keywords=keywords,
            groups=groups,
            overrides=overrides,
            ignored=take("ignored", Node.texts, ()),
            devices=take("devices", Node.texts, ()),
            conflicts=take("conflicts", lambda child: tuple(_conflict(item) for item in child.items())),
            errors=take("errors", _errors),
            stages=take("stages", _stages),
            corrections=corrections,
            semantics=semantics,
            numerics=take("numerics", self.numerics_name),
            slot_names=slot_names,
            slots=take("slots", lambda child: _slots(child, slot_names)),
            older=take("older", lambda child: tuple(_older(item) for item in child.items()), ()),
        )
        fields.close()
        _check_names(dialect, node)
        self.read[name] = dialect
        return dialect


def _check_names(dialect: Dialect, node: Node) -> None:
    if dialect.keywords and not dialect.kwargs:
        raise node.error(f"{dialect.name!r} has keywords, but its signature takes no **kwargs")
    names = [fact.name for fact in dialect.accepted]
    for name in names:
        if names.count(name) > 1:
            raise node.error(f"{name!r} is both a parameter and a keyword of {dialect.name!r}")
    tuples = [fact.name for fact in dialect.accepted if isinstance(fact, TupleFact)]
    for fact in dialect.accepted:
        if fact.alias_of is not None and fact.alias_of not in names:
            raise node.error(f"{fact.name!r} is an alias of {fact.alias_of!r}, which {dialect.name!r} does not have")
        if fact.alias_of in tuples:
            raise node.error(f"{fact.name!r} is an alias of {fact.alias_of!r}, a tuple, which nothing stands in for")
    for facts in (dialect.facts, dialect.groups):
        meant: dict[str, str] = {}
        for part in facts:
            if part.alias_of is None and meant.setdefault(part.canonical, part.name) != part.name:
                raise node.error(
                    f"{meant[part.canonical]!r} and {part.name!r} both mean {part.canonical!r}; of two names for one "
                    f"meaning one has alias_of"
                )
    for correction in dialect.corrections:
        if correction.stage is not None and correction.stage not in dialect.stages:
            raise node.error(
                f"the stage {correction.stage!r} of the correction {correction.name!r} is not among the stages of "
                f"{dialect.name!r}; add it to stages"
            )
    for name in dialect.ignored:
        if name not in names:
            raise node.error(f"ignored names {name!r}, which {dialect.name!r} does not have")
    for conflict in dialect.conflicts:
        for name in conflict.pair:
            if name not in names:
                raise node.error(f"a conflict names {name!r}, which {dialect.name!r} does not have")
            if name in tuples:
                raise node.error(f"a conflict names {name!r}, a tuple, which is never left out")


def _conflict(node: Node) -> Conflict:
    fields = node.fields()
    pair = fields.take("pair", Node.texts)
    if len(pair) != 2:
        raise node.error(f"a conflict has two parameters, got {len(pair)}")
    conflict = Conflict((pair[0], pair[1]), fields.take("original", word(ConflictForm)))
    fields.close()
    return conflict


def _corrections(node: Node) -> tuple[Correction, ...]:
    corrections = tuple(_correction(item) for item in node.items())
    names = [correction.name for correction in corrections]
    if len(set(names)) != len(names):
        raise node.error("a correction is listed twice")
    return corrections


def with_corrections(node: Node, dialects: dict[str, Dialect]) -> dict[str, Dialect]:
    """Return the dialects, once each correction that a drop-in makes is found among them.

    Args:
        node: the block of the dialects, where an error points.
        dialects: the dialects, by name.

    Returns:
        The same dialects.

    Raises:
        MappingError: no dialect describes some correction that a drop-in makes.
    """
    named = {correction.name for dialect in dialects.values() for correction in dialect.corrections}
    if missing := sorted(set(_CORRECTIONS) - named):
        raise node.error(f"no dialect has the correction {', '.join(missing)}, which a drop-in makes")
    return dialects


def _correction(node: Node) -> Correction:
    fields = node.fields()
    correction = Correction(
        name=fields.take("name", one_of(*_CORRECTIONS)),
        original=fields.take("original", Node.text),
        ours=fields.take("ours", Node.text),
        stage=fields.maybe("stage", one_of(*STAGES), None),
    )
    fields.close()
    return correction


def _older(node: Node) -> Older:
    fields = node.fields()
    older = Older(**{name: fields.take(name, Node.text) for name in Older.__slots__})
    fields.close()
    if not _VERSION.fullmatch(older.below):
        raise node.error(f"{older.below!r} is not a version such as '3.15'")
    return older


def _exception(node: Node) -> str:
    name = node.text()
    found = getattr(builtins, name, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise node.error(f"{name!r} is not a built-in exception")
    return name


def _errors(node: Node) -> Errors:
    fields = node.fields()
    errors = Errors(**{name: fields.take(name, _exception) for name in Errors.__slots__})
    fields.close()
    return errors


def _stages(node: Node) -> tuple[str, ...]:
    stages = tuple(item.choice(tuple(STAGES)) for item in node.items())
    if len(set(stages)) != len(stages):
        raise node.error("a stage is listed twice")
    if "update" not in stages:
        raise node.error("the stage 'update' is missing")
    return stages


def _semantics(node: Node) -> Semantics:
    fields = node.fields()
    semantics = Semantics(
        epsilon=fields.take("epsilon", word(Epsilon)),
        bias_correction=fields.take("bias_correction", word(BiasCorrection)),
        decay_skips=fields.take("decay_skips", Node.texts),
        amsgrad=fields.take("amsgrad", word(Amsgrad)),
        nesterov=fields.take("nesterov", word(Nesterov)),
        schedule_start=fields.take("schedule_start", Node.integer),
        average_start=fields.take("average_start", word(AverageStart)),
        power_start=fields.take("power_start", word(PowerStart)),
    )
    fields.close()
    if (semantics.epsilon, semantics.bias_correction) == ("paper", "none"):
        raise node.error("without bias correction there is but one epsilon; write epsilon: hat")
    return semantics


def _slot_role(role: str, node: Node) -> str:
    if role not in _SLOT_ROLES:
        raise node.error(f"unknown slot {role!r}; known: {', '.join(_SLOT_ROLES)}")
    return role


def _slot_names(node: Node) -> dict[str, str]:
    return {_slot_role(role, child): child.text() for role, child in node.entries()}


def _slots(node: Node, names: dict[str, str]) -> tuple[tuple[Slot, ...], ...]:
    blocks: list[tuple[Slot, ...]] = []
    seen: set[str] = set()
    for item in node.items():
        block: list[Slot] = []
        for role, child in item.entries():
            if _slot_role(role, child) in seen:
                raise child.error(f"the slot {role!r} is listed twice")
            seen.add(role)
            template = child.text()
            if "{slot}" in template:
                if role not in names:
                    raise child.error(f"{{slot}} stands for the name of {role!r}, which slot_names does not give")
                template = template.replace("{slot}", names[role])
            block.append(Slot(role, template))
        blocks.append(tuple(block))
    if not seen >= _NEEDED_SLOTS:
        missing = ", ".join(sorted(_NEEDED_SLOTS - seen))
        raise node.error(f"slots lacks {missing}, which every dialect keeps; add it")
    return tuple(blocks)

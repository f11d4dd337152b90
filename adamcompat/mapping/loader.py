"""Read mapping.yaml; every mistake in it is an error that names file and line.

PyYAML accepts a repeated key (the last one wins) and reads ``1e-7`` as text. Both would change
an optimizer without a word, so the loader walks YAML's nodes itself.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import yaml

from adamcompat.mapping.model import (
    Adapter,
    ArgumentFact,
    Canonical,
    Compound,
    Conflict,
    Correction,
    Default,
    Dialect,
    Errors,
    Interval,
    Layer,
    Mapping,
    MethodFact,
    Numerics,
    Older,
    ParameterFact,
    RateArgument,
    RateClass,
    RateSchedule,
    Semantics,
    Share,
    Slot,
    Twins,
    Weights,
)

T = TypeVar("T")

_LOOKS_LIKE_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_VERSION = re.compile(r"\d+(\.\d+)*")
_DECIMALS = re.compile(r"[-+]?\d+$")

_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "float": (float,),
    "integer": (int,),
    "flag": (bool,),
    "text": (str,),
    "beta": (float,),
    "learning_rate": (int, float),
    "decay": (int, float),
    "function": (),
    "functions": (),
    "parameters": (),
}
_SCOPES = ("hyperparameter", "input", "group", "label")
_STAGES = (
    "deduplicate",
    "unscale",
    "accumulate",
    "l2_decay",
    "centralize",
    "clip_norm",
    "global_clip_norm",
    "clip_value",
    "decoupled_decay",
    "update",
    "average",
)
# What the drop-ins can mend.
_CORRECTIONS = ("repeated_rows", "centralization", "live_values", "construct_once", "integer_gradients")
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
_RATES = ("list", "schedule", "callable")
_RATE_ROLES = ("initial", "final", "rate", "steps", "power", "repeat", "staircase", "step")
_RUNTIMES = (
    "numpy",
    "tensorflow",
    "tensorflow_legacy",
    "tensorflow_v1",
    "mindspore",
)
_NEEDED_SLOTS = {"first_moment", "second_moment"}


class MappingError(ValueError):
    """A mistake in mapping.yaml; the text starts with file:line."""


class _Node:
    """A YAML node that knows its place and how to complain about it."""

    def __init__(self, node: yaml.Node, file: str, path: str) -> None:
        self.node = node
        self.file = file
        self.path = path

    def error(self, text: str) -> MappingError:
        where = f"{self.file}:{self.node.start_mark.line + 1}"
        return MappingError(f"{where}: {self.path or 'top level'}: {text}")

    def fields(self) -> _Fields:
        return _Fields(self)

    def entries(self) -> list[tuple[str, _Node]]:
        """Key and value of each entry, in order; a repeated key is an error."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error("expected a block of 'key: value' lines")
        seen: dict[str, int] = {}
        found: list[tuple[str, _Node]] = []
        for key_node, value_node in self.node.value:
            key = str(key_node.value)
            child = _Node(value_node, self.file, f"{self.path}.{key}" if self.path else key)
            line = key_node.start_mark.line + 1
            if key in seen:
                at_key = _Node(key_node, self.file, child.path)
                raise at_key.error(f"the key {key!r} is already given in line {seen[key]}; remove one of the two")
            seen[key] = line
            found.append((key, child))
        return found

    def items(self) -> list[_Node]:
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error("expected a list")
        return [_Node(child, self.file, f"{self.path}[{index}]") for index, child in enumerate(self.node.value)]

    def scalar(self) -> Default:
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error("expected a single value")
        text = str(self.node.value)
        tag = self.node.tag.rsplit(":", 1)[-1]
        plain = self.node.style is None
        if tag == "null":
            return None
        if tag == "bool":
            if text.lower() not in ("true", "false"):
                raise self.error(f"{text!r} is read as a truth value; write true or false, or quote it")
            return text.lower() == "true"
        if tag == "int":
            if not _DECIMALS.match(text):
                raise self.error(f"{text!r} is read as a number in another base; write a decimal number or quote it")
            return int(text)
        if tag == "float":
            return float(text.replace("_", ""))
        if plain and _LOOKS_LIKE_NUMBER.fullmatch(text):
            mantissa, _, exponent = text.lower().partition("e")
            raise self.error(f"YAML reads {text} as text, not as a number; write {mantissa}.0e{exponent}")
        return text

    def text(self) -> str:
        value = self.scalar()
        if not isinstance(value, str):
            raise self.error(f"expected text, got {value!r}")
        return " ".join(value.split())

    def integer(self) -> int:
        value = self.scalar()
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(f"expected a whole number, got {value!r}")
        return value

    def truth(self) -> bool:
        value = self.scalar()
        if not isinstance(value, bool):
            raise self.error(f"expected true or false, got {value!r}")
        return value

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def choice(self, allowed: tuple[str, ...]) -> str:
        value = self.text()
        if value not in allowed:
            raise self.error(f"{value!r} is not one of {', '.join(allowed)}")
        return value


class _Fields:
    """The entries of a block: each is taken once, and none may be left over."""

    def __init__(self, node: _Node) -> None:
        self.node = node
        self.left = dict(node.entries())
        self.known: list[str] = []

    def take(self, key: str, read: Callable[[_Node], T]) -> T:
        self.known.append(key)
        if key not in self.left:
            raise self.node.error(f"the key {key!r} is missing")
        return read(self.left.pop(key))

    def maybe(self, key: str, read: Callable[[_Node], T], default: T) -> T:
        if key in self.left:
            return self.take(key, read)
        self.known.append(key)
        return default

    def close(self) -> None:
        for key, value in self.left.items():
            raise value.error(f"unknown key {key!r}; known here: {', '.join(self.known)}")


def _one_of(*allowed: str) -> Callable[[_Node], str]:
    return lambda node: node.choice(allowed)


def _named(node: _Node, read: Callable[[str, _Node], T]) -> dict[str, T]:
    return {name: read(name, child) for name, child in node.entries()}


def _canonical(name: str, node: _Node) -> Canonical:
    fields = node.fields()
    entry = Canonical(
        name=name,
        about=fields.take("about", _Node.text),
        neutral=fields.take("neutral", _Node.scalar),
        scope=fields.take("scope", _one_of(*_SCOPES)),
    )
    fields.close()
    return entry


def _numerics(name: str, node: _Node) -> Numerics:
    fields = node.fields()
    entry = Numerics(
        name=name,
        about=fields.take("about", _Node.text),
        given=fields.take("given", _one_of("float64", "float32_rates", "float32")),
        scalars=fields.take("scalars", _one_of("float64", "float32", "parameter")),
        one_minus_beta=fields.take("one_minus_beta", _one_of("float64", "scalar")),
        beta_power=fields.take("beta_power", _one_of("power", "product")),
        multiply_add=fields.take("multiply_add", _one_of("separate", "fused", "fused_blocks")),
        half=fields.take("half", _one_of("float16", "float32")),
        unscale=fields.take("unscale", _one_of("quotient", "reciprocal")),
        surroundings=fields.take("surroundings", _one_of("once", "stepwise")),
    )
    fields.close()
    return entry


def _interval(node: _Node) -> Interval:
    try:
        return Interval.parse(node.text())
    except ValueError as error:
        raise node.error(str(error)) from None


class _DialectReader:
    """Reads dialects; canonical names and numerics must exist."""

    def __init__(self, canonical: dict[str, Canonical], numerics: dict[str, Numerics]) -> None:
        self.canonical = canonical
        self.numerics = numerics

    def canonical_name(self, node: _Node) -> str:
        name = node.text()
        if name not in self.canonical:
            raise node.error(f"the canonical name {name!r} is not defined under 'canonical'")
        return name

    def default(self, node: _Node, type_: str) -> Default:
        value = node.scalar()
        if value is None:
            return None
        right = isinstance(value, _TYPES[type_]) and (type_ == "flag" or not isinstance(value, bool))
        if not right:
            raise node.error(f"the default {value!r} ({type(value).__name__}) is not of the type {type_!r}")
        return value

    def parameter(self, node: _Node) -> ParameterFact:
        fields = node.fields()
        name = fields.take("name", _Node.text)
        canonical = fields.take("canonical", self.canonical_name)
        type_ = fields.take("type", _one_of(*_TYPES))
        required = "default" not in fields.left
        default: Default = None
        if not required:
            default = fields.take("default", lambda child: self.default(child, type_))
        interval = fields.maybe("range", _interval, None)
        if interval is not None and isinstance(default, (int, float)) and not interval.contains(default):
            raise node.error(f"the default {default!r} of {name!r} is outside its range {interval}")
        fact = ParameterFact(
            name=name,
            canonical=canonical,
            type=type_,
            default=default,
            required=required,
            range=interval,
            absent=fields.take("absent", _one_of("refuse", "warn", "ignore")),
            note=fields.maybe("note", _Node.text, ""),
            alias_of=fields.maybe("alias_of", _Node.text, None),
            read_as_default=fields.maybe("read_as_default", _not_given, ()),
        )
        if not required and fact.default in fact.read_as_default:
            raise node.error(f"{fact.default!r} is the default of {name!r} and need not be read as it")
        fields.close()
        return fact

    def parameters(self, node: _Node) -> tuple[ParameterFact, ...]:
        found: list[ParameterFact] = []
        for item in node.items():
            fact = self.parameter(item)
            if any(fact.name == other.name for other in found):
                raise item.error(f"the parameter {fact.name!r} is listed twice")
            found.append(fact)
        return tuple(found)

    def argument(self, node: _Node) -> ArgumentFact:
        fields = node.fields()
        fact = ArgumentFact(
            name=fields.take("name", _Node.text), canonical=fields.maybe("canonical", self.canonical_name, None)
        )
        fields.close()
        return fact

    def method(self, node: _Node) -> MethodFact:
        fields = node.fields()
        fact = MethodFact(
            name=fields.take("name", _Node.text),
            role=fields.take("role", _one_of("step", "differentiate_and_step")),
            arguments=fields.take("arguments", lambda child: tuple(self.argument(item) for item in child.items())),
        )
        fields.close()
        return fact

    def numerics_name(self, node: _Node) -> str:
        return node.choice(tuple(self.numerics))

    def dialect(self, name: str, node: _Node) -> Dialect:
        fields = node.fields()
        slot_names: dict[str, str] = fields.maybe("slot_names", _slot_names, {})
        dialect = Dialect(
            name=name,
            title=fields.take("title", _Node.text),
            target=fields.take("target", _Node.text),
            aliases=fields.take("aliases", _Node.texts),
            former=fields.maybe("former", _Node.texts, ()),
            versions=fields.take("versions", _Node.text),
            protocol=fields.take("protocol", _one_of("apply_gradients", "call")),
            methods=fields.take("methods", lambda child: tuple(self.method(item) for item in child.items())),
            rates=fields.take("rates", lambda child: tuple(item.choice(_RATES) for item in child.items())),
            kwargs=fields.take("kwargs", _Node.truth),
            parameters=fields.take("parameters", self.parameters),
            keywords=fields.maybe("keywords", self.parameters, ()),
            groups=fields.maybe("groups", self.parameters, ()),
            conflicts=fields.take("conflicts", lambda child: tuple(_conflict(item) for item in child.items())),
            errors=fields.take("errors", _errors),
            stages=fields.take("stages", _stages),
            corrections=fields.maybe("corrections", _corrections, ()),
            semantics=fields.take("semantics", _semantics),
            numerics=fields.take("numerics", self.numerics_name),
            slot_names=slot_names,
            slots=fields.take("slots", lambda child: _slots(child, slot_names)),
            older=fields.maybe("older", lambda child: tuple(_older(item) for item in child.items()), ()),
        )
        fields.close()
        _check_names(dialect, node)
        return dialect


def _check_names(dialect: Dialect, node: _Node) -> None:
    if dialect.keywords and not dialect.kwargs:
        raise node.error(f"{dialect.name!r} has keywords, but its signature takes no **kwargs")
    names = [fact.name for fact in dialect.accepted]
    for name in names:
        if names.count(name) > 1:
            raise node.error(f"{name!r} is both a parameter and a keyword of {dialect.name!r}")
    for fact in dialect.accepted:
        if fact.alias_of is not None and fact.alias_of not in names:
            raise node.error(f"{fact.name!r} is an alias of {fact.alias_of!r}, which {dialect.name!r} does not have")
    for correction in dialect.corrections:
        if correction.stage is not None and correction.stage not in dialect.stages:
            raise node.error(f"the correction {correction.name!r} is not among the stages of {dialect.name!r}")
    for conflict in dialect.conflicts:
        for name in conflict.pair:
            if name not in names:
                raise node.error(f"a conflict names {name!r}, which {dialect.name!r} does not have")


def _not_given(node: _Node) -> tuple[Default, ...]:
    found = tuple(item.scalar() for item in node.items())
    for value in found:
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise node.error(f"expected null and numbers, got {value!r}")
    return found


def _conflict(node: _Node) -> Conflict:
    fields = node.fields()
    pair = fields.take("pair", _Node.texts)
    if len(pair) != 2:
        raise node.error(f"a conflict has two parameters, got {len(pair)}")
    conflict = Conflict((pair[0], pair[1]), fields.take("original", _one_of("raises", "ignores")))
    fields.close()
    return conflict


def _corrections(node: _Node) -> tuple[Correction, ...]:
    corrections = tuple(_correction(item) for item in node.items())
    names = [correction.name for correction in corrections]
    if len(set(names)) != len(names):
        raise node.error("a correction is listed twice")
    return corrections


def _with_corrections(node: _Node, dialects: dict[str, Dialect]) -> dict[str, Dialect]:
    """The dialects, if each correction that the drop-ins make stands in one: nobody could read of another."""
    named = {correction.name for dialect in dialects.values() for correction in dialect.corrections}
    if missing := sorted(set(_CORRECTIONS) - named):
        raise node.error(f"no dialect has the correction {', '.join(missing)}, which a drop-in makes")
    return dialects


def _correction(node: _Node) -> Correction:
    fields = node.fields()
    correction = Correction(
        name=fields.take("name", _one_of(*_CORRECTIONS)),
        original=fields.take("original", _Node.text),
        ours=fields.take("ours", _Node.text),
        stage=fields.maybe("stage", _one_of(*_STAGES), None),
    )
    fields.close()
    return correction


def _older(node: _Node) -> Older:
    fields = node.fields()
    older = Older(**{name: fields.take(name, _Node.text) for name in Older.__slots__})
    fields.close()
    if not _VERSION.fullmatch(older.below):
        raise node.error(f"{older.below!r} is not a version such as '3.15'")
    return older


def _exception(node: _Node) -> str:
    name = node.text()
    found = getattr(builtins, name, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise node.error(f"{name!r} is not a built-in exception")
    return name


def _errors(node: _Node) -> Errors:
    fields = node.fields()
    errors = Errors(**{name: fields.take(name, _exception) for name in Errors.__slots__})
    fields.close()
    return errors


def _stages(node: _Node) -> tuple[str, ...]:
    stages = tuple(item.choice(_STAGES) for item in node.items())
    if len(set(stages)) != len(stages):
        raise node.error("a stage is listed twice")
    if "update" not in stages:
        raise node.error("the stage 'update' is missing")
    return stages


def _semantics(node: _Node) -> Semantics:
    fields = node.fields()
    semantics = Semantics(
        epsilon=fields.take("epsilon", _one_of("hat", "algorithm_1")),
        weight_decay=fields.take("weight_decay", _one_of("l2", "decoupled", "none")),
        decay_skips=fields.take("decay_skips", _Node.texts),
        amsgrad=fields.take("amsgrad", _one_of("raw_maximum", "corrected_maximum", "none")),
        nesterov=fields.take("nesterov", _one_of("blend", "none")),
        schedule_start=fields.take("schedule_start", _Node.integer),
        average_start=fields.take("average_start", _one_of("first_update", "initial", "none")),
        power_start=fields.take("power_start", _one_of("one", "beta", "none")),
    )
    fields.close()
    return semantics


def _slot_role(role: str, node: _Node) -> str:
    if role not in _SLOT_ROLES:
        raise node.error(f"unknown slot {role!r}; known: {', '.join(_SLOT_ROLES)}")
    return role


def _slot_names(node: _Node) -> dict[str, str]:
    return {_slot_role(role, child): child.text() for role, child in node.entries()}


def _slots(node: _Node, names: dict[str, str]) -> tuple[tuple[Slot, ...], ...]:
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
        raise node.error(f"a dialect keeps its moments somewhere: slots without {missing}")
    return tuple(blocks)


def _rate_argument(node: _Node) -> RateArgument:
    fields = node.fields()
    required = "default" not in fields.left
    argument = RateArgument(
        name=fields.take("name", _Node.text),
        role=fields.take("role", _one_of(*_RATE_ROLES)),
        default=fields.maybe("default", _Node.scalar, None),
        required=required,
        fill=fields.maybe("fill", _Node.text, None),
    )
    fields.close()
    return argument


def _rate_class(dialect: str, node: _Node, dialects: dict[str, Dialect]) -> RateClass:
    if dialect not in dialects:
        raise node.error(f"the dialect {dialect!r} is not defined")
    fields = node.fields()
    found = RateClass(
        target=fields.take("target", _Node.text),
        arguments=fields.take("arguments", lambda child: tuple(_rate_argument(item) for item in child.items())),
    )
    fields.close()
    return found


def _rate_schedule(
    name: str, node: _Node, canonical: dict[str, Canonical], dialects: dict[str, Dialect]
) -> RateSchedule:
    fields = node.fields()
    schedule = RateSchedule(
        name=name,
        about=fields.take("about", _Node.text),
        canonical=fields.maybe("canonical", lambda child: child.choice(tuple(canonical)), None),
        classes=fields.take(
            "classes", lambda child: _named(child, lambda dialect, item: _rate_class(dialect, item, dialects))
        ),
    )
    fields.close()
    return schedule


def _weights(node: _Node) -> Weights:
    fields = node.fields()
    weights = Weights(fields.take("names", _Node.texts), fields.take("axes", _Node.texts))
    fields.close()
    if not weights.names:
        raise node.error("a weight has a name: names is empty")
    return weights


def _layer(name: str, node: _Node) -> Layer:
    fields = node.fields()
    layer = Layer(
        name=name,
        about=fields.take("about", _Node.text),
        tensorflow=fields.take("tensorflow", _weights),
        mindspore=fields.take("mindspore", _weights),
    )
    fields.close()
    if len(layer.tensorflow.axes) != len(layer.mindspore.axes):
        raise node.error("the axes of the two frameworks belong together in pairs, and their numbers differ")
    for pair in zip(layer.tensorflow.axes, layer.mindspore.axes, strict=True):
        _check_axes(node, *pair)
    return layer


def _module(name: str, node: _Node) -> str:
    known = node.text()
    if len(known) >= len(name):
        # A name that grows when it is replaced would be replaced for ever.
        raise node.error(f"{known!r} is not shorter than {name!r}; the shorter name of a module is the one to use")
    return known


def _check_axes(node: _Node, one: str, other: str) -> None:
    letters, others = (sorted(re.findall(r"[a-zA-Z]", axes)) for axes in (one, other))
    if letters != others or len(set(letters)) != len(letters):
        raise node.error(f"{one!r} and {other!r} do not name the same axes, each once")


def _share(node: _Node) -> Share:
    fields = node.fields()
    share = Share(
        name=fields.take("name", _Node.text),
        axes=fields.take("axes", _Node.text),
        part=fields.maybe("part", _part, None),
        addend=fields.maybe("addend", _Node.truth, False),
    )
    fields.close()
    return share


def _part(node: _Node) -> tuple[int, int]:
    numbers = [item.integer() for item in node.items()]
    if len(numbers) != 2 or not 0 <= numbers[0] < numbers[1]:
        raise node.error(f"expected [i, n] with i from 0 to n - 1, got {numbers}")
    return numbers[0], numbers[1]


def _twins(node: _Node) -> Twins:
    fields = node.fields()
    twins = Twins(
        tensorflow=fields.take("tensorflow", _share),
        mindspore=fields.take("mindspore", _share),
        optional=fields.maybe("optional", _Node.truth, False),
    )
    fields.close()
    _check_axes(node, twins.tensorflow.axes, twins.mindspore.axes)
    return twins


_NEITHER: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def _for_both(node: _Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    fields = node.fields()
    both = fields.take("tensorflow", _Node.texts), fields.take("mindspore", _Node.texts)
    fields.close()
    return both


def _compound(name: str, node: _Node) -> Compound:
    fields = node.fields()
    compound = Compound(
        name=name,
        about=fields.take("about", _Node.text),
        weights=fields.take("weights", lambda child: tuple(_twins(item) for item in child.items())),
        gates=fields.maybe("gates", _for_both, _NEITHER),
        cell=fields.maybe("cell", _Node.text, None),
        ways=fields.maybe("ways", _for_both, _NEITHER),
    )
    fields.close()
    one, other = compound.gates
    if sorted(one) != sorted(other) or len(set(one)) != len(one):
        raise node.error(f"gates: {', '.join(one)} and {', '.join(other)} are not the same gates, each once")
    gated = any("g" in twins.tensorflow.axes for twins in compound.weights)
    if gated != bool(one):
        raise node.error("gates and an axis g belong together: one of them is missing")
    if any(len(ways) not in (0, 2) for ways in compound.ways):
        raise node.error("ways: expected what says forwards and what says backwards, for each framework")
    if all(twins.optional for twins in compound.weights):
        raise node.error("all weights are optional, so that nothing tells the layer")
    return compound


def _layer_or_compound(name: str, node: _Node) -> Layer | Compound:
    several = any(key == "weights" for key, _ in node.entries())
    return _compound(name, node) if several else _layer(name, node)


def _adapters(node: _Node, dialects: dict[str, Dialect]) -> Iterator[Adapter]:
    names: set[tuple[str, str]] = set()
    for item in node.items():
        fields = item.fields()
        adapter = Adapter(
            name=fields.take("name", _Node.text),
            module=fields.take("module", _Node.text),
            runtime=fields.take("runtime", _one_of(*_RUNTIMES)),
            dialect=fields.take("dialect", _one_of(*dialects)),
            borrows=fields.take("borrows", lambda child: _borrows(child, dialects)),
        )
        fields.close()
        if (adapter.module, adapter.name) in names:
            raise item.error(f"the adapter {adapter.name!r} of {adapter.module} is listed twice")
        names.add((adapter.module, adapter.name))
        yield adapter


def _borrows(node: _Node, dialects: dict[str, Dialect]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: list[tuple[str, tuple[str, ...]]] = []
    for dialect, child in node.entries():
        if dialect not in dialects:
            raise child.error(f"the dialect {dialect!r} is not defined")
        names = child.texts()
        for name in names:
            if dialects[dialect].find(name) is None:
                raise child.error(f"the dialect {dialect!r} has no parameter {name!r}")
        found.append((dialect, names))
    return tuple(found)


def load(path: str | Path) -> Mapping:
    """Read a mapping file.

    Args:
        path: a file in the grammar that the head of mapping.yaml explains.

    Raises:
        MappingError: with file and line, for anything that is not in the grammar: a repeated or
            unknown key, a name that is not defined, a default that is not of its type, a number
            that YAML reads as text, a dialect without slots.
    """
    file = Path(path)
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise MappingError(f"{file.name}:{line}: {error.problem or 'not valid YAML'}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise MappingError(f"{file.name}:1: not a text file in UTF-8: {error}") from None
    if root is None:
        raise MappingError(f"{file.name}:1: the file is empty")
    fields = _Node(root, file.name, "").fields()
    canonical = fields.take("canonical", lambda node: _named(node, _canonical))
    numerics = fields.take("numerics", lambda node: _named(node, _numerics))
    reader = _DialectReader(canonical, numerics)
    dialects = fields.take("dialects", lambda node: _with_corrections(node, _named(node, reader.dialect)))
    schedules = fields.take(
        "schedules",
        lambda node: _named(node, lambda name, child: _rate_schedule(name, child, canonical, dialects)),
    )
    kinds = fields.take("layers", lambda node: _named(node, _layer_or_compound))
    layers = {name: kind for name, kind in kinds.items() if isinstance(kind, Layer)}
    compounds = {name: kind for name, kind in kinds.items() if isinstance(kind, Compound)}
    adapters = fields.take("adapters", lambda node: tuple(_adapters(node, dialects)))
    modules: dict[str, str] = fields.maybe("modules", lambda node: _named(node, _module), {})
    fields.close()
    return Mapping(canonical, numerics, dialects, schedules, layers, compounds, adapters, modules)

"""Read mapping.yaml; every mistake in it is an error that names file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from adamcompat.mapping.dialect_reader import DialectReader, NumericsReader, read_canonical, with_corrections
from adamcompat.mapping.faults import faults
from adamcompat.mapping.layer_reader import layer_or_compound
from adamcompat.mapping.layers import Compound, Layer
from adamcompat.mapping.model import Adapter, Canonical, Dialect, Mapping
from adamcompat.mapping.nodes import MappingError, Node, named, one_of
from adamcompat.mapping.rates import RateArgument, RateClass, RateSchedule
from adamcompat.mapping.runtimes import RUNTIMES

__all__ = ["MappingError", "extend", "load"]

_RATE_ROLES = ("initial", "final", "rate", "steps", "power", "repeat", "staircase", "step")


def _rate_argument(node: Node) -> RateArgument:
    fields = node.fields()
    required = "default" not in fields.left
    argument = RateArgument(
        name=fields.take("name", Node.text),
        role=fields.take("role", one_of(*_RATE_ROLES)),
        default=fields.maybe("default", Node.scalar, None),
        required=required,
        fill=fields.maybe("fill", Node.text, None),
    )
    fields.close()
    return argument


def _rate_class(dialect: str, node: Node, dialects: dict[str, Dialect]) -> RateClass:
    if dialect not in dialects:
        raise node.error(f"the dialect {dialect!r} is not defined")
    fields = node.fields()
    found = RateClass(
        target=fields.take("target", Node.text),
        arguments=fields.take("arguments", lambda child: tuple(_rate_argument(item) for item in child.items())),
    )
    fields.close()
    return found


def _rate_schedule(
    name: str, node: Node, canonical: dict[str, Canonical], dialects: dict[str, Dialect]
) -> RateSchedule:
    fields = node.fields()
    schedule = RateSchedule(
        name=name,
        about=fields.take("about", Node.text),
        canonical=fields.maybe("canonical", lambda child: child.choice(tuple(canonical)), None),
        classes=fields.take(
            "classes", lambda child: named(child, lambda dialect, item: _rate_class(dialect, item, dialects))
        ),
    )
    fields.close()
    return schedule


def _module(name: str, node: Node) -> str:
    known = node.text()
    if len(known) >= len(name):
        # A name that grows when it is replaced would be replaced for ever.
        raise node.error(f"{known!r} is not shorter than {name!r}; the shorter name of a module is the one to use")
    return known


def _adapters(node: Node, dialects: dict[str, Dialect]) -> Iterator[Adapter]:
    names: set[tuple[str, str]] = set()
    for item in node.items():
        fields = item.fields()
        adapter = Adapter(
            name=fields.take("name", Node.text),
            module=fields.take("module", Node.text),
            runtime=fields.take("runtime", one_of(*RUNTIMES)),
            dialect=fields.take("dialect", one_of(*dialects)),
            borrows=fields.take("borrows", lambda child: _borrows(child, dialects)),
        )
        fields.close()
        for other, borrowed in adapter.borrows:
            _check_borrowed(dialects[adapter.dialect], dialects[other], borrowed, item)
        if (adapter.module, adapter.name) in names:
            raise item.error(f"the adapter {adapter.name!r} of {adapter.module} is listed twice")
        names.add((adapter.module, adapter.name))
        yield adapter


def _borrows(node: Node, dialects: dict[str, Dialect]) -> tuple[tuple[str, tuple[str, ...]], ...]:
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


def _check_borrowed(dialect: Dialect, other: Dialect, names: tuple[str, ...], node: Node) -> None:
    """Refuse a tuple of which the adapter's own dialect has some meanings and lacks others."""
    for name in names:
        fact = other.find(name)
        assert fact is not None
        having = [part.canonical for part in fact.parts if dialect.named(part.canonical) is not None]
        if having and len(having) < len(fact.parts):
            raise node.error(
                f"{name!r} of {other.name!r} cannot be borrowed: {dialect.name!r} has {', '.join(having)} itself, and "
                f"not the rest of it"
            )


def _top(file: Path) -> Node:
    """Read a file of YAML.

    Raises:
        MappingError: the file is not valid YAML in UTF-8, or is empty.
        OSError: the file cannot be read.
    """
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise MappingError(f"{file.name}:{line}: {error.problem or 'not valid YAML'}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise MappingError(f"{file.name}:1: not a text file in UTF-8: {error}") from None
    if root is None:
        raise MappingError(f"{file.name}:1: the file is empty")
    return Node(root, file.name, "")


def load(path: str | Path, *, executed: bool = False) -> Mapping:
    """Read a mapping file.

    Args:
        path: a file in the grammar that the head of mapping.yaml explains.
        executed: whether to refuse facts that nothing would execute, as the generator must.

    Returns:
        All that the file says.

    Raises:
        MappingError: with file and line, for anything that is not in the grammar: a repeated or unknown key, a name
            that is not defined, a default that is not of its type, a number that YAML reads as text, a dialect without
            slots; and with `executed` for a fact that nothing executes.
        OSError: the file cannot be read.
    """
    top = _top(Path(path))
    fields = top.fields()
    canonical = fields.take("canonical", lambda node: named(node, read_canonical))
    numerics = fields.take("numerics", lambda node: named(node, NumericsReader().numerics))
    reader = DialectReader(canonical, numerics)
    dialects = fields.take("dialects", lambda node: with_corrections(node, named(node, reader.dialect)))
    schedules = fields.take(
        "schedules",
        lambda node: named(node, lambda name, child: _rate_schedule(name, child, canonical, dialects)),
    )
    kinds = fields.take("layers", lambda node: named(node, layer_or_compound))
    layers = {name: kind for name, kind in kinds.items() if isinstance(kind, Layer)}
    compounds = {name: kind for name, kind in kinds.items() if isinstance(kind, Compound)}
    adapters = fields.take("adapters", lambda node: tuple(_adapters(node, dialects)))
    modules: dict[str, str] = fields.maybe("modules", lambda node: named(node, _module), {})
    fields.close()
    mapping = Mapping(canonical, numerics, dialects, schedules, layers, compounds, adapters, modules)
    if executed:
        for fault in faults(mapping):
            raise top.at(fault.path).error(fault.text)
    return mapping


def extend(path: str | Path, mapping: Mapping) -> Mapping:
    """Read a file of aliases, which adds classes of other libraries to the dialects of a mapping.

    Args:
        path: a file with one block or both: `dialects`, in the grammar of mapping.yaml, where `extends` may name a
            dialect of the mapping; and `aliases`, the dotted names of further classes by the dialect that they speak.
        mapping: the dialects that there are.

    Returns:
        A mapping with the further dialects and names beside those that there are.

    Raises:
        MappingError: with file and line, as `load`; and for a name that is taken already.
        OSError: the file cannot be read.
    """
    top = _top(Path(path))
    fields = top.fields()
    reader = DialectReader(mapping.canonical, mapping.numerics)
    reader.read |= mapping.dialects
    taken = {name: dialect.name for dialect in mapping.dialects.values() for name in dialect.names}

    def names(dialect: str, node: Node) -> tuple[str, ...]:
        if dialect not in mapping.dialects:
            raise node.error(f"the dialect {dialect!r} is not defined; known: {', '.join(mapping.dialects)}")
        return tuple(_free_name(item, item.text(), dialect, taken) for item in node.items())

    def own(name: str, node: Node) -> Dialect:
        if name in mapping.dialects:
            raise node.error(f"adamcompat has a dialect {name!r} already; give this one another name")
        dialect = reader.dialect(name, node)
        for found in dialect.names:
            _free_name(node.at(["target" if found == dialect.target else "aliases"]), found, name, taken)
        return dialect

    nothing: dict[str, tuple[str, ...]] = {}
    further = fields.maybe("aliases", lambda node: named(node, names), nothing)
    none: dict[str, Dialect] = {}
    dialects = fields.maybe("dialects", lambda node: named(node, own), none)
    fields.close()
    for fault in faults(replace(mapping, dialects=dialects, adapters=())):
        raise top.at(fault.path).error(fault.text)
    known = {
        name: replace(dialect, aliases=(*dialect.aliases, *further.get(name, ())))
        for name, dialect in mapping.dialects.items()
    }
    return replace(mapping, dialects=known | dialects)


def _free_name(node: Node, name: str, dialect: str, taken: dict[str, str]) -> str:
    """Return the dotted name of a class; refuse text that is no such name, and the name of another class."""
    parts = name.split(".")
    if len(parts) < 2 or not all(map(str.isidentifier, parts)):
        raise node.error(f"{name!r} is no dotted name of a class, such as package.module.AdamW")
    if name in taken:
        raise node.error(f"{name!r} is a name of {taken[name]!r} already")
    taken[name] = dialect
    return name

"""Read the parameters of a dialect in mapping.yaml: one meaning each, or a tuple of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from adamcompat.mapping.facts import Default, Fact, Interval, ParameterFact, TupleFact
from adamcompat.mapping.model import Canonical
from adamcompat.mapping.nodes import Node, one_of, word
from adamcompat.mapping.vocabulary import Absent, Mistaken, Type

F = TypeVar("F", ParameterFact, TupleFact, Fact)

_TYPES: dict[Type, tuple[type, ...]] = {
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
# A tuple holds settings of the step that are read as they are; what is scheduled or updated has a name of its own.
_IN_TUPLES = ("number", "float", "integer", "flag", "text", "beta")


def _interval(node: Node) -> Interval:
    try:
        return Interval.parse(node.text())
    except ValueError as error:
        raise node.error(str(error)) from None


class ParameterReader:
    """Read parameters; their canonical names must exist.

    Args:
        canonical: the canonical names that parameters may have.
    """

    def __init__(self, canonical: dict[str, Canonical]) -> None:
        self.canonical = canonical

    def canonical_name(self, node: Node) -> str:
        """Read a canonical name.

        Args:
            node: the name.

        Raises:
            MappingError: the value is no text, or the name is not defined.
        """
        name = node.text()
        if name not in self.canonical:
            raise node.error(f"the canonical name {name!r} is not defined under 'canonical'")
        return name

    def meanings(self, node: Node) -> tuple[str, ...] | str:
        """Read what a parameter means.

        Args:
            node: a canonical name, or a list of them for a tuple.

        Returns:
            The canonical name, or for a tuple those of its elements, in order.

        Raises:
            MappingError: a name is not defined or is listed twice, a tuple cannot hold it, or the list has fewer than
                two.
        """
        if not node.is_list:
            return self.canonical_name(node)
        names: list[str] = []
        for item in node.items():
            name = self.canonical_name(item)
            if name in names:
                raise item.error(f"the canonical name {name!r} is listed twice")
            if self.canonical[name].scope != "hyperparameter" or name == "learning_rate":
                raise item.error(f"a tuple cannot hold {name!r}; it needs a parameter of its own")
            names.append(name)
        if len(names) < 2:
            raise node.error("a tuple has two elements or more; write a single canonical name without brackets")
        return tuple(names)

    def default(self, node: Node, type_: Type) -> Default:
        """Read a default, which must be of the parameter's type.

        Args:
            node: the default, a single value.
            type_: the type, one of the words of `vocabulary.Type`.

        Returns:
            The default. None is of every type.

        Raises:
            MappingError: the value is of another type.
        """
        value = node.scalar()
        if value is None:
            return None
        right = isinstance(value, _TYPES[type_]) and (type_ == "flag" or not isinstance(value, bool))
        if not right:
            raise node.error(f"the default {value!r} ({type(value).__name__}) is not of the type {type_!r}")
        return value

    def parameter(self, node: Node) -> Fact:
        """Read one parameter.

        Args:
            node: its block.

        Returns:
            A `TupleFact` where its canonical names are a list, else a `ParameterFact`.

        Raises:
            MappingError: a key is missing or unknown, a tuple has a key that tuples cannot have, or the default is of
                another type or outside the range.
        """
        fields = node.fields()
        name = fields.take("name", Node.text)
        canonical = fields.take("canonical", self.meanings)
        several = not isinstance(canonical, str)
        type_ = fields.take("type", one_of(*_IN_TUPLES) if several else word(Type))
        default = fields.maybe("default", lambda child: child, None)
        for key in ("alias_of", "read_as_default"):
            if several and key in fields.left:
                raise fields.left[key].error(f"{name!r} is a tuple, which has no {key}")
        whole = ParameterFact(
            name=name,
            canonical="",
            type=type_,
            default=None,
            required=True,
            range=fields.maybe("range", _interval, None),
            absent=fields.take("absent", word(Absent)),
            mistaken=fields.maybe("mistaken", word(Mistaken), "warn"),
            note=fields.maybe("note", Node.text, ""),
            alias_of=fields.maybe("alias_of", Node.text, None),
            read_as_default=fields.maybe("read_as_default", _not_given, ()),
            keyword_only=fields.maybe("keyword_only", Node.truth, False),
        )
        fields.close()
        fact: Fact
        if isinstance(canonical, str):
            fact = replace(whole, canonical=canonical)
        else:
            elements = enumerate(canonical)
            fact = TupleFact(
                name, tuple(replace(whole, name=f"{name}[{i}]", canonical=meaning) for i, meaning in elements)
            )
        return fact if default is None else self.with_default(fact, default, node)

    def parameters(self, node: Node) -> tuple[Fact, ...]:
        """Read parameters, each with a name of its own.

        Args:
            node: the list of their blocks.

        Returns:
            The parameters, in the order of the list.

        Raises:
            MappingError: a name is listed twice, a parameter that may be given by position follows one that may not, or
                a parameter itself has a mistake.
        """
        found: list[Fact] = []
        for item in node.items():
            fact = self.parameter(item)
            if any(fact.name == other.name for other in found):
                raise item.error(f"the parameter {fact.name!r} is listed twice")
            if found and found[-1].keyword_only and not fact.keyword_only:
                raise item.error(f"{fact.name!r} follows a parameter that is keyword_only; so it is one, too")
            found.append(fact)
        return tuple(found)

    def group_keys(self, node: Node) -> tuple[ParameterFact, ...]:
        """Read the keys of a parameter group.

        Args:
            node: a list of keys, or the word ``every`` where a group may hold each parameter of the signature.

        Returns:
            The keys; none for ``every``.

        Raises:
            MappingError: a key is a tuple, or the value is another word.
        """
        if not node.is_list:
            node.choice(("every",))
            return ()
        found = self.parameters(node)
        for fact in found:
            if isinstance(fact, TupleFact):
                raise node.error(f"the key {fact.name!r} of a group is a tuple; a key of a group has one meaning")
        return tuple(part for fact in found for part in fact.parts)

    def changed(self, facts: tuple[F, ...], defaults: Mapping[str, Node], without: Mapping[str, Node]) -> tuple[F, ...]:
        """Return parameters as a dialect that extends another has them.

        Args:
            facts: the parameters of the extended dialect.
            defaults: the nodes of other defaults, by the name of the parameter.
            without: the nodes that name the parameters to leave out.

        Returns:
            The parameters that are left, in the same order, with their defaults.

        Raises:
            MappingError: a default is of another type, or outside the range of its parameter.
        """
        found = []
        for fact in facts:
            if fact.name not in without:
                node = defaults.get(fact.name)
                found.append(fact if node is None else self.with_default(fact, node, node))
        return tuple(found)

    def with_default(self, fact: F, node: Node, place: Node) -> F:
        """Return a parameter with another default; for a tuple, with one for each element.

        Args:
            fact: the parameter.
            node: the default; for a tuple a list with one value for each element.
            place: the node at which an error about the default's value points.

        Returns:
            The parameter, which is not required any more.

        Raises:
            MappingError: the default is of another type or outside the range, the default of a tuple is no list of its
                length, or the default is also among the values that are read as it.
        """
        if isinstance(fact, TupleFact):
            count = len(fact.elements)
            if not node.is_list or len(node.items()) != count:
                meant = ", ".join(element.canonical for element in fact.elements)
                raise node.error(f"the default of {fact.name!r} must be a list of {count}, one each of {meant}")
            pairs = zip(fact.elements, node.items(), strict=True)
            return replace(fact, elements=tuple(self.with_default(element, item, item) for element, item in pairs))
        changed = replace(fact, default=self.default(node, fact.type), required=False)
        return _with_right_default(changed, place)


def _with_right_default(fact: ParameterFact, node: Node) -> ParameterFact:
    """Return a parameter as it is; refuse a default outside its range, or one that is read as itself."""
    default = fact.default
    if fact.range is not None and isinstance(default, (int, float)) and not fact.range.contains(default):
        raise node.error(f"the default {default!r} of {fact.name!r} is outside its range {fact.range}")
    if not fact.required and default in fact.read_as_default:
        raise node.error(f"{default!r} is the default of {fact.name!r} and need not be read as it")
    return fact


def _not_given(node: Node) -> tuple[Default, ...]:
    found = tuple(item.scalar() for item in node.items())
    for value in found:
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise node.error(f"expected null and numbers, got {value!r}")
    return found

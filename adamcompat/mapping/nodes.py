"""Walk the nodes of a YAML file; every mistake in it is an error that names file and line.

PyYAML accepts a repeated key (the last one wins) and reads ``1e-7`` as text. Both would change an optimizer without
a word, so that the nodes are read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import yaml

from adamcompat.mapping.facts import Default
from adamcompat.mapping.vocabulary import words

T = TypeVar("T")

_LOOKS_LIKE_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_DECIMALS = re.compile(r"[-+]?\d+$")


class MappingError(ValueError):
    """Report a mistake in mapping.yaml; the text starts with file:line."""


class Node:
    """Read a YAML node, and name its place in errors.

    Args:
        node: the node, as PyYAML composes it.
        file: the name of the file, for errors.
        path: the keys that lead to the node, joined by dots, for errors; empty at the top.
    """

    def __init__(self, node: yaml.Node, file: str, path: str) -> None:
        self.node = node
        self.file = file
        self.path = path

    def error(self, text: str) -> MappingError:
        """Return an error that begins with the file and the line of this node.

        Args:
            text: what is wrong, and how to mend it.
        """
        where = f"{self.file}:{self.node.start_mark.line + 1}"
        return MappingError(f"{where}: {self.path or 'top level'}: {text}")

    def fields(self) -> Fields:
        """Return the entries of this block, to be taken one by one.

        Raises:
            MappingError: the node is no block, or a key is repeated.
        """
        return Fields(self)

    def at(self, path: Sequence[str]) -> Node:
        """Return the node under these keys, or under as many of them as there are.

        Args:
            path: the keys, from this node downwards.
        """
        found = dict(self.entries()).get(path[0]) if path else None
        return self if found is None else found.at(path[1:])

    def entries(self) -> list[tuple[str, Node]]:
        """Return key and value of each entry of this block, in order.

        Raises:
            MappingError: the node is no block, or a key is repeated.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error("expected a block of 'key: value' lines")
        seen: dict[str, int] = {}
        found: list[tuple[str, Node]] = []
        for key_node, value_node in self.node.value:
            key = str(key_node.value)
            child = Node(value_node, self.file, f"{self.path}.{key}" if self.path else key)
            line = key_node.start_mark.line + 1
            if key in seen:
                at_key = Node(key_node, self.file, child.path)
                raise at_key.error(f"the key {key!r} is already given in line {seen[key]}; remove one of the two")
            seen[key] = line
            found.append((key, child))
        return found

    def items(self) -> list[Node]:
        """Return the items of this list.

        Raises:
            MappingError: the node is no list.
        """
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error("expected a list")
        return [Node(child, self.file, f"{self.path}[{index}]") for index, child in enumerate(self.node.value)]

    @property
    def is_list(self) -> bool:
        """Return whether this is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    def scalar(self) -> Default:
        """Return a single value as it is written: a number, a truth value, text or None.

        Raises:
            MappingError: the node is a list or a block, or YAML would not read the value as it looks: a word such as
                ``yes``, a number in another base, or a number such as ``1e-7``, which YAML takes for text.
        """
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
        """Return text, its lines joined by one space.

        Raises:
            MappingError: the value is no text.
        """
        value = self.scalar()
        if not isinstance(value, str):
            raise self.error(f"expected text, got {value!r}")
        return " ".join(value.split())

    def integer(self) -> int:
        """Return a whole number.

        Raises:
            MappingError: the value is no whole number.
        """
        value = self.scalar()
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(f"expected a whole number, got {value!r}")
        return value

    def truth(self) -> bool:
        """Return a truth value.

        Raises:
            MappingError: the value is neither true nor false.
        """
        value = self.scalar()
        if not isinstance(value, bool):
            raise self.error(f"expected true or false, got {value!r}")
        return value

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts.

        Raises:
            MappingError: the node is no list, or one of its items is no text.
        """
        return tuple(item.text() for item in self.items())

    def choice(self, allowed: tuple[str, ...]) -> str:
        """Return one of the words that are allowed.

        Args:
            allowed: the words.

        Raises:
            MappingError: the value is none of them.
        """
        value = self.text()
        if value not in allowed:
            raise self.error(f"{value!r} is not one of {', '.join(allowed)}")
        return value


class Fields:
    """Hold the entries of a block: each is taken once, and none may be left over.

    Args:
        node: the block.

    Attributes:
        left: the entries that were not taken yet, by key.
        known: the keys that were asked for, whether they were there or not.

    Raises:
        MappingError: the node is no block, or a key is repeated.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.left = dict(node.entries())
        self.known: list[str] = []

    def take(self, key: str, read: Callable[[Node], T]) -> T:
        """Return the entry `key` as `read` reads it.

        Args:
            key: the key, which must be there.
            read: makes the result from the entry's node.

        Raises:
            MappingError: the key is missing, or `read` refuses its value.
        """
        self.known.append(key)
        if key not in self.left:
            raise self.node.error(f"the key {key!r} is missing")
        return read(self.left.pop(key))

    def maybe(self, key: str, read: Callable[[Node], T], default: T) -> T:
        """Return the entry `key` as `read` reads it, or a default where there is none.

        Args:
            key: the key, which may be absent.
            read: makes the result from the entry's node.
            default: the result where the key is absent.
        """
        if key in self.left:
            return self.take(key, read)
        self.known.append(key)
        return default

    def close(self) -> None:
        """Refuse entries that were not taken.

        Raises:
            MappingError: an entry is left, so that its key is not known here.
        """
        for key, value in self.left.items():
            raise value.error(f"unknown key {key!r}; known here: {', '.join(self.known)}")


def word(vocabulary: Any) -> Callable[[Node], Any]:
    """Return a reader of one of the words of a type of `vocabulary`.

    Args:
        vocabulary: the type, such as `vocabulary.Epsilon`.
    """
    return one_of(*words(vocabulary))


def one_of(*allowed: str) -> Callable[[Node], str]:
    """Return a reader of one of these words."""
    return lambda node: node.choice(allowed)


def named(node: Node, read: Callable[[str, Node], T]) -> dict[str, T]:
    """Return the entries of a block by their names.

    Args:
        node: the block.
        read: makes the value from the name and the node of an entry.

    Raises:
        MappingError: the node is no block, a key is repeated, or `read` refuses an entry.
    """
    return {name: read(name, child) for name, child in node.entries()}

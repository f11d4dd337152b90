"""Write groups of parameters, each with settings of its own, for a class whose groups have other keys."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.arguments import UNKNOWN, literal, text_of
from adamcompat.translation.conversion import Value
from adamcompat.translation.messages import error, info, warning
from adamcompat.translation.names import Signature
from adamcompat.translation.ported import Parts, read_once
from adamcompat.translation.rates import RATE, Writer
from adamcompat.translation.trained import Trained, home, listing, relisted, trained

_DECAYS = ("l2_weight_decay", "decoupled_weight_decay", "absolute_weight_decay")
_PARAMETERS, _DECAY, _ORDER = "group_parameters", "group_weight_decay", "group_order"
_OF_GROUPS = {"parameters": _PARAMETERS, "learning_rate": "group_learning_rate"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """Hold one entry of a group: how its key is written, the key and the expression."""

    written: str
    key: str
    node: ast.expr


def group_keys(signature: Signature) -> list[str]:
    """Return the settings that a group of a class may have, by the class's own names.

    Args:
        signature: the class.

    >>> from adamcompat.translation.names import original
    >>> group_keys(original(MAPPING.dialects["mindspore"]))
    ['lr', 'weight_decay', 'grad_centralization', 'order_params']
    """
    return [name for name, canonical in _keys(signature).items() if canonical[0] != _PARAMETERS]


def _keys(signature: Signature) -> dict[str, tuple[str, ...]]:
    """Return the meanings of each key of a group: those of a tuple's elements, or one."""
    dialect = signature.dialect
    if dialect.overrides:
        meant = {fact.name: tuple(part.canonical for part in fact.parts) for fact in dialect.parameters}
        return {name: tuple(_OF_GROUPS.get(item, item) for item in items) for name, items in meant.items()}
    own = next((name for name in _DECAYS if signature.named(name) is not None), _DECAY)
    return {fact.name: (own if fact.canonical == _DECAY else fact.canonical,) for fact in dialect.groups}


class Groups(Writer):
    """Write the arguments of one conversion; here the parameters to be trained."""

    def lists(self, value: Value) -> str | None:
        """Return the text of the parameters as the target takes them, or None where it refuses these.

        Args:
            value: the parameters of the call, an expression.
        """
        assert value.node is not None
        holds = trained(value.node, self.context.nodes)
        if holds is Trained.GROUPS and _keys(self.source) != _keys(self.target):
            return self.groups(value, value.node)
        if listing(self.source) == listing(self.target):
            return value.text
        if self.context.parameters:
            return self.context.parameters
        return self.listed(value.node)

    def listed(self, node: ast.expr) -> str:
        """Return the text of an expression, with models' lists as those of the target; say what is uncertain.

        Args:
            node: an expression of parameters.
        """
        if listing(self.source) == listing(self.target):
            return text_of(node, self.context.source)
        grouped = trained(node, self.context.nodes) is Trained.GROUPS
        parts = list(self.parts().of(node))
        if not parts and not grouped and self.relisted(node) == text_of(node, self.context.source):
            parts = [node]
        for part in parts:
            self.not_read(part)
        return self.relisted(node)

    def parts(self) -> Parts:
        """Return the object that finds the uncertain parts of an expression."""
        keys = [name for name, meant in _keys(self.source).items() if meant[0] == _PARAMETERS]
        return Parts(listing(self.source), listing(self.target), keys)

    def relisted(self, node: ast.expr) -> str:
        """Return the text of an expression, with models' lists as those of the target.

        Args:
            node: an expression of parameters.
        """
        text = relisted(node, self.context.source, listing(self.source), listing(self.target))
        return text if text != self.context.source.segment(node) else text_of(node, self.context.source)

    def not_read(self, node: ast.expr) -> None:
        """Say that an expression is right where it holds parameters of the target's framework.

        Args:
            node: the expression, which cannot be read.
        """
        text, new, there = text_of(node, self.context.source), self.relisted(node), listing(self.target)
        what = f"{text} is kept as it is written: right where it" if new == text else f"{new} is right where it"
        said = f"{what} holds {home(self.target).library}'s own parameters"
        said += f", as model{there} does" if there else ""
        open_ = trained(node, self.context.nodes) is Trained.OPEN
        self.say((info if open_ else warning)("parameters-not-read", said))

    def groups(self, value: Value, node: ast.expr) -> str | None:
        """Return the text of groups with the target's keys, or None where they cannot be written.

        A message says why they cannot.

        Args:
            value: the parameters of the call.
            node: the expression of the groups; a list of dictionaries that is written out, or a name of one.
        """
        elsewhere = isinstance(node, ast.Name)
        if isinstance(node, ast.Name):
            node = self.context.values.get(node.id, node)
        found = _read(node, self)
        if found is None:
            text = (
                f"{value} holds parameter groups that cannot be read here; only a list of dictionaries that is written "
                f"out can (keys of a group in {self.target.title}: {', '.join(group_keys(self.target))})"
            )
            self.say(error("parameter-groups", text))
            return None
        lost: list[str] = []
        texts: list[str] = []
        for number, entries in enumerate(found):
            kept = [(entry, key) for entry in entries if (key := self.key(number, entry, lost)) is not None]
            parts = [f"{_quoted(entry, key)}: {self.entry(entry)}" for entry, key in kept]
            if parts or not entries:
                texts.append(f"{{{', '.join(parts)}}}")
        if lost:
            text = (
                f"{value.fact.name} holds groups with settings that groups of {self.target.title} do not have: "
                f"{'; '.join(lost)} (keys of a group there: {', '.join(group_keys(self.target))}); make one optimizer "
                f"for each group"
            )
            self.say(error("parameter-groups", text))
            return None
        written = f"[{', '.join(texts)}]"
        whole = f"[{', '.join(_plain(entries, self) for entries in found)}]"
        if written == whole:
            return value.text
        if elsewhere:
            self.say(error("parameter-groups", f"{value.text} is made elsewhere; it is to be {written} there"))
            return None
        return written

    def entry(self, entry: _Entry) -> str:
        """Return the text of the value of an entry of a group.

        Args:
            entry: the entry.
        """
        if _keys(self.source).get(entry.key, ("",))[0] == _PARAMETERS:
            return self.of_group(entry.node)
        return text_of(entry.node, self.context.source)

    def of_group(self, node: ast.expr) -> str:
        """Return the text of the parameters of one group.

        An iterator stands in ``list(...)`` where the target reads the parameters more than once.

        Args:
            node: the expression of the parameters.
        """
        text = self.listed(node)
        again = self.target.adapter is None and not self.target.dialect.overrides
        once = again and read_once(node, self.context.values, self.context.nodes)
        return f"list({text})" if once else text

    def key(self, number: int, entry: _Entry, lost: list[str]) -> str | None:
        """Return the target's name of the key of a group's entry, or None where there is none.

        Args:
            number: the place of the group, counted from 0, for messages.
            entry: the entry.
            lost: gets a text for an entry that means something that the target's groups do not have.

        Returns:
            The name; None where the entry is left out, which a message says, or lost.
        """
        what = f"{entry.key}={text_of(entry.node, self.context.source)} of group {number}"
        meant = _keys(self.source).get(entry.key)
        if meant is None:
            # Where a group may hold every setting, it may hold other keys as well, such as a name.
            if self.source.dialect.overrides and self.target.dialect.overrides:
                return entry.key
            text = (
                f"{what} is no setting of {self.source.title}, and {self.target.title} takes no others; it is left out"
            )
            self.say(warning("left-out", text))
            return None
        meant = tuple(self.decays(item) for item in meant)
        there = next((key for key, known in _keys(self.target).items() if known == meant), None)
        value = literal(entry.node)
        if there is None and meant[0] in _DECAYS and value == 0:
            there = next((key for key, known in _keys(self.target).items() if known[0] in _DECAYS), None)
        if there is not None:
            return there
        if meant[0] == _ORDER:
            self.say(info("left-out", f"{what} orders gradients, which {self.target.title} finds by itself"))
        elif self.idle(meant, value):
            self.say(info("left-out", f"{what} changes nothing and is left out"))
        else:
            lost.append(what)
        return None

    def decays(self, canonical: str) -> str:
        """Return the meaning of a group's decay: that of the call's decay, which a flag may have changed.

        Args:
            canonical: the meaning of a key; others than decays come back as they are.
        """
        known = [name for name in _DECAYS if name in self.values]
        return known[0] if canonical in _DECAYS and known else canonical

    def idle(self, meant: Sequence[str], value: object) -> bool:
        """Return whether a setting of a group changes nothing: it is the call's own, a label, or neutral.

        Args:
            meant: the meanings of its key.
            value: its value, or UNKNOWN.
        """
        if all(MAPPING.canonical[name].scope == "label" for name in meant):
            return True
        if value is UNKNOWN:
            return False
        items = list(value) if len(meant) > 1 and isinstance(value, (tuple, list)) else [value]
        of_call = [self.values[name].value for name in meant if name in self.values]
        neutral = len(meant) == 1 and value in (False, None) and MAPPING.canonical[meant[0]].neutral in (False, None)
        free = not (len(of_call) == 1 and of_call[0] not in (False, None))
        return (len(of_call) == len(meant) and items == of_call) or (neutral and free and meant[0] != RATE)


def _read(node: ast.expr, writer: Writer) -> list[list[_Entry]] | None:
    """Return the groups of a list that is written out, or None where one cannot be read."""
    if not isinstance(node, (ast.List, ast.Tuple)):
        return None
    groups = [list(_entries(item, writer)) for item in node.elts]
    return None if any(None in entries for entries in groups) else [[e for e in g if e is not None] for g in groups]


def _entries(node: ast.expr, writer: Writer) -> Iterator[_Entry | None]:
    """Yield the entries of a dictionary; None for each that cannot be read."""
    if isinstance(node, ast.Dict):
        for key, item in zip(node.keys, node.values, strict=True):
            readable = isinstance(key, ast.Constant) and isinstance(key.value, str)
            if readable and isinstance(key, ast.Constant):
                yield _Entry(writer.context.source.segment(key), str(key.value), item)
            else:
                yield None
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        for keyword in node.keywords:
            yield _Entry(repr(keyword.arg), keyword.arg, keyword.value) if keyword.arg is not None else None
    else:
        yield None


def _quoted(entry: _Entry, key: str) -> str:
    return entry.written if key == entry.key else repr(key)


def _plain(entries: Sequence[_Entry], writer: Writer) -> str:
    """Return the text of a group as it is written, on one line."""
    source = writer.context.source
    return f"{{{', '.join(f'{entry.written}: {text_of(entry.node, source)}' for entry in entries)}}}"

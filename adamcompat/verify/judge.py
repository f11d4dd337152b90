"""Compare what was observed with what a mapping says, fact by fact."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adamcompat.mapping.facts import Fact, Interval, ParameterFact, TupleFact
from adamcompat.mapping.model import Dialect, Errors, Mapping, Numerics, Older, Semantics, release
from adamcompat.verify.observation import REQUIRED, Observation, Taken

AGREES = "agrees"
DIFFERS = "differs"
# The mapping asks more of its users than the original does: no drift.
STRICTER = "stricter"
UNMEASURED = "not measured"

MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold one fact: the mapping's word, what was found, and whether that is the same.

    Attributes:
        path: where the fact stands in mapping.yaml.
        dialect: the dialect whose original was observed.
        mapping: what stands there.
        observed: what was found, or why nothing was.
        framework: the name of the framework that was observed.
        version: the version of that framework.
        state: agrees | differs | stricter | not measured.
    """

    path: str
    dialect: str
    mapping: str
    observed: str
    framework: str
    version: str
    state: str


def judge(mapping: Mapping, observations: Iterable[Observation]) -> list[Verdict]:
    """Return a verdict on every fact of the dialects that were observed, in the order of mapping.yaml.

    Args:
        mapping: the facts to check.
        observations: what was found out about each original. One of a dialect that the mapping lacks differs.
    """
    found: list[Verdict] = []
    for seen in observations:
        if seen.dialect in mapping.dialects:
            found += _Judge(mapping, mapping.dialects[seen.dialect], seen).verdicts()
        else:
            path = f"dialects.{seen.dialect}"
            found.append(Verdict(path, seen.dialect, MISSING, "there", seen.framework, seen.version, DIFFERS))
    return found


def _text(value: Any) -> str:
    return str(value) if value == REQUIRED else repr(value)


def _list(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values)) or "none"


class _Judge:
    def __init__(self, mapping: Mapping, dialect: Dialect, seen: Observation) -> None:
        self.mapping = mapping
        self.dialect = dialect
        self.seen = seen
        self.found: list[Verdict] = []

    def verdicts(self) -> list[Verdict]:
        seen, dialect = self.seen, self.dialect
        self.equal("protocol", dialect.protocol, seen.protocol)
        for method in dialect.methods:
            named = _list(argument.name for argument in method.arguments)
            there = _list(seen.methods[method.name]) if method.name in seen.methods else MISSING
            self.equal(f"methods.{method.name}", named, there)
        if not seen.failure:
            self.equal("rates", _list(sorted(dialect.rates)), _list(sorted(seen.rates)))
        self.equal("kwargs", str(dialect.kwargs).lower(), str(seen.kwargs).lower())
        self.signature("parameters", dialect.parameters, seen.parameters, ordered=True)
        self.signature("keywords", dialect.keywords, seen.keywords, ordered=False)
        self.groups()
        if seen.failure:
            self.add(f"dialects.{dialect.name}", "makes a step", seen.failure, DIFFERS, top=True)
            return self.found
        self.conflicts()
        self.errors()
        self.stages()
        for field in dataclasses.fields(Semantics):
            fact = dialect.named(field.name)
            if fact is not None and fact.name in dialect.ignored:
                continue
            value = getattr(dialect.semantics, field.name)
            self.fits(f"semantics.{field.name}", value, seen.semantics.get(field.name))
        self.numerics()
        self.slots()
        self.schedules()
        return self.found

    def add(self, path: str, mapping: str, observed: str, state: str, *, top: bool = False) -> None:
        """Add a verdict.

        Args:
            path: of the fact, relative to the dialect unless `top`.
            mapping: what the mapping has.
            observed: what was seen.
            state: how the two relate.
            top: whether the path is a whole one.
        """
        older = next((o for o in self.dialect.older if o.fact == path and self.applies(o)), None)
        if older is not None and not top:
            mapping, state = older.was, AGREES if observed == older.was else DIFFERS
        full = path if top else f"dialects.{self.dialect.name}.{path}"
        self.found.append(
            Verdict(full, self.dialect.name, mapping, observed, self.seen.framework, self.seen.version, state)
        )

    def applies(self, older: Older) -> bool:
        """Return whether the framework that was observed is older than a fact."""
        return older.framework == self.seen.framework and release(self.seen.version) < release(older.below)

    def equal(self, path: str, mapping: str, observed: str) -> None:
        self.add(path, mapping, observed, AGREES if mapping == observed else DIFFERS)

    def fits(self, path: str, value: Any, fitting: Sequence[Any] | None, *, top: bool = False) -> None:
        """Add a verdict on whether a value is among those that explain what was seen.

        Args:
            path: of the fact, relative to the dialect unless `top`.
            value: what the mapping has.
            fitting: the values that explain what was seen; None where nothing was measured.
            top: whether the path is a whole one.
        """
        text = _list(value) if isinstance(value, tuple) else str(value)
        if fitting is None:
            reason = self.seen.unmeasured.get(path) or self.seen.unmeasured.get(path.split(".")[0], "")
            self.add(path, text, reason, UNMEASURED, top=top)
            return
        shown = " or ".join(_list(one) if isinstance(one, tuple) else str(one) for one in fitting)
        self.add(path, text, shown or "none of the known", AGREES if value in fitting else DIFFERS, top=top)

    def signature(self, where: str, facts: Sequence[Fact], taken: Sequence[Taken], *, ordered: bool) -> None:
        here, there = {fact.name: fact for fact in facts}, {one.name: one for one in taken}
        if ordered:
            shared = [name for name in there if name in here]
            self.equal(where, _list(name for name in here if name in there), _list(shared))
        for name, fact in here.items():
            path = f"{where}.{name}"
            if name not in there:
                self.add(path, "there", MISSING, DIFFERS)
                continue
            one = there[name]
            default = REQUIRED if fact.required else fact.default
            same = type(default) is type(one.default) and default == one.default
            self.add(f"{path}.default", _text(default), _text(one.default), AGREES if same else DIFFERS)
            if isinstance(fact, TupleFact):
                meant = tuple(element.canonical for element in fact.elements)
                self.fits(f"{path}.canonical", meant, None)
                continue
            if fact.alias_of is not None or one.stands_for is not None:
                self.equal(f"{path}.alias_of", fact.alias_of or "none", one.stands_for or "none")
            if name in self.dialect.ignored:
                # It means what our classes do; the original shows no more than that it is accepted.
                self.equal(f"{path}.canonical", "ignored", "ignored" if self.ignores(name) else "not ignored")
            elif name in self.seen.meanings or f"{path}.canonical" in self.seen.unmeasured:
                self.fits(f"{path}.canonical", fact.canonical, self.seen.meanings.get(name))
            if name in self.seen.accepts:
                kinds = self.seen.accepts[name]
                state = AGREES if _passes(fact, kinds) else DIFFERS
                self.add(f"{path}.type", fact.type, f"takes {_list(kinds)}", state)
            same_as = self.seen.read_as_default.get(name, ())
            if same_as or (fact.read_as_default and not self.seen.failure):
                self.equal(f"{path}.read_as_default", _list(fact.read_as_default), _list(same_as))
            if name in self.seen.refused:
                self.range(f"{path}.range", fact.range, self.seen.refused[name])
        for name, one in there.items():
            if name not in here:
                self.add(f"{where}.{name}", MISSING, f"default {_text(one.default)}", DIFFERS)

    def ignores(self, name: str) -> bool:
        """Return whether the original did nothing with a parameter: then it may be any label."""
        return any(self.mapping.canonical[found].scope == "label" for found in self.seen.meanings.get(name, ()))

    def range(self, path: str, interval: Interval | None, refused: dict[float, bool]) -> None:
        """Add a verdict on limits: those that the original sets must be the mapping's; it may set none.

        Args:
            path: of the fact, relative to the dialect.
            interval: the mapping's; None stands for no limits.
            refused: for each number that was tried whether the original refused it.
        """
        outside = [number for number, out in refused.items() if out]
        passed = [number for number, out in refused.items() if not out]
        text = str(interval) if interval is not None else "any"
        if interval is None:
            self.add(path, text, _refusal(outside), DIFFERS if outside else AGREES)
            return
        wrong = any(interval.contains(number) for number in outside)
        # It sets a limit on one side, and lets pass what lies beyond the mapping's limit there.
        if passed and any(number < min(passed) for number in outside):
            wrong |= any(number <= interval.low and not interval.contains(number) for number in passed)
        if passed and any(number > max(passed) for number in outside):
            wrong |= any(number >= interval.high and not interval.contains(number) for number in passed)
        lenient = any(not interval.contains(number) for number in passed)
        self.add(path, text, _refusal(outside), DIFFERS if wrong else STRICTER if lenient else AGREES)

    @property
    def _weights(self) -> str:
        fact = self.dialect.named("parameters")
        return "" if fact is None else fact.name

    def groups(self) -> None:
        every = [fact for fact in self.dialect.parameters if self.dialect.overrides and fact.name != self._weights]
        here = dict.fromkeys(fact.name for fact in (*self.dialect.groups, *every))
        for name in [*here, *(name for name in self.seen.groups if name not in here)]:
            there = name in self.seen.groups
            self.equal(f"groups.{name}", "there" if name in here else MISSING, "there" if there else MISSING)

    def conflicts(self) -> None:
        here = {frozenset(conflict.pair): conflict for conflict in self.dialect.conflicts}
        there = {frozenset(pair): (pair, what) for pair, what in self.seen.conflicts.items()}
        for key in [*here, *(key for key in there if key not in here)]:
            pair = here[key].pair if key in here else there[key][0]
            self.equal(
                f"conflicts.[{_list(pair)}]",
                here[key].original if key in here else "none",
                there[key][1] if key in there else "none",
            )

    def errors(self) -> None:
        for field in dataclasses.fields(Errors):
            named, raised = getattr(self.dialect.errors, field.name), self.seen.errors.get(field.name, ())
            if raised:
                self.add(f"errors.{field.name}", named, _list(raised), AGREES if named in raised else DIFFERS)
            else:
                self.add(f"errors.{field.name}", named, "no exception", STRICTER)

    def stages(self) -> None:
        """Add verdicts on the presence of each stage, and on the order of those whose order shows."""
        dialect, seen = self.dialect, self.seen
        hidden = {path.removeprefix("stages.") for path in seen.unmeasured if path.startswith("stages.")}
        stated = [stage for stage in dialect.original_stages if stage not in hidden]
        problems = [f"no {stage}" for stage in stated if stage not in seen.stages]
        problems += [f"also {stage}" for stage in seen.stages if stage not in stated and stage not in hidden]
        problems += [
            f"{first} before {second}"
            for first, second in sorted(seen.precedence)
            if first in stated and second in stated and stated.index(first) > stated.index(second)
        ]
        self.add(
            "stages", _list(stated), _list(problems) if problems else _list(stated), DIFFERS if problems else AGREES
        )
        for stage in hidden:
            if stage in dialect.stages:
                self.add(f"stages.{stage}", "there", seen.unmeasured[f"stages.{stage}"], UNMEASURED)

    def numerics(self) -> None:
        """Add verdicts on the rounding; its name is wrong if other numerics of the mapping explain what was seen."""
        seen, name = self.seen.numerics, self.dialect.numerics
        if not seen:
            self.fits("numerics", name, None)
            return
        right = [other for other, numerics in self.mapping.numerics.items() if not _wrong_keys(numerics, seen)]
        blamed = name not in right and bool(right)
        self.add("numerics", name, " or ".join(right) or name, DIFFERS if blamed else AGREES)
        for key, fitting in seen.items():
            if not blamed:
                self.fits(f"numerics.{name}.{key}", getattr(self.mapping.numerics[name], key), fitting, top=True)

    def slots(self) -> None:
        """Add verdicts on the name of each piece of state, by what it holds; then on the order."""
        if not self.seen.slots:
            self.fits("slots", "", None)
            return
        named = {slot.role: slot.template for block in self.dialect.slots for slot in block}
        for role, template in named.items():
            holding = list(dict.fromkeys(slot.name for slot in self.seen.slots if role in slot.roles))
            state = AGREES if template in holding else DIFFERS
            self.add(f"slots.{role}", template, " or ".join(holding) or MISSING, state)
        for name in dict.fromkeys(slot.name for slot in self.seen.slots):
            if name not in named.values():
                held = [role for slot in self.seen.slots if slot.name == name for role in slot.roles]
                self.add(f"slots.{name}", MISSING, _list(dict.fromkeys(held)), DIFFERS)
        for role, name in self.dialect.slot_names.items():
            if role in named:
                holding = [own for own, roles in self.seen.slot_names.items() if role in roles]
                self.add(f"slot_names.{role}", name, _list(holding), AGREES if name in holding else DIFFERS)
        stated = _blocks([[slot.template for slot in block] for block in self.dialect.slots])
        self.equal("slots", stated, _blocks(self.blocks()))

    def schedules(self) -> None:
        """Add verdicts on the signatures of what computes learning rates."""
        for schedule in self.mapping.schedules.values():
            computed = schedule.classes.get(self.dialect.name)
            if computed is not None:
                path = f"schedules.{schedule.name}.classes.{self.dialect.name}"
                named = _list(_argument(a.name, REQUIRED if a.required else a.default) for a in computed.arguments)
                taken = self.seen.schedules.get(computed.target)
                observed = MISSING if taken is None else _list(_argument(one.name, one.default) for one in taken)
                self.add(path, named, observed, AGREES if named == observed else DIFFERS, top=True)

    def blocks(self) -> list[list[str]]:
        """Return the observed state as the mapping writes it: entries that alternate by parameter in one block."""
        found: list[list[str]] = []
        first = [slot for slot in self.seen.slots if slot.parameter in (None, 0)]
        order = [(slot.parameter, slot.name) for slot in self.seen.slots]
        for slot in first:
            before = order.index((slot.parameter, slot.name)) - 1
            follows = slot.parameter == 0 and before >= 0 and order[before][0] == 0 and bool(found)
            if follows:
                found[-1].append(slot.name)
            else:
                found.append([slot.name])
        return found


def _argument(name: str, default: Any) -> str:
    return name if default == REQUIRED else f"{name}={default!r}"


def _blocks(blocks: Sequence[Sequence[str]]) -> str:
    return " ".join(f"[{_list(block)}]" for block in blocks)


def _wrong_keys(numerics: Numerics, seen: dict[str, tuple[str, ...]]) -> list[str]:
    return [key for key, fitting in seen.items() if getattr(numerics, key) not in fitting]


def _refusal(outside: Sequence[float]) -> str:
    return f"refuses {', '.join(f'{number:.10g}' for number in outside)}" if outside else "refuses no number"


def _passes(fact: ParameterFact, kinds: Sequence[str]) -> bool:
    """Return whether the original takes what is of the mapping's type, and a bare float type no more than that."""
    if "schedule" in kinds:
        return fact.type == "learning_rate"
    if fact.type == "float":
        return "float" in kinds and "int" not in kinds
    if fact.type == "learning_rate":
        # An alias takes numbers only, and TensorFlow 1 has no schedules.
        return "float" in kinds
    if fact.type in ("number", "beta", "decay"):
        return "float" in kinds and "int" in kinds
    if fact.type == "integer":
        return "int" in kinds and "float" not in kinds
    return fact.type in ("flag", "text", "function", "functions") and fact.type in kinds

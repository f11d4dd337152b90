"""Write learning rates, whose idioms differ: numbers, lists, callables, and the schedules of each dialect."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.rates import RateArgument, RateClass, RateSchedule
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.arguments import UNKNOWN, form, literal, text_of
from adamcompat.translation.conversion import Context, Conversion, NewArgument, Value
from adamcompat.translation.messages import Message, error, info, warning
from adamcompat.translation.names import Signature, full

RATE = "learning_rate"
_PLACES = {"list": "a list", "schedule": "a schedule object", "callable": "a callable of nothing"}


def _schedule_of(dialect: str, name: str) -> tuple[RateSchedule, RateClass] | None:
    """Return the schedule of a dialect by the last part of its class's name, with that class; or None."""
    for schedule in MAPPING.schedules.values():
        found = schedule.classes.get(dialect)
        if found is not None and found.target.rpartition(".")[2] == name.rpartition(".")[2]:
            return schedule, found
    return None


def _roles(call: ast.Call, found: RateClass) -> dict[str, ast.expr] | None:
    """Return the arguments of a schedule's call by role, or None where they do not fit."""
    roles: dict[str, ast.expr] = {}
    if len(call.args) > len(found.arguments) or any(isinstance(item, ast.Starred) for item in call.args):
        return None
    for argument, node in zip(found.arguments, call.args, strict=False):
        roles[argument.role] = node
    by_name = {argument.name: argument for argument in found.arguments}
    for keyword in call.keywords:
        taken = by_name.get(keyword.arg or "")
        if keyword.arg != "name" and (taken is None or taken.role in roles):
            return None
        if taken is not None:
            roles[taken.role] = keyword.value
    required = {argument.role for argument in found.arguments if argument.required}
    return roles if required <= set(roles) else None


def unfold(values: dict[str, Value], source: Signature, context: Context) -> None:
    """Read a schedule as the hyperparameter of another dialect that stands for it.

    Args:
        values: the hyperparameters of the call, by canonical names. A learning rate that is such a schedule is replaced
            by its first value and by that hyperparameter.
        source: the class that is called.
        context: the code around the call.
    """
    rate = values.get(RATE)
    if rate is None or not isinstance(rate.node, ast.Call):
        return
    name = _callee(rate.node, context)
    found = _schedule_of(source.schedules, name) if name else None
    if found is None or found[0].canonical is None or found[0].canonical in values:
        return
    roles = _roles(rate.node, found[1])
    if roles is None or literal(roles["steps"]) != 1 or not _default(roles, found[1], "staircase"):
        return
    known = (fact for dialect in MAPPING.dialects.values() for fact in dialect.facts)
    fact = next(fact for fact in known if fact.canonical == found[0].canonical)
    for canonical, role, owner in ((RATE, "initial", rate.fact), (fact.canonical, "rate", fact)):
        node = roles[role]
        values[canonical] = Value(owner, text_of(node, context.source), literal(node), node, rate.position)


def _default(roles: Mapping[str, ast.expr], found: RateClass, role: str) -> bool:
    argument = next(argument for argument in found.arguments if argument.role == role)
    return role not in roles or literal(roles[role]) == argument.default


def _callee(call: ast.Call, context: Context) -> str | None:
    """Return the dotted name of a called function: in full where an import tells, else as it is written."""
    name = context.bindings.resolve(call.func)
    return name or (ast.unparse(call.func) if isinstance(call.func, (ast.Name, ast.Attribute)) else None)


class Writer:
    """Write the arguments of one conversion; here those of the learning rate.

    Args:
        source: the class that is called.
        target: the class to call.
        context: the code around the call.
        values: the hyperparameters of the call, by canonical names.
        out: gets the arguments and the remarks.

    Attributes:
        new: the new arguments so far, by the names of parameters and of elements of tuples.
        carried: the values that they come from, by the same names.
    """

    def __init__(
        self, source: Signature, target: Signature, context: Context, values: dict[str, Value], out: Conversion
    ) -> None:
        self.source = source
        self.target = target
        self.context = context
        self.values = values
        self.out = out
        self.new: dict[str, NewArgument] = {}
        self.carried: dict[str, Value] = {}

    def say(self, message: Message) -> None:
        """Add a remark on the call."""
        self.out.messages.append(message)

    def write(self, fact: ParameterFact, text: str, value: Value) -> None:
        """Write an argument of the new call.

        Args:
            fact: the parameter of the target, or the element of a tuple.
            text: the expression to write.
            value: the hyperparameter of the call that it comes from.
        """
        self.new[fact.name] = NewArgument(fact.name, text, value.position)
        self.carried[fact.name] = replace(value, fact=fact)

    def carry(self, value: Value, fact: ParameterFact) -> None:
        """Write a hyperparameter that means the same on the other side.

        Args:
            value: the hyperparameter of the call.
            fact: the parameter of the target.

        Raises:
            NotImplementedError: the converter does not supply it.
        """
        raise NotImplementedError

    def rate(self, value: Value, fact: ParameterFact) -> None:
        """Write the learning rate as the target takes it, or say why that cannot be done.

        Args:
            value: the learning rate of the call.
            fact: the target's learning rate.
        """
        shape = form(value.node, self.context.values) if value.node is not None else "number"
        if shape == "number" or self.source.schedules == self.target.schedules:
            self.carry(value, fact)
        elif shape == "unknown":
            self.write(fact, value.text, value)
            self.say(info("kept-expression", f"{value} is kept as it is written: right where it is a number"))
        elif shape == "call":
            self.call(value, fact)
        elif shape in self.target.rates:
            self.write(fact, value.text, value)
        else:
            self.say(error("learning-rate-form", f"{value} is {article(shape)}; {self.takes()}"))

    def call(self, value: Value, fact: ParameterFact) -> None:
        """Write a learning rate that some call makes: a schedule, or something that cannot be known.

        Args:
            value: the learning rate of the call: a call, or a name that is assigned one.
            fact: the target's learning rate.
        """
        kept = value.node.id if isinstance(value.node, ast.Name) else None
        node = self.context.values[kept] if kept is not None else value.node
        assert isinstance(node, ast.Call)
        name = _callee(node, self.context) or ""
        found = _schedule_of(self.source.schedules, name)
        if found is not None:
            schedule, kind = found
            there = schedule.classes.get(self.target.schedules)
            roles = _roles(node, kind)
            if there is not None and (full(there.target) == full(name) or (kept and self.same_framework())):
                self.write(fact, value.text, value)
                return
            if there is not None and roles is not None:
                texts = {role: (text_of(item, self.context.source), literal(item)) for role, item in roles.items()}
                defaults = {a.role: (repr(a.default), a.default) for a in kind.arguments if not a.required}
                text = self.spell(there, {**defaults, **texts})
                in_place = kept is not None and kept in self.context.in_place
                if kept is not None and not in_place and not self.repeatable(node):
                    why = f"{kept} is {text} there, if its names mean the same at the call; write that"
                    self.say(error("learning-rate-form", why))
                    return
                if kept is not None and in_place:
                    self.out.values[kept] = text
                    text = kept
                self.write(fact, text, value)
                self.say(info("schedule", f"{kind.target} is {there.target} there: {schedule.about}"))
                return
        if not self.same_framework() and (found is not None or self.foreign(name)):
            self.say(error("learning-rate-form", f"{value.text} is a schedule of {self.source.title}; {self.takes()}"))
            return
        self.write(fact, value.text, value)
        text = f"{value} is kept as it is written: right where the call returns a number; {self.takes()}"
        self.say(warning("kept-expression", text))

    def repeatable(self, node: ast.expr) -> bool:
        """Return whether an expression that was assigned to a name can be written in the call instead.

        Args:
            node: the expression.
        """
        names = [item.id for item in ast.walk(node) if isinstance(item, ast.Name)]
        return all(self.context.bindings.bound[name] <= 1 for name in names) and self.context.repeatable(node)

    def foreign(self, name: str) -> bool:
        """Return whether a dotted name is in a module with known schedules of the source's framework.

        Args:
            name: the dotted name of a called function.
        """
        homes = {
            found.target.rpartition(".")[0].split(".", 1)[-1]
            for schedule in MAPPING.schedules.values()
            if (found := schedule.classes.get(self.source.schedules)) is not None
        }
        module = name.rpartition(".")[0]
        return any(module == home or module.endswith(f".{home}") for home in homes)

    def takes(self) -> str:
        """Return a clause that says what the target takes as a learning rate."""
        forms = ["a number", *(_PLACES[item] for item in self.target.rates)]
        known = [
            found.target
            for schedule in MAPPING.schedules.values()
            if (found := schedule.classes.get(self.target.schedules)) is not None
        ]
        if not known:
            return f"{self.target.title} takes a number; what changes it later is made of the optimizer there"
        return f"{self.target.title} takes {' or '.join(forms)} (such as {', '.join(known)})"

    def same_framework(self) -> bool:
        """Return whether source and target name their schedules alike."""
        sides = (self.source.schedules, self.target.schedules)
        found = [[schedule.classes.get(side) for schedule in MAPPING.schedules.values()] for side in sides]
        names = [[known and known.target.rpartition(".")[2] for known in classes] for classes in found]
        return names[0] == names[1]

    def schedule_for(self, canonical: str) -> RateClass | None:
        """Return the target's schedule that a hyperparameter stands for, or None.

        Args:
            canonical: the hyperparameter.
        """
        for schedule in MAPPING.schedules.values():
            if schedule.canonical == canonical:
                return schedule.classes.get(self.target.schedules)
        return None

    def fold(self, value: Value, there: RateClass) -> None:
        """Write a decay of the learning rate as the schedule that it is.

        Args:
            value: the decay.
            there: the target's schedule.
        """
        rate = self.values[RATE]
        fact = self.target.named(RATE)
        assert fact is not None
        shape = form(rate.node, self.context.values) if rate.node is not None else "number"
        if shape in ("list", "callable", "call"):
            self.say(error("learning-rate-form", f"{value} beside {rate}: write one schedule that does both"))
            return
        text = self.spell(
            there, {"initial": (rate.text, rate.value), "rate": (value.text, value.value), "steps": ("1", 1)}
        )
        position = value.position if rate.position is None else rate.position
        self.write(fact, text, replace(rate, value=UNKNOWN, position=position))
        about = MAPPING.canonical[value.fact.canonical].about
        at = ""
        if UNKNOWN not in (rate.value, value.value):
            at = f"; at step 1000 it is {rate.value / (1 + value.value * 1000):.3g}"
        text = f"{value} ({about.rstrip('.').lower()}) is {there.target} there{at}"
        self.say(info("schedule", text))

    def spell(self, there: RateClass, texts: Mapping[str, tuple[str, Any]]) -> str:
        """Return the text of a schedule's call.

        Args:
            there: the target's schedule.
            texts: the text and the value of each argument, by role. Arguments that are equal to their defaults are left
                out.
        """
        parts: list[str] = []
        for argument in there.arguments:
            if argument.role in texts:
                text, value = texts[argument.role]
                if not argument.required and value == argument.default:
                    continue
                parts.append(f"{argument.name}={_rate_text(argument, text, value)}")
            elif argument.fill is not None:
                parts.append(f"{argument.name}={argument.fill}")
                text = f"{argument.name}= counts steps only if it is passed to {self.step_methods()}, too"
                self.say(warning("step-counter", text))
        if parts and there.arguments[0].role == "initial":
            parts[0] = parts[0].partition("=")[2]
        self.out.modules.append(there.target)
        return f"{self.context.local(there.target)}({', '.join(parts)})"

    def step_methods(self) -> str:
        """Return the names of the methods that step the target, for a message."""
        return " or ".join(f"{method.name}()" for method in self.target.dialect.methods)


def _rate_text(argument: RateArgument, text: str, value: Any) -> str:
    """Return the text of a schedule's argument; everything but counts and flags is a float."""
    number = as_float(value)
    return repr(number) if number is not value and argument.role in ("initial", "final", "rate", "power") else text


def as_float(value: Any) -> Any:
    """Return a whole number as a float; other values, and numbers that no float holds, as they are."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return value


def article(shape: str) -> str:
    """Return a form of a learning rate as a message says it, such as ``a list``."""
    return {"list": "a list", "callable": "a callable", "groups": "a list of groups"}.get(shape, shape)

"""Turn the arguments of one class into those of another; every fact comes from the mapping."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adamcompat.hyperparameters import check_value, unknown_keyword
from adamcompat.mapping.model import Adapter, Conflict, ParameterFact, RateArgument, RateClass, RateSchedule
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.arguments import UNKNOWN, Argument, form, literal, text_of
from adamcompat.translation.bindings import Bindings
from adamcompat.translation.effects import difference
from adamcompat.translation.messages import Message, Severity, error, info, warning
from adamcompat.translation.names import Signature, full
from adamcompat.translation.source import Source
from adamcompat.translation.trained import Trained, trained

_PARAMETERS = "parameters"
_RATE = "learning_rate"
# Types whose originals insist on a Python float somewhere, so that 1 is written 1.0.
_FLOATS = ("float", "beta", "learning_rate", "decay")
_RATE_PLACE = {"list": "a list", "schedule": "a schedule object", "callable": "a callable of nothing"}


@dataclass(frozen=True, slots=True)
class Value:
    """What one hyperparameter is set to.

    Attributes:
        fact: the parameter of the source.
        text: the expression.
        value: what it evaluates to, or UNKNOWN.
        node: the expression, parsed; None for a default.
        position: the argument that it stands in; None for a default.
    """

    fact: ParameterFact
    text: str
    value: Any
    node: ast.expr | None = None
    position: int | None = None

    @property
    def given(self) -> bool:
        """Whether the call says it, rather than the default."""
        return self.node is not None

    @property
    def effective(self) -> Any:
        """The value, where None means the value that changes nothing."""
        return MAPPING.canonical[self.fact.canonical].neutral if self.value is None else self.value

    @property
    def matters(self) -> bool:
        """Whether it may change anything."""
        return self.value is UNKNOWN or self.effective != MAPPING.canonical[self.fact.canonical].neutral

    def __str__(self) -> str:
        return f"{self.fact.name}={self.text}"


@dataclass(frozen=True, slots=True)
class NewArgument:
    """One argument of the translated call.

    Attributes:
        keyword: its keyword, or None where it is positional.
        text: the expression.
        position: the argument of the original call that it comes from, or None.
    """

    keyword: str | None
    text: str
    position: int | None

    def __str__(self) -> str:
        return self.text if self.keyword is None else f"{self.keyword}={self.text}"


@dataclass
class Conversion:
    """The arguments of the translated call and what there is to say about them.

    Attributes:
        arguments: of the translated call.
        messages: what there is to say.
        modules: dotted names that the arguments use.
        values: what must be assigned to the names that `Context.in_place` lists.
    """

    arguments: list[NewArgument] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is a translation."""
        return all(message.severity is not Severity.ERROR for message in self.messages)


@dataclass(frozen=True)
class Context:
    """What surrounds the call.

    Attributes:
        source: the source.
        bindings: what its names stand for.
        values: what they are assigned, for those with one assignment.
        nodes: every node of the source.
        parameters: the expression that stands for `params`, where it is known.
        local: how to write the dotted name of a schedule there.
        in_place: the names whose value can be written anew where they are assigned it.
        repeatable: whether an expression that is assigned to a name certainly means the same at the call.
    """

    source: Source
    bindings: Bindings
    values: Mapping[str, ast.expr]
    nodes: Sequence[ast.AST] = ()
    parameters: str = ""
    local: Callable[[str], str] = str
    in_place: Collection[str] = ()
    repeatable: Callable[[ast.expr], bool] = field(default=lambda node: True)


def convert(given: Sequence[Argument] | None, source: Signature, target: Signature, context: Context) -> Conversion:
    """Translate the arguments of a call.

    Args:
        given: the arguments; None where the call unpacks some.
        source, target: the class that is called, and the class to call.
        context: what surrounds the call.
    """
    out = Conversion()
    if given is None:
        out.messages.append(
            error("unpacked-arguments", "the call unpacks * or ** arguments, which cannot be read; write them out")
        )
        return out
    values = _bind(given, source, out.messages)
    if not out.ok:
        return out
    if source.dialect is not target.dialect:
        _unfold(values, source, context)
    _Converter(source, target, context, values, out).run()
    return out


def _bind(given: Sequence[Argument], source: Signature, messages: list[Message]) -> dict[str, Value]:
    """Canonical name to value, in the order of the source's signature; defaults included."""
    slots: dict[str, Argument] = {}
    signature = source.dialect.parameters
    for argument in given:
        if argument.keyword is not None:
            fact = source.find(argument.keyword)
        else:
            fact = signature[argument.position] if argument.position < len(signature) else None
        if fact is None:
            messages.append(_not_taken(argument, source))
        elif fact.name in slots:
            messages.append(error("invalid-call", f"{fact.name!r} is given twice"))
        else:
            slots[fact.name] = argument
    for fact in source.accepted:
        if fact.alias_of is not None and fact.name in slots:
            if fact.alias_of in slots:
                text = f"{fact.name}= wins over {fact.alias_of}= in {source.title}, so the latter is left out"
                messages.append(info("alias-wins", text))
            slots[fact.alias_of] = slots.pop(fact.name)
    values: dict[str, Value] = {}
    for fact in source.accepted:
        if fact.alias_of is not None:
            continue
        found = slots.get(fact.name)
        if found is not None:
            value = Value(fact, found.text, found.value, found.node, found.position)
            if message := _judge(value, fact, source, "invalid-call"):
                messages.append(message)
            if fact.zero_is_default and source.adapter is None and value.value == 0:
                text = f"{value} is {fact.name}={fact.default!r} in {source.title}, which takes 0 for not given"
                messages.append(info("zero-is-default", text))
                value = replace(value, text=repr(fact.default), value=fact.default)
            values[fact.canonical] = value
        elif fact.required:
            messages.append(error("invalid-call", f"{source.title} needs {fact.name!r}, which the call does not give"))
        else:
            values[fact.canonical] = Value(fact, repr(fact.default), fact.default)
    by_name = {value.fact.name: value for value in values.values()}
    for conflict in source.dialect.conflicts:
        if _both(conflict, by_name):
            how = "raises" if conflict.original == "raises" else "ignores one of them without a word"
            text = f"{' and '.join(conflict.pair)} exclude each other: {source.title} {how}; set only one"
            messages.append(error("conflict", text))
    return values


def not_taken(given: Sequence[Argument], source: Signature) -> list[Message]:
    """What is wrong with the arguments of a call that the class has no place for."""
    count = len(source.dialect.parameters)
    return [
        _not_taken(argument, source)
        for argument in given
        if (source.find(argument.keyword) is None if argument.keyword is not None else argument.position >= count)
    ]


def _both(conflict: Conflict, by_name: Mapping[str, Value]) -> bool:
    """Whether a call certainly sets both."""
    values = [by_name[name] for name in conflict.pair if name in by_name]
    return len(values) == 2 and all(value.value is not UNKNOWN and value.matters for value in values)


def _not_taken(argument: Argument, source: Signature) -> Message:
    if argument.keyword is None:
        count = len(source.dialect.parameters)
        return error("invalid-call", f"{source.title} takes {count} positional arguments, not {argument.position + 1}")
    adapter = source.adapter or Adapter(source.title, "", "", source.dialect.name, ())
    text = unknown_keyword(argument.keyword, adapter)
    return error("unknown-parameter", text)


def _judge(value: Value, fact: ParameterFact, signature: Signature, code: str) -> Message | None:
    """What is wrong with a literal for a parameter, if anything."""
    known = value.value
    if known is UNKNOWN or MAPPING.canonical[fact.canonical].scope in ("input", "group"):
        return None
    if fact.type in _FLOATS:
        known = _as_float(known)
    try:
        check_value(fact, known, signature.dialect)
    except (TypeError, ValueError) as problem:
        return error(code, f"{signature.title}: {problem}")
    return None


def _schedule_of(dialect: str, name: str) -> tuple[RateSchedule, RateClass] | None:
    """The schedule of a dialect by the last part of its class's name."""
    for schedule in MAPPING.schedules.values():
        found = schedule.classes.get(dialect)
        if found is not None and found.target.rpartition(".")[2] == name.rpartition(".")[2]:
            return schedule, found
    return None


def _roles(call: ast.Call, found: RateClass) -> dict[str, ast.expr] | None:
    """The arguments of a schedule's call by role, or None where they do not fit."""
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


def _unfold(values: dict[str, Value], source: Signature, context: Context) -> None:
    """Read a schedule that a hyperparameter of another dialect stands for as that hyperparameter."""
    rate = values.get(_RATE)
    if rate is None or not isinstance(rate.node, ast.Call):
        return
    name = _callee(rate.node, context)
    found = _schedule_of(source.schedules, name) if name else None
    if found is None or found[0].canonical is None or found[0].canonical in values:
        return
    roles = _roles(rate.node, found[1])
    if roles is None or literal(roles["steps"]) != 1 or not _default(roles, found[1], "staircase"):
        return
    accepted = (fact for dialect in MAPPING.dialects.values() for fact in dialect.accepted)
    fact = next(fact for fact in accepted if fact.canonical == found[0].canonical)
    for canonical, role, owner in ((_RATE, "initial", rate.fact), (fact.canonical, "rate", fact)):
        node = roles[role]
        values[canonical] = Value(owner, text_of(node, context.source), literal(node), node, rate.position)


def _default(roles: Mapping[str, ast.expr], found: RateClass, role: str) -> bool:
    argument = next(argument for argument in found.arguments if argument.role == role)
    return role not in roles or literal(roles[role]) == argument.default


def _callee(call: ast.Call, context: Context) -> str | None:
    """The dotted name of what is called: in full where an import tells, else as it is written."""
    name = context.bindings.resolve(call.func)
    return name or (ast.unparse(call.func) if isinstance(call.func, (ast.Name, ast.Attribute)) else None)


class _Converter:
    """One conversion: each hyperparameter of the source finds its place in the target, or a message."""

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
        self.out.messages.append(message)

    def run(self) -> None:
        for canonical, value in self.values.items():
            fact = self.target.named(canonical)
            if canonical == _PARAMETERS:
                self.parameters(value, fact)
            elif canonical == _RATE and fact is not None:
                self.rate(value, fact)
            elif fact is not None:
                self.carry(value, fact)
            elif value.matters and (schedule := self.schedule_for(canonical)) is not None:
                self.fold(value, schedule)
            elif value.matters:
                self.absent(value)
            elif value.given:
                self.say(info("left-out", f"{value} changes nothing and is left out"))
        needed = self.target.named(_PARAMETERS)
        if needed is not None and _PARAMETERS not in self.values:
            self.new[needed.name] = NewArgument(None, self.context.parameters or needed.name, None)
            if not self.context.parameters:
                text = (
                    f"{self.target.title} takes the parameters to update first: "
                    f"{needed.name} = model.trainable_params(), in the order of the gradients"
                )
                self.say(info("params-placeholder", text))
        self.conflicts()
        order = [fact.name for fact in self.target.accepted]
        self.out.arguments = [self.new[name] for name in sorted(self.new, key=order.index)]

    def parameters(self, value: Value, fact: ParameterFact | None) -> None:
        assert value.node is not None
        if fact is not None:
            keyword = None if fact is self.target.dialect.parameters[0] else fact.name
            self.new[fact.name] = NewArgument(keyword, value.text, value.position)
            return
        holds = trained(value.node, self.context.nodes)
        if holds is Trained.GROUPS:
            keys = ", ".join(fact.name for fact in self.source.dialect.groups if fact.canonical != "group_parameters")
            text = (
                f"{value.fact.name} holds parameter groups, which {self.target.title} does not have; "
                f"make one optimizer for each group (keys of a group: {keys})"
            )
            self.say(error("parameter-groups", text))
            return
        text = f"{self.target.title} takes the parameters at each step instead of {value}: apply_gradients(zip(...))"
        lost = "parameter groups, their own settings are lost"
        if holds is Trained.SOME:
            text += "; only these are to be trained, so pass only them, and their gradients"
            self.say(warning("some-parameters", text))
        elif holds is Trained.UNKNOWN:
            text += (
                f"; {value.text} cannot be read here: if it holds {lost}; if it leaves some out, these are trained, too"
            )
            self.say(warning("parameters-not-read", text))
        elif holds is Trained.OPEN:
            self.say(info("parameters-not-read", f"{text}; if {value.text} holds {lost}"))
        else:
            self.say(info("params-at-each-step", text))

    def carry(self, value: Value, fact: ParameterFact) -> None:
        """Write a hyperparameter that means the same on the other side."""
        neutral = MAPPING.canonical[fact.canonical].neutral
        default = neutral if fact.default is None else fact.default
        label = MAPPING.canonical[fact.canonical].scope == "label"
        if not value.given:
            if value.effective == default or label:
                return
        elif value.value is None:
            if fact.default is not None and fact.default != neutral and not label:
                self.say(error("invalid-call", f"{value}: {self.target.title} needs a value for {fact.name!r}"))
            return
        if message := _judge(value, fact, self.target, "out-of-range"):
            self.say(message)
            return
        if fact.zero_is_default and self.target.adapter is None and value.value == 0:
            text = f"{value}: {self.target.title} takes 0 for not given and uses {fact.default!r}; write a tiny number"
            self.say(error("out-of-range", text))
            return
        if value.node is not None and value.value is UNKNOWN and fact.type not in ("beta", "decay", _RATE):
            shape = form(value.node, self.context.values)
            if shape in ("callable", "list"):
                text = f"{value}: {self.target.title}'s {fact.name!r} cannot be {_article(shape)}"
                self.say(error("other-form", text))
                return
        self.write(fact, self.number(value.text, value.value, fact), value)

    def number(self, text: str, value: Any, fact: ParameterFact) -> str:
        """A literal as the parameter's type wants it."""
        number = _as_float(value)
        return repr(number) if number is not value and fact.type in _FLOATS else text

    def write(self, fact: ParameterFact, text: str, value: Value) -> None:
        self.new[fact.name] = NewArgument(fact.name, text, value.position)
        self.carried[fact.name] = replace(value, fact=fact)

    def rate(self, value: Value, fact: ParameterFact) -> None:
        """Write the learning rate, whose idioms differ."""
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
            self.say(error("learning-rate-form", f"{value} is {_article(shape)}; {self.takes()}"))

    def call(self, value: Value, fact: ParameterFact) -> None:
        """Write a learning rate that some call makes: a schedule, or who knows what."""
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
        """Whether an expression that was assigned to a name can be written in the call instead."""
        names = [item.id for item in ast.walk(node) if isinstance(item, ast.Name)]
        return all(self.context.bindings.bound[name] <= 1 for name in names) and self.context.repeatable(node)

    def foreign(self, name: str) -> bool:
        """Whether a call stands beside the known schedules of the source's framework."""
        homes = {
            found.target.rpartition(".")[0].split(".", 1)[-1]
            for schedule in MAPPING.schedules.values()
            if (found := schedule.classes.get(self.source.schedules)) is not None
        }
        module = name.rpartition(".")[0]
        return any(module == home or module.endswith(f".{home}") for home in homes)

    def takes(self) -> str:
        """What the target takes as a learning rate."""
        forms = ["a number", *(_RATE_PLACE[item] for item in self.target.rates)]
        known = [
            found.target
            for schedule in MAPPING.schedules.values()
            if (found := schedule.classes.get(self.target.schedules)) is not None
        ]
        return f"{self.target.title} takes {' or '.join(forms)} (such as {', '.join(known)})"

    def same_framework(self) -> bool:
        """Whether source and target name their schedules alike."""
        sides = (self.source.schedules, self.target.schedules)
        names = [[s.classes[side].target.rpartition(".")[2] for s in MAPPING.schedules.values()] for side in sides]
        return names[0] == names[1]

    def schedule_for(self, canonical: str) -> RateClass | None:
        """The target's schedule that a hyperparameter stands for."""
        for schedule in MAPPING.schedules.values():
            if schedule.canonical == canonical:
                return schedule.classes.get(self.target.schedules)
        return None

    def fold(self, value: Value, there: RateClass) -> None:
        """Write a decay of the learning rate as the schedule that it is."""
        rate = self.values[_RATE]
        fact = self.target.named(_RATE)
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
        """The call of a schedule."""
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
        return " or ".join(f"{method.name}()" for method in self.target.dialect.methods)

    def absent(self, value: Value) -> None:
        """Say what becomes of a hyperparameter that the target does not have."""
        canonical = MAPPING.canonical[value.fact.canonical]
        same_name = self.target.find(value.fact.name)
        if same_name is not None:
            self.other_meaning(value, same_name)
            return
        reason = f"{value}: {self.target.title} has no counterpart ({canonical.about.rstrip('.')})"
        if value.fact.absent == "ignore":
            if value.given:
                self.say(info("left-out", f"{reason}; it is left out"))
            return
        known = {name: item.effective for name, item in self.hyperparameters().items()}
        without = {name: item for name, item in known.items() if name != value.fact.canonical}
        reason += difference("with it", known, "without", without)
        if value.fact.absent == "warn":
            self.say(warning("no-counterpart", f"{reason}; it is left out"))
        else:
            self.say(error("no-counterpart", reason))

    def other_meaning(self, value: Value, fact: ParameterFact) -> None:
        """Carry a parameter over to one of the same name, with a warning that says what differs."""
        known = {name: item.effective for name, item in self.hyperparameters().items()}
        others = {name: item for name, item in known.items() if name != value.fact.canonical}
        others[fact.canonical] = value.effective
        clauses = [
            f"in {side.title}, {MAPPING.canonical[item.canonical].about.rstrip('.')}"
            for side, item in ((self.source, value.fact), (self.target, fact))
        ]
        text = f"{value} means something else: {'; '.join(clauses)}"
        text += f" ({fact.note.rstrip('.')})" if fact.note else ""
        text += difference(f"in {self.source.title}", known, f"in {self.target.title}", others)
        text += "; the expression is kept as it is written" if value.value is UNKNOWN else ""
        self.say(warning("other-meaning", text))
        if message := _judge(value, fact, self.target, "out-of-range"):
            self.say(message)
        elif value.node is not None and form(value.node, self.context.values) in ("callable", "list"):
            text = f"{value}: {self.target.title}'s {fact.name!r} must be a number"
            self.say(error("other-form", text))
        else:
            self.write(fact, self.number(value.text, value.value, fact), value)

    def hyperparameters(self) -> dict[str, Value]:
        """What decides the numbers of a step."""
        return {
            name: value
            for name, value in self.values.items()
            if MAPPING.canonical[name].scope == "hyperparameter" and (value.given or value.fact.absent != "ignore")
        }

    def conflicts(self) -> None:
        for conflict in self.target.dialect.conflicts:
            both = [self.carried[name] for name in conflict.pair if name in self.carried]
            if len(both) < 2 or not all(value.matters for value in both):
                continue
            pair = " and ".join(conflict.pair)
            if any(value.value is UNKNOWN for value in both):
                self.say(warning("conflict", f"{pair} exclude each other in {self.target.title}; set only one"))
            else:
                self.say(error("conflict", f"{pair} exclude each other in {self.target.title}, which takes only one"))


def _rate_text(argument: RateArgument, text: str, value: Any) -> str:
    """A schedule's argument; everything but counts and flags is a float."""
    number = _as_float(value)
    return repr(number) if number is not value and argument.role in ("initial", "final", "rate", "power") else text


def _as_float(value: Any) -> Any:
    """A whole number as a float; anything else, and what no float holds, as it is."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return value


def _article(shape: str) -> str:
    return {"list": "a list", "callable": "a callable", "groups": "a list of groups"}.get(shape, shape)

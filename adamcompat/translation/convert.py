"""Turn the arguments of one class into those of another; every fact comes from the mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adamcompat.hyperparameters import check_value, unknown_keyword
from adamcompat.mapping.facts import ParameterFact, TupleFact
from adamcompat.mapping.model import Adapter, Conflict
from adamcompat.mapping.tables import MAPPING
from adamcompat.step_groups import NOT_HERE
from adamcompat.translation.alternatives import advise, candidates
from adamcompat.translation.arguments import UNKNOWN, Argument, form
from adamcompat.translation.conversion import Context, Conversion, NewArgument, Value
from adamcompat.translation.decays import Decays, decouple
from adamcompat.translation.effects import difference
from adamcompat.translation.forms import other_forms
from adamcompat.translation.groups import Groups, group_keys
from adamcompat.translation.messages import Message, error, info, warning
from adamcompat.translation.names import Signature
from adamcompat.translation.rates import RATE, article, as_float, unfold
from adamcompat.translation.trained import Trained, listing, trained
from adamcompat.translation.tuples import defaults, put_together, take_apart

_PARAMETERS = "parameters"
# Types whose originals insist on a Python float somewhere, so that 1 is written 1.0.
_FLOATS = ("float", "beta", "learning_rate", "decay")


def convert(given: Sequence[Argument] | None, source: Signature, target: Signature, context: Context) -> Conversion:
    """Translate the arguments of a call of one class for a call of another.

    Args:
        given: the arguments; None where the call unpacks some, which is refused.
        source: the class that is called.
        target: the class to call.
        context: the code around the call.

    Returns:
        The new arguments, and the remarks. Where one of them is an error, the arguments are no translation. A remark on
        what the target computes may name another class of its framework that computes the same.
    """
    out = _converted(given, source, target, context)
    mapping = context.bindings.catalogue.mapping
    others = candidates(source, target, mapping)

    calls = ((other, _converted(given, source, other, context)) for other in others)
    advise(out, ((other, call) for other, call in calls if not _is_refused(call, other)))
    return out


def _is_refused(call: Conversion, target: Signature) -> bool:
    """Return whether a class of ours refuses a setting of a call, which needs the original's own tensors."""
    if target.adapter is None or target.adapter.replaces(target.dialect):
        return False
    refused = [fact.name for name in NOT_HERE if (fact := target.named(name)) is not None]
    return any(argument.keyword in refused and argument.text != "False" for argument in call.arguments)


def _converted(given: Sequence[Argument] | None, source: Signature, target: Signature, context: Context) -> Conversion:
    out = Conversion()
    if given is None:
        out.messages.append(
            error("unpacked-arguments", "the call unpacks * or ** arguments, which cannot be read; write them out")
        )
        return out
    values = _bind(given, source, context, out.messages)
    if not out.ok:
        return out
    if source.dialect is not target.dialect:
        unfold(values, source, context)
        decouple(values, target, out.messages.append)
        out.messages += other_forms(source, target, values, context)
    _Converter(source, target, context, values, out).run()
    return out


def _bind(given: Sequence[Argument], source: Signature, context: Context, messages: list[Message]) -> dict[str, Value]:
    """Return canonical names to values, in the order of the source's signature; defaults are included."""
    slots: dict[str, Argument] = {}
    signature = source.positional
    for argument in given:
        if argument.keyword is not None:
            taken = source.find(argument.keyword)
        else:
            taken = signature[argument.position] if argument.position < len(signature) else None
        if taken is None:
            messages.append(_not_taken(argument, source))
        elif taken.name in slots:
            messages.append(error("invalid-call", f"{taken.name!r} is given twice"))
        else:
            slots[taken.name] = argument
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
        if found is None and fact.required:
            messages.append(error("invalid-call", f"{source.title} needs {fact.name!r}, which the call does not give"))
        elif isinstance(fact, TupleFact):
            elements = defaults(fact)
            if found is not None:
                elements = take_apart(fact, found, source, context, messages.append)
                judged = (_judge(value, value.fact, source, "invalid-call") for value in elements)
                messages += [message for message in judged if message is not None]
            values |= {value.fact.canonical: value for value in elements}
        elif found is not None:
            value = Value(fact, found.text, found.value, found.node, found.position)
            if message := _judge(value, fact, source, "invalid-call"):
                messages.append(message)
            if source.reads_as_default(fact, value.value):
                text = f"{value} is {fact.name}={fact.default!r} in {source.title}, which takes that for not given"
                messages.append(info("read-as-default", text))
                value = replace(value, text=repr(fact.default), value=fact.default)
            values[fact.canonical] = value
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
    """Return a message for each argument of a call that the class has no place for.

    Args:
        given: the arguments of the call.
        source: the class that is called.
    """
    count = len(source.positional)
    return [
        _not_taken(argument, source)
        for argument in given
        if (source.find(argument.keyword) is None if argument.keyword is not None else argument.position >= count)
    ]


def _both(conflict: Conflict, by_name: Mapping[str, Value]) -> bool:
    """Return whether a call certainly sets both parameters of a conflict."""
    values = [by_name[name] for name in conflict.pair if name in by_name]
    return len(values) == 2 and all(value.value is not UNKNOWN and value.matters for value in values)


def _not_taken(argument: Argument, source: Signature) -> Message:
    if argument.keyword is None:
        count = len(source.positional)
        return error("invalid-call", f"{source.title} takes {count} positional arguments, not {argument.position + 1}")
    adapter = source.adapter or Adapter(source.title, "", "", source.dialect.name, ())
    text = unknown_keyword(argument.keyword, adapter, source.dialect)
    return error("unknown-parameter", text)


def _judge(value: Value, fact: ParameterFact, signature: Signature, code: str) -> Message | None:
    """Return an error where a literal is not a value that the parameter takes; else None."""
    known = value.value
    if (
        known is UNKNOWN
        or signature.reads_as_default(fact, known)
        or MAPPING.canonical[fact.canonical].scope in ("input", "group")
    ):
        return None
    if fact.type in _FLOATS:
        known = as_float(known)
    try:
        check_value(fact, known, signature.dialect)
    except (TypeError, ValueError) as problem:
        return error(code, f"{signature.title}: {problem}")
    return None


def at_each_step(signature: Signature, canonical: str) -> str | None:
    """Return the name of the argument of the step that has a meaning, or None.

    Args:
        signature: the class whose method makes the step.
        canonical: the meaning, a canonical name.

    >>> from adamcompat.translation.names import original
    >>> at_each_step(original(MAPPING.dialects["onnx"]), "learning_rate")
    'R'
    """
    step = signature.dialect.method("step")
    arguments = () if step is None else step.arguments
    return next((argument.name for argument in arguments if argument.canonical == canonical), None)


class _Converter(Groups, Decays):
    """Convert one call: each hyperparameter of the source finds its place in the target, or a message."""

    def run(self) -> None:
        given = self.values.get(_PARAMETERS)
        if given is not None and (given.node is None or given.value is None):
            # Left out where they may be.
            del self.values[_PARAMETERS]
        for canonical, value in self.values.items():
            fact = self.target.named(canonical)
            if canonical == _PARAMETERS:
                self.parameters(value, fact)
            elif canonical == RATE and fact is not None:
                self.rate(value, fact)
            elif fact is not None:
                self.carry(value, fact)
            elif value.matters and (pair := self.switched(value)) is not None:
                self.switch(value, *pair)
            elif (value.given or value.matters) and (other := self.counterpart(value)) is not None:
                self.rescale(value, other)
            elif value.matters and (schedule := self.schedule_for(canonical)) is not None:
                self.fold(value, schedule)
            elif canonical == RATE and (place := at_each_step(self.target, RATE)) is not None:
                self.say(info("rate-at-each-step", f"{self.target.title} takes {value} at each step, as {place}"))
            elif value.matters:
                self.absent(value)
            elif value.given:
                self.say(info("left-out", f"{value} changes nothing and is left out"))
        takes = self.target.named(RATE)
        if takes is not None and RATE not in self.values and (place := at_each_step(self.source, RATE)) is not None:
            text = f"{self.source.title} takes the learning rate at each step, as {place}: give it as {takes.name}"
            self.say(warning("rate-at-each-step", text))
            if takes.required:
                self.new[takes.name] = NewArgument(takes.name, takes.name, None)
        needed = self.target.named(_PARAMETERS)
        if needed is not None and _PARAMETERS not in self.values:
            keyword = None if needed is self.target.dialect.parameters[0] else needed.name
            self.new[needed.name] = NewArgument(keyword, self.context.parameters or needed.name, None)
            if not self.context.parameters:
                sorts = ", in the order of the gradients" if self.target.dialect.protocol == "call" else ""
                text = (
                    f"{self.target.title} takes the parameters to update first: "
                    f"{needed.name} = model{listing(self.target)}{sorts}"
                )
                self.say(info("params-placeholder", text))
        if self.target.dialect.protocol == "node":
            text = f"{self.target.name} is an operator of a graph: what stands here are its attributes, and no call"
            self.say(warning("operator", text))
        devices = self.target.dialect.devices if self.target.adapter is None else ()
        if devices:
            text = f"{self.target.title} runs on {', '.join(devices)} alone; what it computes was read, not measured"
            self.say(warning("other-device", text))
        self.switch_off()
        self.conflicts()
        put_together(self.target, self.new, self.carried, self.say)
        order = [fact.name for fact in self.target.accepted]
        self.out.arguments = [self.new[name] for name in sorted(self.new, key=order.index)]

    def parameters(self, value: Value, fact: ParameterFact | None) -> None:
        assert value.node is not None
        if fact is not None:
            keyword = None if fact is self.target.dialect.parameters[0] else fact.name
            text = self.lists(value)
            if text is not None:
                self.new[fact.name] = NewArgument(keyword, text, value.position)
            return
        holds = trained(value.node, self.context.nodes)
        if holds is Trained.GROUPS:
            keys = ", ".join(group_keys(self.source))
            text = (
                f"{value.fact.name} holds parameter groups, which {self.target.title} does not have; "
                f"make one optimizer for each group (keys of a group: {keys})"
            )
            self.say(error("parameter-groups", text))
            return
        step = self.target.dialect.method("step")
        how = "apply_gradients(zip(...))"
        if step is not None and self.target.dialect.protocol != "apply_gradients":
            how = f"{step.name}({', '.join(argument.name for argument in step.arguments)})"
        text = f"{self.target.title} takes the parameters at each step instead of {value}: {how}"
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

    def switch_off(self) -> None:
        """Write neutral values for parameters that the source lacks, and that the target requires or has on."""
        for fact in (part for entry in self.target.accepted for part in entry.parts):
            entry = MAPPING.canonical[fact.canonical]
            unknown = fact.canonical not in self.values and fact.name not in self.new and fact.alias_of is None
            works = fact.required or fact.default not in (None, entry.neutral)
            if unknown and works and entry.scope == "hyperparameter" and entry.neutral is not None:
                self.write(fact, repr(entry.neutral), Value(fact, repr(entry.neutral), entry.neutral))

    def carry(self, value: Value, fact: ParameterFact) -> None:
        """Write a hyperparameter that means the same on the other side."""
        if value.matters and self.target.ignores(fact) and not self.source.ignores(value.fact):
            self.say(error("no-counterpart", f"{value}: {self.target.title} accepts {fact.name!r} and ignores it"))
            return
        if value.matters and self.source.ignores(value.fact) and not self.target.ignores(fact):
            text = f"{value}: {self.source.title} accepts that and ignores it, and {self.target.title} does it"
            self.say(warning("ignored-before", text))
        neutral = MAPPING.canonical[fact.canonical].neutral
        default = neutral if fact.default is None else fact.default
        label = MAPPING.canonical[fact.canonical].scope == "label"
        if not value.given:
            if (value.effective == default and not fact.required) or label:
                return
        elif value.value is None and (label or (fact.default in (None, neutral) and not fact.required)):
            return
        if value.value is None:
            if neutral is None:
                self.say(error("invalid-call", f"{value}: {self.target.title} needs a value for {fact.name!r}"))
            else:
                self.write(fact, repr(neutral), replace(value, value=neutral))
            return
        if message := _judge(value, fact, self.target, "out-of-range"):
            self.say(message)
            return
        if self.target.reads_as_default(fact, value.value):
            uses = f"{value}: {self.target.title} takes {value.value!r} for not given and uses {fact.default!r}"
            text = f"{uses}; write a tiny number"
            self.say(error("out-of-range", text))
            return
        if value.node is not None and value.value is UNKNOWN and fact.type not in ("beta", "decay", RATE):
            shape = form(value.node, self.context.values)
            if shape in ("callable", "list"):
                text = f"{value}: {self.target.title}'s {fact.name!r} cannot be {article(shape)}"
                self.say(error("other-form", text))
                return
        self.write(fact, self.number(value.text, value.value, fact), value)

    def number(self, text: str, value: Any, fact: ParameterFact) -> str:
        """Return a literal as the parameter's type wants it: a whole number as a float where that is needed.

        Args:
            text: the literal, as it is written.
            value: its value.
            fact: the parameter that it is given to.
        """
        number = as_float(value)
        return repr(number) if number is not value and fact.type in _FLOATS else text

    def absent(self, value: Value) -> None:
        """Say how a hyperparameter is treated that the target does not have."""
        canonical = MAPPING.canonical[value.fact.canonical]
        same_name = self.target.find(value.fact.name)
        if isinstance(same_name, ParameterFact):
            self.other_meaning(value, same_name)
            return
        reason = f"{value}: {self.target.title} has no counterpart ({canonical.about.rstrip('.')})"
        if value.fact.absent == "ignore":
            if value.given:
                self.say(info("left-out", f"{reason}; it is left out"))
            return
        known = {name: item.effective for name, item in self.hyperparameters().items()}
        without = {name: item for name, item in known.items() if name != value.fact.canonical}
        reason += difference(self.source, known, self.source, without, ("with it", "without"))
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
        names = (f"in {self.source.title}", f"in {self.target.title}")
        text += difference(self.source, known, self.target, others, names)
        if "refuse" in (value.fact.mistaken, fact.mistaken):
            self.say(error("other-meaning", text))
            return
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
        """Return the values that decide the numbers of a step, by canonical names."""
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

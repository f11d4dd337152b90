"""Migrate to a framework's own classes: calls are translated, steps rewritten where that is safe."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from adamcompat.mapping.model import Dialect
from adamcompat.migrate.editor import Editor
from adamcompat.migrate.findings import Finding
from adamcompat.migrate.loops import PROTOCOL, of_loops, report
from adamcompat.migrate.module import Import, Module, Use
from adamcompat.migrate.sites import Optimizer, optimizers, step_of
from adamcompat.migrate.steps import (
    Problem,
    Step,
    all_of,
    compiled_model,
    known_at,
    to_apply_gradients,
    to_call,
    unknown_method,
)
from adamcompat.migrate.strings import StringForm, mentions, string_forms
from adamcompat.translation.alternatives import akin
from adamcompat.translation.arguments import arguments
from adamcompat.translation.conversion import Context, Conversion
from adamcompat.translation.convert import convert
from adamcompat.translation.messages import Message, Severity, error, info, warning
from adamcompat.translation.names import CUSTOMARY, canonical, full, original

# What is said to who translates one call, and goes without saying in a file; the second where steps are rewritten.
_PLACEHOLDER, _AT_EACH_STEP = "params-placeholder", "params-at-each-step"
# Where the class itself is the wrong one, no argument of it can be left out.
_WRONG_CLASS = ("bias-correction", "other-meaning")


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan the rewriting of one construction.

    Attributes:
        target: the dialect of the class to write.
        conversion: the arguments of the new call, and the remarks on it.
        steps: the calls that step the optimizer, with the text to write for each.
        problems: the obstacles, each with its place and its message.
    """

    target: Dialect
    conversion: Conversion
    steps: tuple[Step, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether the call is rewritten."""
        return self.conversion.ok and not self.problems


def migrate(module: Module, editor: Editor, targets: Sequence[Dialect]) -> None:
    """Plan the edits that write a framework's own calls.

    Args:
        module: the module.
        editor: takes the edits and the findings.
        targets: the dialects of the framework's classes, the first of which is its Adam. They share one calling
            convention.
    """
    protocol = targets[0].protocol
    kept = {id(optimizer.use): optimizer for optimizer in optimizers(module)}
    originals = [use for use in module.uses if use.signature.adapter is None]
    uses = [use for use in originals if use.signature.dialect not in targets]
    for use in originals:
        if use.signature.dialect in targets and use.call is not None:
            for message in use.misfits:
                editor.say(use.call, message)
    plans = _plans(module, [use for use in uses if use.call is not None], targets, kept)
    done: set[int] = set()
    looping = of_loops(uses, [protocol])
    for use in uses:
        crosses = use.signature.dialect.protocol != protocol
        if use.call is None:
            if crosses and not isinstance(module.parents.get(use.node), ast.Attribute):
                text = f"{module.source(use.node)} is used as a value, not called; change it by hand"
                editor.say(use.node, error("class-as-value", text))
            elif not crosses and module.makes(use.node):
                text = f"{module.source(use.node)} is used as a value, not called, and keeps its calling convention"
                editor.say(use.node, info("class-as-value", text))
            continue
        plan = plans[id(use)]
        _say(module, editor, use, plan)
        if plan.ok:
            _write(module, editor, use, plan)
            done.add(id(use))
        for node in kept[id(use)].others if id(use) in kept and use not in looping else []:
            if crosses or isinstance(module.parents[node], ast.Attribute):
                text = f"{module.source(_whole(module, node))} uses the optimizer in a way that is not rewritten"
                editor.say(node, warning("other-use", text))
    _write_values(module, editor, uses, plans)
    _drop_imports(module, editor, done, targets)
    report(module, editor, looping, targets[0].title, protocol)
    forms = editor.forms = string_forms(module)
    written = [form for form in forms if form.dialect not in targets and _string(module, editor, form, targets)]
    for mention in mentions(module, forms):
        if mention.dialect not in [target.name for target in targets]:
            editor.say(mention.node, mention.message)
    foreign = {use.signature.dialect.title for use in uses if use.signature.dialect.protocol != protocol}
    foreign |= {form.dialect.title for form in written}
    if foreign:
        text = (
            f"the optimizer is only part of porting this file from {' and '.join(sorted(foreign))} to "
            f"{targets[0].title}: model, data, gradients and the training loop are left as they are"
        )
        editor.findings.append(Finding(warning("rest-of-the-model", text)))


def _plans(
    module: Module, uses: Sequence[Use], targets: Sequence[Dialect], kept: dict[int, Optimizer]
) -> dict[int, Plan]:
    """Return a plan for each construction.

    A schedule that has a name is written anew where it is made, if every place that reads it is rewritten.
    """
    readers = _schedules_to_write(module, uses)
    while True:
        plans = {
            id(use): _best([_plan(module, use, target, kept.get(id(use)), readers) for target in targets], use)
            for use in uses
        }
        written = {name: {_value(plans[id(use)], name) for use in found} for name, found in readers.items()}
        left = {name: found for name, found in readers.items() if len(written[name]) == 1 and "" not in written[name]}
        if len(left) == len(readers):
            return plans
        readers = left


def _best(plans: Sequence[Plan], use: Use) -> Plan:
    """Return the plan with the fewest errors and warnings; of several that of the class with the same name.

    Where several are refused alike, the first says why the others are, too.
    """
    fewest = min(_trouble(plan.conversion) for plan in plans)
    equal = [plan for plan in plans if _trouble(plan.conversion) == fewest]
    best = next((plan for plan in equal if akin(original(plan.target), use.signature)), equal[0])
    _say_why(best.conversion, [plan.conversion for plan in plans])
    return best


def _trouble(conversion: Conversion) -> tuple[int, int]:
    severities = [message.severity for message in conversion.messages]
    return severities.count(Severity.ERROR), severities.count(Severity.WARNING)


def _say_why(best: Conversion, others: Sequence[Conversion]) -> None:
    """Add to the errors of a conversion those of other codes from conversions that have as many."""
    for other in others:
        if not best.ok and _trouble(other)[0] == _trouble(best)[0]:
            known = {message.code for message in best.messages}
            errors = (message for message in other.messages if message.severity is Severity.ERROR)
            best.messages += [message for message in errors if message.code not in known]


def _value(plan: Plan, name: str) -> str:
    """Return the expression that a plan wants a name to be assigned, or ""."""
    return plan.conversion.values.get(name, "") if plan.ok else ""


def _schedules_to_write(module: Module, uses: Sequence[Use]) -> dict[str, list[Use]]:
    """Return the names of schedules that only these constructions read, with the constructions."""
    readers: dict[str, list[Use]] = {}
    for use in uses:
        assert use.call is not None
        for argument in arguments(use.call, module.code) or ():
            name = argument.node.id if isinstance(argument.node, ast.Name) else ""
            value = module.values.get(name)
            if isinstance(value, ast.Call) and _imports_before(module, use, value) and not module.ignored(value):
                readers.setdefault(name, []).append(use)
    reads = [node.id for node in module.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    shared = {name for node in module.nodes if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names}
    return {name: found for name, found in readers.items() if reads.count(name) == len(found) and name not in shared}


def _imports_before(module: Module, use: Use, place: ast.expr) -> bool:
    """Return whether an import beside that of an optimizer's class is done before a place."""
    function = module.function(place)
    return all(
        node.lineno < place.lineno and module.function(node) in (None, function) for node in module.bringers(use.node)
    )


def _plan(module: Module, use: Use, target: Dialect, kept: Optimizer | None, in_place: Collection[str]) -> Plan:
    assert use.call is not None
    source = use.signature.dialect
    problems: list[Problem] = []
    steps: list[Step] = []
    parameters, why = "", ""
    if source.protocol == target.protocol and (step := step_of(module, use.call)) is not None:
        kept = Optimizer("", use, 1, [step])
    if source.protocol == PROTOCOL != target.protocol:
        # What is trained stands in the call, and no step can be written: the loop is reported by itself.
        pass
    elif kept is not None and kept.stored > 1 and kept.steps:
        text = (
            f"{kept.key} is given a value in {kept.stored} places, so its steps cannot be told apart; use one name each"
        )
        problems.append((use.call, error("unclear-optimizer", text)))
    elif source.protocol == target.protocol:
        problems = [problem for step in (kept.steps if kept else []) if (problem := unknown_method(step, target))]
    elif target.protocol == "call":
        parameters, why = to_call(module, use, kept, steps, problems)
    elif kept is not None:
        to_apply_gradients(module, use, kept, steps, problems)
    conversion = convert(
        arguments(use.call, module.code),
        use.signature,
        original(target, module.catalogue.mapping),
        _context(module, use.call, target, parameters, in_place),
    )
    if why:
        text = f"{target.title} takes the parameters when the optimizer is made, and {why}"
        problems.append((use.call, error("parameters-unknown", text)))
    if steps and not problems:
        # What is trained stands at the steps now.
        conversion.messages = [item for item in conversion.messages if item.code != "some-parameters"]
    return Plan(target, conversion, tuple(steps), tuple(problems))


def _context(
    module: Module, place: ast.expr, target: Dialect, parameters: str, in_place: Collection[str] = ()
) -> Context:
    around = [None, *module.ancestors(place)]
    return Context(
        module.code,
        module.bindings,
        module.values,
        module.nodes,
        parameters,
        lambda name: _local(module, name, target) or name,
        in_place,
        lambda node: module.function(node) in around,
    )


def _say(module: Module, editor: Editor, use: Use, plan: Plan) -> None:
    """Report the remarks of a plan; where nothing is rewritten, with the call to write by hand."""
    assert use.call is not None
    suggested = ""
    wrong = any(item.code in _WRONG_CLASS and item.severity is Severity.ERROR for item in plan.conversion.messages)
    if not plan.ok and plan.conversion.arguments and not wrong:
        call = f"{_callee(module, use, plan.target)}({', '.join(map(str, plan.conversion.arguments))})"
        suggested = f"; suggested: {call}" if plan.conversion.ok else f"; without that: {call}"
    said: list[tuple[ast.expr, Message]] = [(use.call, message) for message in plan.conversion.messages]
    for node, message in [*said, *plan.problems]:
        if message.code == _PLACEHOLDER or (message.code == _AT_EACH_STEP and plan.steps):
            continue
        if message.code == "parameters-not-read":
            # In a file a name that nothing gives a value has one all the same.
            message = replace(message, severity=Severity.WARNING)
        if message.severity is Severity.ERROR and suggested:
            message, suggested = replace(message, text=message.text + suggested), ""
        editor.say(node, message, of=use.call)


def _string(module: Module, editor: Editor, form: StringForm, targets: Sequence[Dialect]) -> bool:
    """Write the call for a string that names one of Keras's members, or report why not.

    Returns:
        Whether it was written.
    """
    model = form.call.func.value if isinstance(form.call.func, ast.Attribute) else None
    certain = form.certain and compiled_model(module, form.node) is model and model is not None
    parameters = all_of(module, model) if model is not None and certain and known_at(module, model, form.call) else ""
    tried = []
    for target in targets:
        context = _context(module, form.node, target, parameters)
        tried.append((target, convert((), original(form.dialect), original(target), context)))
    target, conversion = min(tried, key=lambda item: _trouble(item[1]))
    _say_why(conversion, [other for _, other in tried])
    callee = _local(module, target.target, target) or target.target
    call = f"{callee}({', '.join(map(str, conversion.arguments))})"
    if parameters and conversion.ok and form.after is not None:
        editor.replace(form.node, call)
        if _local(module, target.target, target) is None:
            _import_root(module, editor, [form.after], target.target)
        editor.say(form.node, info("string-replaced", f"{module.source(form.node)} becomes {call}"))
        return True
    what = f"{'is' if form.certain else 'may be'} Keras's {form.dialect.target.rpartition('.')[2]}"
    text = f"{module.source(form.node)} {what}, and {target.title} has no such name"
    text += f"; suggested: {call}" if conversion.ok else ""
    editor.say(form.node, error("string-form", text) if form.after is not None else warning("unclear-string", text))
    for message in conversion.messages:
        if message.severity is Severity.ERROR and form.after is not None:
            editor.say(form.node, message)
    return False


def _callee(module: Module, use: Use, target: Dialect) -> str:
    """Return the text of the target's class in place of a use."""
    if use.name in map(full, target.names):
        return module.source(use.node)
    return _local(module, target.target, target) or target.target


def _write(module: Module, editor: Editor, use: Use, plan: Plan) -> None:
    from adamcompat.migrate.rewrite import call as rewritten

    assert use.call is not None
    target = plan.target
    callee = _callee(module, use, target)
    same = callee == module.source(use.node)
    for name in plan.conversion.modules + ([] if same else [target.target]):
        if _local(module, name, target) is None:
            _import_root(module, editor, module.bringers(use.node), name)
    editor.replace(use.call, rewritten(module.source(use.call), callee, plan.conversion.arguments))
    old = module.source(use.node)
    text = f"{old} of {use.signature.dialect.title} becomes {callee} of {target.title}"
    editor.say(use.call, info("call-rewritten", text))
    for step, new in plan.steps:
        editor.replace(step, new)
        editor.say(step, info("step-rewritten", f"{module.source(step)} becomes {new}"))


def _write_values(module: Module, editor: Editor, uses: Sequence[Use], plans: dict[int, Plan]) -> None:
    """Write schedules anew where they are made."""
    values: dict[str, str] = {}
    for use in uses:
        if id(use) in plans and plans[id(use)].ok:
            values |= plans[id(use)].conversion.values
    for name, text in values.items():
        node = module.values[name]
        editor.replace(node, text)
        editor.say(node, info("schedule-rewritten", f"{module.source(node)} becomes {text}"))


def _local(module: Module, name: str, target: Dialect) -> str | None:
    """Return the text with which a module can write a dotted name by the imports that it has, or None."""
    for other in [name, *_synonyms(name, target)]:
        for local, meanings in module.bindings.imported.items():
            meaning = next(iter(meanings))
            usable = len(meanings) == 1 and local not in module.bindings.rebound
            if usable and module.binders(local)[0].col_offset == 0 and other.startswith(f"{meaning}."):
                return local + other[len(meaning) :]
    return None


def _synonyms(name: str, target: Dialect) -> list[str]:
    """Return other dotted names for something beside the target's class, which has several."""
    here = full(target.target).split(".")
    found: list[str] = []
    for other in (full(alias).split(".") for alias in target.aliases):
        shared = next(n for n in range(1, len(here) + 2) if n > min(len(here), len(other)) or here[-n] != other[-n]) - 1
        old, new = (parts[: len(parts) - shared] for parts in (here, other))
        if name.split(".")[: len(old)] == old:
            found.append(".".join(new + name.split(".")[len(old) :]))
    return found


def _import_root(module: Module, editor: Editor, after: Sequence[Import], name: str) -> None:
    """Import the top of a dotted name beside the imports that brought the old class."""
    first = name.partition(".")[0]
    whole = CUSTOMARY.get(first, first)
    if whole in module.bindings.imported.get(first, ()):
        return
    editor.need(f"import {whole}" if whole == first else f"import {whole} as {first}", after)


def _drop_imports(module: Module, editor: Editor, done: set[int], targets: Sequence[Dialect]) -> None:
    """Remove imported names of which every use was rewritten."""
    kept = {full(name) for target in targets for name in target.names}
    for statement in module.imports:
        if not isinstance(statement, ast.ImportFrom) or statement.col_offset:
            continue
        for alias in statement.names:
            local = alias.asname or alias.name
            uses = [use for use in module.uses if isinstance(use.node, ast.Name) and use.node.id == local]
            reads = [n for n in module.parents if isinstance(n, ast.Name) and n.id == local]
            brought = canonical(f"{statement.module}.{alias.name}") in kept
            if uses and not brought and len(reads) == len(uses) and all(id(use) in done for use in uses):
                editor.move(statement, local, "")


def _whole(module: Module, node: ast.expr) -> ast.expr:
    """Return the expression around a name that says what is done with it."""
    parent = module.parents[node]
    if isinstance(parent, ast.keyword):
        parent = module.parents[parent]
    return parent if isinstance(parent, (ast.Attribute, ast.Call)) else node

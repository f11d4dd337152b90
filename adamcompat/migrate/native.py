"""Migrate to a framework's own Adam: calls are translated, steps rewritten where that is safe."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from adamcompat.mapping.model import Dialect
from adamcompat.migrate.editor import Editor
from adamcompat.migrate.findings import Finding
from adamcompat.migrate.module import Module, Use
from adamcompat.migrate.sites import Optimizer, optimizers, step_of, string_forms
from adamcompat.translation.arguments import arguments
from adamcompat.translation.convert import Context, Conversion, convert
from adamcompat.translation.messages import Message, error, info, warning
from adamcompat.translation.names import CUSTOMARY, full, original

# How models of each calling convention list what is trained.
_TRAINED = {"apply_gradients": ".trainable_variables", "call": ".trainable_params()"}
_WEIGHTS = re.compile(r"\.trainable_(variables|weights)$")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of one construction: its conversion and its steps, or what stands in the way."""

    conversion: Conversion
    steps: tuple[tuple[ast.Call, str], ...] = ()
    problems: tuple[tuple[ast.expr, Message], ...] = ()


def migrate(module: Module, editor: Editor, target: Dialect) -> None:
    """Plan the edits that write the target's own calls."""
    kept = {id(optimizer.use): optimizer for optimizer in optimizers(module)}
    foreign: list[Use] = []
    done: set[int] = set()
    for use in module.uses:
        source = use.signature.dialect
        if use.signature.adapter is not None or source is target:
            continue
        crosses = source.protocol != target.protocol
        if crosses:
            foreign.append(use)
        if use.call is None:
            if crosses and not isinstance(module.parents.get(use.node), ast.Attribute):
                text = f"{module.source(use.node)} is used as a value, not called; change it by hand"
                editor.say(use.node, error("class-as-value", text))
            continue
        plan = _plan(module, use, target, kept.get(id(use)))
        for message in plan.conversion.messages:
            if message.code not in ("params-placeholder", "params-at-each-step"):
                editor.say(use.call, message)
        for node, message in plan.problems:
            editor.say(node, message)
        if plan.conversion.ok and not plan.problems:
            _write(module, editor, use, plan, target)
            done.add(id(use))
        for node in kept[id(use)].others if id(use) in kept else []:
            if crosses or isinstance(module.parents[node], ast.Attribute):
                text = f"{module.source(_whole(module, node))} uses the optimizer in a way that is not rewritten"
                editor.say(node, warning("other-use", text))
    _drop_imports(module, editor, done, target)
    if target.protocol == "call":
        for form in filter(lambda form: form.certain, string_forms(module)):
            text = f"{module.source(form.node)}: {target.title} has no such name; pass {target.target}(...)"
            editor.say(form.node, error("string-form", text))
    if foreign:
        titles = " and ".join(sorted({use.signature.dialect.title for use in foreign}))
        text = (
            f"the optimizer is only part of porting this file from {titles} to {target.title}: model, data, gradients "
            f"and the training loop are left as they are"
        )
        editor.findings.append(Finding(warning("rest-of-the-model", text)))


def _plan(module: Module, use: Use, target: Dialect, kept: Optimizer | None) -> Plan:
    assert use.call is not None
    source = use.signature.dialect
    problems: list[tuple[ast.expr, Message]] = []
    steps: list[tuple[ast.Call, str]] = []
    parameters = ""
    if source.protocol == target.protocol and (step := step_of(module, use.call)) is not None:
        kept = Optimizer("", use, 1, [step])
    if kept is not None and kept.stored > 1 and kept.steps:
        text = (
            f"{kept.key} is given a value in {kept.stored} places, so its steps cannot be told apart; use one name each"
        )
        problems.append((use.call, error("unclear-optimizer", text)))
    elif source.protocol == target.protocol:
        problems = [problem for step in (kept.steps if kept else []) if (problem := _unknown_method(step, target))]
    elif target.protocol == "call":
        parameters = _to_call(module, use, kept, target, steps, problems)
    elif kept is not None:
        _to_apply_gradients(module, use, kept, steps, problems)
    context = Context(
        module.text, module.bindings, module.values, parameters, lambda name: _local(module, name, target) or name
    )
    given = arguments(use.call, module.text)
    return Plan(convert(given, use.signature, original(target), context), tuple(steps), tuple(problems))


def _unknown_method(step: ast.Call, target: Dialect) -> tuple[ast.expr, Message] | None:
    """What the target's method of the same calling convention does not take."""
    name = step.func.attr if isinstance(step.func, ast.Attribute) else ""
    method = next((method for method in target.methods if method.name == name), None)
    if method is None:
        text = f"{target.title}'s Adam has no {name}(); compute the gradients and call {target.methods[0].name}()"
        return step, error("step-method", text)
    known = {argument.name for argument in method.arguments}
    extra = [keyword.arg for keyword in step.keywords if keyword.arg not in known]
    if extra or len(step.args) > len(method.arguments):
        what = ", ".join(f"{name}=" for name in extra) or "so many arguments"
        return step, error("step-method", f"{target.title}'s {name}() does not take {what}; remove it")
    return None


def _to_call(
    module: Module,
    use: Use,
    kept: Optimizer | None,
    target: Dialect,
    steps: list[tuple[ast.Call, str]],
    problems: list[tuple[ast.expr, Message]],
) -> str:
    """Rewrite apply_gradients(zip(gradients, variables)); returns what is trained, as text."""
    assert use.call is not None
    trained: dict[str, ast.expr] = {}
    for step in kept.steps if kept is not None else []:
        pair = _zipped(module, step)
        if pair is None:
            text = (
                f"{module.source(step.func)}(...) cannot be rewritten safely: only apply_gradients(zip(gradients, "
                f"variables)) whose result is not used can"
            )
            problems.append((step, error("step-method", text)))
            continue
        gradients, variables = pair
        trained[module.source(variables)] = variables
        whole = module.source(gradients)
        text = whole if isinstance(gradients, ast.Tuple) and whole.startswith("(") else f"tuple({whole})"
        assert kept is not None
        steps.append((step, f"{kept.key}({text})"))
    if problems:
        return ""
    if len(trained) == 1:
        (text, node), *_ = trained.items()
        if _known_at(module, node, use.call):
            return _WEIGHTS.sub(_TRAINED["call"], text)
        why = f"{text} is not certain to mean the same where the optimizer is made"
    elif trained:
        why = f"its steps update different variables: {', '.join(trained)}"
    else:
        why = "no step in this file says which"
    text = f"{target.title} takes the parameters when the optimizer is made, and {why}; write the call by hand"
    problems.append((use.call, error("parameters-unknown", text)))
    return ""


def _zipped(module: Module, step: ast.Call) -> tuple[ast.expr, ast.expr] | None:
    """Gradients and variables of ``apply_gradients(zip(gradients, variables))`` as a statement."""
    if not (isinstance(step.func, ast.Attribute) and step.func.attr == "apply_gradients"):
        return None
    if len(step.args) != 1 or step.keywords or not isinstance(module.parents.get(step), ast.Expr):
        return None
    inner = step.args[0]
    zips = isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "zip"
    if not zips or module.bound["zip"]:
        return None
    assert isinstance(inner, ast.Call)
    if len(inner.args) != 2 or any(isinstance(item, ast.Starred) for item in inner.args):
        return None
    if any(keyword.arg != "strict" for keyword in inner.keywords):
        return None
    return inner.args[0], inner.args[1]


def _to_apply_gradients(
    module: Module,
    use: Use,
    kept: Optimizer,
    steps: list[tuple[ast.Call, str]],
    problems: list[tuple[ast.expr, Message]],
) -> None:
    """Rewrite opt(gradients)."""
    assert use.call is not None
    given = {item.keyword or f"{item.position}": item for item in arguments(use.call, module.text) or ()}
    params = given.get("params") or given.get("0")
    for step in kept.steps:
        alone = isinstance(module.parents.get(step), ast.Expr)
        single = len(step.args) == 1 and not step.keywords and not isinstance(step.args[0], ast.Starred)
        if not alone or not single or ast.unparse(step.func) != kept.key:
            text = (
                f"{module.source(step)} cannot be rewritten safely: its result is used, or it takes more than gradients"
            )
            problems.append((step, error("step-method", text)))
            continue
        if params is None or not _trained(params.node) or not _known_at(module, params.node, step):
            text = (
                f"what {kept.key} trains is not certain to mean the same at its steps; write apply_gradients(zip(...))"
            )
            problems.append((step, error("parameters-unknown", text)))
            continue
        variables = params.text.replace(_TRAINED["call"], _TRAINED["apply_gradients"])
        steps.append((step, f"{kept.key}.apply_gradients(zip({module.source(step.args[0])}, {variables}))"))


def _trained(node: ast.expr) -> bool:
    """Whether an expression may be read again at each step: a name, a list, or what a model trains."""
    if isinstance(node, (ast.List, ast.Tuple)):
        return all(_trained(item) for item in node.elts)
    if isinstance(node, ast.Call):
        ends = isinstance(node.func, ast.Attribute) and ast.unparse(node).endswith(_TRAINED["call"])
        return ends and _trained(node.func.value) if isinstance(node.func, ast.Attribute) else False
    return isinstance(node, (ast.Name, ast.Attribute))


def _known_at(module: Module, node: ast.expr, place: ast.expr) -> bool:
    """Whether an expression certainly means the same at another place: each name has one value, given before."""
    in_class = [item for item in module.ancestors(place) if isinstance(item, ast.ClassDef)]
    for name in [item for item in ast.walk(node) if isinstance(item, ast.Name)]:
        if name.id == "self" and in_class and in_class[0] in module.ancestors(node):
            attribute = module.parents[name]
            if not _set_before(module, ast.unparse(attribute), in_class[0], place):
                return False
        elif module.bound[name.id] != 1 or module.first_bound[name.id] > place.lineno:
            return False
    return not any(isinstance(item, (ast.Lambda, ast.comprehension, ast.Await)) for item in ast.walk(node))


def _set_before(module: Module, attribute: str, owner: ast.ClassDef, place: ast.expr) -> bool:
    """Whether a class sets an attribute of self once, before a place or in __init__."""
    stores = [
        node
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node) == attribute
    ]
    if len(stores) != 1:
        return False
    makers = [item.name for item in module.ancestors(stores[0]) if isinstance(item, ast.FunctionDef)]
    homes = [item.name for item in module.ancestors(place) if isinstance(item, ast.FunctionDef)]
    return stores[0].lineno < place.lineno if makers == homes else makers == ["__init__"]


def _write(module: Module, editor: Editor, use: Use, plan: Plan, target: Dialect) -> None:
    from adamcompat.migrate.rewrite import call as rewritten

    assert use.call is not None
    same = use.name in map(full, target.names)
    callee = module.source(use.node) if same else _local(module, target.target, target) or target.target
    for name in plan.conversion.modules + ([] if same else [target.target]):
        if _local(module, name, target) is None:
            _import_root(module, editor, use, name)
    editor.replace(use.call, rewritten(module.source(use.call), callee, plan.conversion.arguments))
    old = module.source(use.node)
    text = f"{old} of {use.signature.dialect.title} becomes {callee} of {target.title}"
    editor.say(use.call, info("call-rewritten", text))
    for step, new in plan.steps:
        editor.replace(step, new)
        editor.say(step, info("step-rewritten", f"{module.source(step)} becomes {new}"))


def _local(module: Module, name: str, target: Dialect) -> str | None:
    """How a module can write a dotted name of the target's framework with the imports that it has."""
    for other in [name, *_synonyms(name, target)]:
        for local, meanings in module.bindings.imported.items():
            meaning = next(iter(meanings))
            usable = len(meanings) == 1 and local not in module.bindings.rebound
            if usable and module.binders(local)[0].col_offset == 0 and other.startswith(f"{meaning}."):
                return local + other[len(meaning) :]
    return None


def _synonyms(name: str, target: Dialect) -> list[str]:
    """Other dotted names for something beside the target's class, which has several."""
    here = full(target.target).split(".")
    found: list[str] = []
    for other in (full(alias).split(".") for alias in target.aliases):
        shared = next(n for n in range(1, len(here) + 2) if n > min(len(here), len(other)) or here[-n] != other[-n]) - 1
        old, new = (parts[: len(parts) - shared] for parts in (here, other))
        if name.split(".")[: len(old)] == old:
            found.append(".".join(new + name.split(".")[len(old) :]))
    return found


def _import_root(module: Module, editor: Editor, use: Use, name: str) -> None:
    """Import the top of a dotted name beside the import that brought the old class."""
    first = name.partition(".")[0]
    whole = CUSTOMARY.get(first, first)
    if whole in module.bindings.imported.get(first, ()):
        return
    root: ast.expr = use.node
    while isinstance(root, ast.Attribute):
        root = root.value
    assert isinstance(root, ast.Name)
    after = module.binders(root.id) or [node for node in module.imports if isinstance(node, ast.ImportFrom)]
    editor.need(f"import {whole}" if whole == first else f"import {whole} as {first}", after)


def _drop_imports(module: Module, editor: Editor, done: set[int], target: Dialect) -> None:
    """Remove names whose every use was rewritten."""
    for statement in module.imports:
        if not isinstance(statement, ast.ImportFrom) or statement.col_offset:
            continue
        for alias in statement.names:
            local = alias.asname or alias.name
            uses = [use for use in module.uses if isinstance(use.node, ast.Name) and use.node.id == local]
            reads = [n for n in module.parents if isinstance(n, ast.Name) and n.id == local]
            brought = any(full(name) == f"{statement.module}.{alias.name}" for name in target.names)
            if uses and not brought and len(reads) == len(uses) and all(id(use) in done for use in uses):
                editor.move(statement, local, "")


def _whole(module: Module, node: ast.expr) -> ast.expr:
    """The expression around a name that says what is done with it."""
    parent = module.parents[node]
    return parent if isinstance(parent, (ast.Attribute, ast.Call)) else node

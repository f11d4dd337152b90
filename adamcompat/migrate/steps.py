"""Rewrite the steps of an optimizer in another calling convention, where that is safe."""

from __future__ import annotations

import ast
import re

from adamcompat.mapping.model import Dialect
from adamcompat.migrate.module import Module, Use
from adamcompat.migrate.sites import Optimizer
from adamcompat.translation.arguments import arguments
from adamcompat.translation.bindings import root_of
from adamcompat.translation.messages import Message, error
from adamcompat.translation.trained import LISTS

_WEIGHTS = re.compile(r"\.trainable_(variables|weights)$")

Problem = tuple[ast.expr, Message]
Step = tuple[ast.Call, str]


def unknown_method(step: ast.Call, target: Dialect) -> tuple[ast.expr, Message] | None:
    """Return an error on a step that the target's methods cannot take, or None where one can.

    Args:
        step: the call of a method of the optimizer.
        target: a dialect with the same calling convention.

    Returns:
        The step, with the error.
    """
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


def to_call(
    module: Module, use: Use, kept: Optimizer | None, steps: list[Step], problems: list[Problem]
) -> tuple[str, str]:
    """Rewrite ``apply_gradients(zip(gradients, variables))`` as a call of the optimizer with the gradients.

    Args:
        module: the module.
        use: the place where the optimizer is made; it is called there.
        kept: its steps and other uses, where it has a name.
        steps: gets the steps and the text to write for each.
        problems: gets the obstacles, each with its place.

    Returns:
        The expression of the parameters that are trained, and the reason why it is not certain; one of the two is
        empty. Both are empty where there are problems.
    """
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
        return "", ""
    for node in [use.call, *(kept.others if kept is not None else [])]:
        model = compiled_model(module, node)
        if model is not None:
            trained[f"{module.source(model)}{LISTS['apply_gradients']}"] = model
    if len(trained) == 1:
        (text, node), *_ = trained.items()
        if known_at(module, node, use.call):
            return _WEIGHTS.sub(LISTS["call"], text), ""
        return "", f"{text} is not certain to mean the same where the optimizer is made"
    if trained:
        return "", f"its steps update different variables: {', '.join(trained)}"
    return "", "no step in this file says which"


def all_of(module: Module, model: ast.expr) -> str:
    """Return the text of all that a model trains, as models of the calling convention ``call`` list it.

    Args:
        module: the module.
        model: the expression of the model.
    """
    return f"{module.source(model)}{LISTS['call']}"


def compiled_model(module: Module, optimizer: ast.expr) -> ast.expr | None:
    """Return the model of ``model.compile(optimizer)``, or None.

    Args:
        module: the module.
        optimizer: an expression that may be given to such a call.

    Returns:
        The expression of the model; None where the optimizer is given to no such call, or the model has no name.
    """
    parent = module.parents.get(optimizer)
    if isinstance(parent, ast.keyword) and parent.arg == "optimizer":
        call = module.parents.get(parent)
    else:
        call = parent if isinstance(parent, ast.Call) and parent.args[:1] == [optimizer] else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "compile":
        return call.func.value if root_of(call.func.value) else None
    return None


def _zipped(module: Module, step: ast.Call) -> tuple[ast.expr, ast.expr] | None:
    """Return gradients and variables of a statement ``apply_gradients(zip(gradients, variables))``, or None."""
    if not (isinstance(step.func, ast.Attribute) and step.func.attr == "apply_gradients"):
        return None
    if len(step.args) != 1 or step.keywords or not isinstance(module.parents.get(step), ast.Expr):
        return None
    inner = step.args[0]
    zips = isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "zip"
    if not zips or module.bindings.bound["zip"]:
        return None
    assert isinstance(inner, ast.Call)
    if len(inner.args) != 2 or any(isinstance(item, ast.Starred) for item in inner.args):
        return None
    if any(keyword.arg != "strict" for keyword in inner.keywords):
        return None
    return inner.args[0], inner.args[1]


def to_apply_gradients(module: Module, use: Use, kept: Optimizer, steps: list[Step], problems: list[Problem]) -> None:
    """Rewrite ``opt(gradients)`` as ``opt.apply_gradients(zip(gradients, variables))``.

    Args:
        module: the module.
        use: the place where the optimizer is made; it is called there.
        kept: its name, its steps and its other uses.
        steps: gets the steps and the text to write for each.
        problems: gets the obstacles, each with its place.
    """
    assert use.call is not None
    given = {item.keyword or f"{item.position}": item for item in arguments(use.call, module.code) or ()}
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
        if params is None or not _trained(params.node) or not known_at(module, params.node, step):
            text = (
                f"what {kept.key} trains is not certain to mean the same at its steps; write apply_gradients(zip(...))"
            )
            problems.append((step, error("parameters-unknown", text)))
            continue
        variables = params.text.replace(LISTS["call"], LISTS["apply_gradients"])
        steps.append((step, f"{kept.key}.apply_gradients(zip({module.source(step.args[0])}, {variables}))"))


def _trained(node: ast.expr) -> bool:
    """Return whether an expression may be read again at each step: a name, a list, or all that a model trains."""
    if isinstance(node, (ast.List, ast.Tuple)):
        return all(_trained(item) for item in node.elts)
    if isinstance(node, ast.Call):
        ends = isinstance(node.func, ast.Attribute) and ast.unparse(node).endswith(LISTS["call"])
        return ends and _trained(node.func.value) if isinstance(node.func, ast.Attribute) else False
    return isinstance(node, (ast.Name, ast.Attribute))


def known_at(module: Module, node: ast.expr, place: ast.expr) -> bool:
    """Return whether an expression certainly means the same at another place.

    It does where each of its names, and each attribute of ``self``, is given one value, before that place.

    Args:
        module: the module.
        node: the expression.
        place: the other place.
    """
    in_class = [item for item in module.ancestors(place) if isinstance(item, ast.ClassDef)]
    for name in [item for item in ast.walk(node) if isinstance(item, ast.Name)]:
        if name.id == "self" and in_class and in_class[0] in module.ancestors(node):
            attribute = module.parents[name]
            if not _set_before(module, ast.unparse(attribute), in_class[0], place):
                return False
        elif not _one_value(module, name, place):
            return False
    return not any(isinstance(item, (ast.Lambda, ast.comprehension, ast.Await)) for item in ast.walk(node))


def _one_value(module: Module, name: ast.Name, place: ast.expr) -> bool:
    """Return whether a name has one value at both places: given once in the module, or in their function."""
    lines = module.stores[None, name.id]
    function = module.function(place)
    if function is not None and function is module.function(name) and module.stores[function, name.id]:
        lines = module.stores[function, name.id]
    return len(lines) == 1 and lines[0] <= place.lineno


def _set_before(module: Module, attribute: str, owner: ast.ClassDef, place: ast.expr) -> bool:
    """Return whether a class sets an attribute of self once, before a place or in __init__."""
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

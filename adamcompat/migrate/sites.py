"""Find the places where a module makes an optimizer, steps it and uses it otherwise."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.module import Module, Use

_METHODS = {method.name for dialect in MAPPING.dialects.values() for method in dialect.methods}


@dataclass
class Optimizer:
    """Hold an optimizer that a module makes and keeps under one name.

    Attributes:
        key: the name, such as ``opt`` or ``self.opt``.
        use: where it is made.
        stored: how often the name is given a value.
        steps: the calls that differentiate or update.
        others: every other place where the name is read.
    """

    key: str
    use: Use
    stored: int
    steps: list[ast.Call] = field(default_factory=list)
    others: list[ast.expr] = field(default_factory=list)


def optimizers(module: Module) -> list[Optimizer]:
    """Return the optimizers that are assigned to a name or an attribute, with every use of it.

    Args:
        module: the module.
    """
    found: dict[str, Optimizer] = {}
    for use in module.uses:
        parent = module.parents.get(use.call) if use.call is not None else None
        target: ast.expr | None = None
        if isinstance(parent, ast.Assign) and len(parent.targets) == 1 and parent.value is use.call:
            target = parent.targets[0]
        elif isinstance(parent, ast.AnnAssign) and parent.value is use.call:
            target = parent.target
        if isinstance(target, (ast.Name, ast.Attribute)):
            key = ast.unparse(target)
            if key in found:
                found[key].stored += 1
            else:
                found[key] = Optimizer(key, use, 0)
    if not found:
        return []
    last = {key.rpartition(".")[2] for key in found}
    for node in module.parents:
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name not in last:
            if isinstance(node, ast.arg) and node.arg in found:
                found[node.arg].stored += 1
            continue
        assert isinstance(node, (ast.Name, ast.Attribute))
        optimizer = found.get(ast.unparse(node))
        if optimizer is None:
            continue
        if not isinstance(node.ctx, ast.Load):
            optimizer.stored += 1
        elif (step := step_of(module, node)) is not None:
            optimizer.steps.append(step)
        else:
            optimizer.others.append(node)
    return list(found.values())


def step_of(module: Module, node: ast.expr) -> ast.Call | None:
    """Return the call that steps an optimizer at a place where it is read, or None where it does not.

    Args:
        module: the module.
        node: the place where the optimizer is read.
    """
    parent = module.parents[node]
    if isinstance(parent, ast.Call) and parent.func is node:
        return parent
    above = module.parents.get(parent)
    if isinstance(parent, ast.Attribute) and parent.attr in _METHODS and isinstance(above, ast.Call):
        return above if above.func is parent else None
    return None

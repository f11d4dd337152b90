"""Where a module steps an optimizer, and where it names Adam by a string."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.module import Import, Module, Use
from adamcompat.translation.names import full

_KERAS = MAPPING.dialects["keras3"]
_KERAS_ROOTS = {full(name).partition(".")[0] for name in _KERAS.names}
_GETTERS = {full(name).rpartition(".")[0] + ".get" for name in _KERAS.names}
_METHODS = {method.name for dialect in MAPPING.dialects.values() for method in dialect.methods}


@dataclass
class Optimizer:
    """An optimizer that a module makes and keeps under one name.

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


@dataclass(frozen=True, slots=True)
class StringForm:
    """A place that names Adam by a string.

    Attributes:
        node: the string.
        certain: whether it surely is Keras's name of an optimizer.
        after: the import statement that brings Keras.
    """

    node: ast.Constant
    certain: bool
    after: Import


def optimizers(module: Module) -> list[Optimizer]:
    """The optimizers that are assigned to a name or an attribute, with every use of it."""
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
    """The call that steps an optimizer, if the place where it is read belongs to one."""
    parent = module.parents[node]
    if isinstance(parent, ast.Call) and parent.func is node:
        return parent
    above = module.parents.get(parent)
    if isinstance(parent, ast.Attribute) and parent.attr in _METHODS and isinstance(above, ast.Call):
        return above if above.func is parent else None
    return None


def string_forms(module: Module) -> list[StringForm]:
    """Every ``compile(optimizer="adam")`` and ``optimizers.get("adam")`` of a module that uses Keras."""
    home = next((node for node in module.imports if _root(node) in _KERAS_ROOTS), None)
    found: list[StringForm] = []
    if home is None:
        return found
    for call in module.calls:
        getter = module.bindings.resolve(call.func) in _GETTERS
        compiles = isinstance(call.func, ast.Attribute) and call.func.attr == "compile" and not _imported(module, call)
        named = [keyword.value for keyword in call.keywords if keyword.arg == "optimizer"]
        value = next(iter(named + call.args[:1]), None)
        if not (getter or compiles) or not _is_adam(value) or module.ignored(call):
            continue
        assert isinstance(value, ast.Constant)
        if not module.located(value):
            module.unlocated.append(value)
            continue
        certain = getter or bool(named) or len(call.args) > 1 or any(item.arg == "loss" for item in call.keywords)
        found.append(StringForm(value, certain, home))
    return found


def _root(node: Import) -> str:
    name = (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
    return name.partition(".")[0]


def _imported(module: Module, call: ast.Call) -> bool:
    """Whether a method belongs to an imported module, as in ``re.compile``."""
    assert isinstance(call.func, ast.Attribute)
    return bool(module.bindings.meanings(call.func.value))


def _is_adam(node: ast.expr | None) -> bool:
    """Whether an expression is a string that Keras takes for Adam."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lower() == "adam"

"""Migrate to adamcompat: only imports change, so that the code keeps its calling convention."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.editor import Editor
from adamcompat.migrate.module import Module, Use
from adamcompat.migrate.sites import optimizers, string_forms
from adamcompat.translation.messages import error, info, warning
from adamcompat.translation.names import CATALOGUE, drop_in

KERAS = MAPPING.dialects["keras3"]


def migrate(module: Module, editor: Editor) -> None:
    """Plan the edits that put adamcompat's classes in the place of the originals."""
    originals = [use for use in module.uses if use.signature.adapter is None]
    _report_steps(module, editor)
    _statements(module, editor, [use for use in originals if use.bound_by_from])
    for use in originals:
        if not use.bound_by_from and not _only_asks_for_the_type(module, use):
            _attribute(module, editor, use)
    for form in string_forms(module):
        if form.certain:
            adapter = _adapter(KERAS)
            editor.replace(form.node, f"{adapter.module}.{adapter.name}()")
            editor.need(f"import {adapter.module}", [form.after])
            text = f"{module.source(form.node)} becomes {adapter.module}.{adapter.name}()"
            editor.say(form.node, info("string-replaced", text))
        else:
            text = f"{module.source(form.node)} may be Keras's Adam or something else; write optimizer=..."
            editor.say(form.node, error("unclear-string", text))


def _adapter(dialect: Dialect) -> Adapter:
    found = drop_in(dialect)
    assert found is not None, f"no drop-in for {dialect.name}"
    return found


def _report_steps(module: Module, editor: Editor) -> None:
    for optimizer in optimizers(module):
        if optimizer.use.signature.adapter is None:
            for step in optimizer.steps:
                editor.say(step, info("step-kept", f"{module.source(step.func)}(...) stays as it is"))


def _statements(module: Module, editor: Editor, uses: Sequence[Use]) -> None:
    """Change the statements that import an Adam by its own name."""
    for statement in module.imports:
        if not isinstance(statement, ast.ImportFrom) or statement.level or module.ignored(statement):
            continue
        for alias in statement.names:
            local = alias.asname or alias.name
            if alias.name == "*":
                _star(module, editor, statement, uses)
                continue
            candidates = CATALOGUE.get(f"{statement.module}.{alias.name}")
            if candidates is None or candidates[0].adapter is not None:
                continue
            if local in module.bindings.rebound or module.bindings.resolve(ast.Name(local, ast.Load())) is None:
                continue
            dialects = {use.signature.dialect.name for use in uses if _id(use) == local and use.call is not None}
            dialects = dialects or {candidates[0].dialect.name}
            if len(dialects) > 1:
                text = f"calls of {local} have keywords of {' and of '.join(sorted(dialects))}; import each by its name"
                editor.say(statement, error("unclear-dialect", text))
                continue
            adapter = _adapter(MAPPING.dialects[dialects.pop()])
            as_ = f" as {alias.asname}" if alias.asname else ""
            editor.move(statement, local, f"from {adapter.module} import {adapter.name}{as_}")
            text = f"{statement.module}.{alias.name} becomes {adapter.module}.{adapter.name}"
            editor.say(statement, info("import-replaced", text))
            _mind(editor, statement, adapter)


def _star(module: Module, editor: Editor, statement: ast.ImportFrom, uses: Sequence[Use]) -> None:
    """Import ours behind a star import that brings the original."""
    for use in uses:
        local = _id(use)
        if local in module.bindings.imported or use.name != f"{statement.module}.{local}":
            continue
        adapter = _adapter(use.signature.dialect)
        editor.need(f"from {adapter.module} import {adapter.name}", [statement])
        text = f"{use.name} of the star import becomes {adapter.module}.{adapter.name}"
        editor.say(use.node, info("import-replaced", text))
        _mind(editor, use.node, adapter)


def _attribute(module: Module, editor: Editor, use: Use) -> None:
    """Change a name such as tf.keras.optimizers.Adam where it is used."""
    root: ast.expr = use.node
    while isinstance(root, ast.Attribute):
        root = root.value
    assert isinstance(root, ast.Name)
    adapter = _adapter(use.signature.dialect)
    editor.replace(use.node, f"{adapter.module}.{adapter.name}")
    editor.need(f"import {adapter.module}", module.binders(root.id))
    text = f"{module.source(use.node)} becomes {adapter.module}.{adapter.name}"
    editor.say(use.node, info("name-replaced", text))
    _mind(editor, use.node, adapter)


def _mind(editor: Editor, node: ast.expr | ast.stmt, adapter: Adapter) -> None:
    """Say where a class works only in part of the framework of today."""
    former = MAPPING.dialects[adapter.dialect].former
    if former:
        text = (
            f"{adapter.module}.{adapter.name} works in a custom loop; in compile() of Keras 3 it needs "
            f"TF_USE_LEGACY_KERAS=1 (or --to tensorflow, which writes Keras 3's own call)"
        )
        editor.say(node, warning("legacy-class", text))


def _id(use: Use) -> str:
    assert isinstance(use.node, ast.Name)
    return use.node.id


def _only_asks_for_the_type(module: Module, use: Use) -> bool:
    """Whether a name stands in isinstance() or an annotation; ours is a subclass, so both stay true."""
    child: ast.AST = use.node
    for parent in module.ancestors(use.node):
        if isinstance(parent, ast.Call):
            return isinstance(parent.func, ast.Name) and parent.func.id in ("isinstance", "issubclass")
        if isinstance(parent, (ast.arg, ast.AnnAssign)) and parent.annotation is child:
            return True
        if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return parent.returns is child
        if isinstance(parent, ast.stmt):
            return False
        child = parent
    return False

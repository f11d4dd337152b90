"""Migrate to adamcompat: only imports change, so that the code keeps its calling convention."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.runtimes import MIGRATED
from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.editor import Editor
from adamcompat.migrate.module import Module, Use
from adamcompat.migrate.sites import optimizers
from adamcompat.migrate.strings import StringForm, mentions, string_forms
from adamcompat.translation.messages import error, info, warning
from adamcompat.translation.names import canonical, drop_in


def migrate(module: Module, editor: Editor) -> None:
    """Plan the edits that put adamcompat's classes in the place of the originals.

    Args:
        module: the module.
        editor: takes the edits and the findings.
    """
    originals = [use for use in module.uses if use.signature.adapter is None]
    _report_steps(module, editor)
    for use in originals:
        for message in use.misfits:
            assert use.call is not None
            editor.say(use.call, message)
    _statements(module, editor, [use for use in originals if use.bound_by_from])
    for use in originals:
        if not use.bound_by_from and not use.misfits and not module.asks_for_type(use.node):
            dialect = _dialect(module, editor, use, originals)
            if dialect is not None:
                _attribute(module, editor, use, dialect)
    _strings(module, editor)


def _strings(module: Module, editor: Editor) -> None:
    """Write a class for each string that names one of Keras's members, and report strings that may name one."""
    forms = editor.forms = string_forms(module)
    for form in forms:
        adapter = drop_in(form.dialect)
        assert adapter is not None, f"no drop-in for {form.dialect.name}"
        name = form.dialect.member
        if form.certain and form.after is not None:
            editor.replace(form.node, f"{adapter.module}.{adapter.name}()")
            editor.need(f"import {adapter.module}", [form.after])
            text = f"{module.source(form.node)} becomes {adapter.module}.{adapter.name}()"
            editor.say(form.node, info("string-replaced", text))
        elif form.after is None:
            what = module.source(form.node)
            text = f"{what} is Keras's {name} if this is Keras's {_called(form)}; no import here tells"
            editor.say(form.node, warning("unclear-string", text))
        else:
            text = f"{module.source(form.node)} may be Keras's {name} or something else; write optimizer=..."
            editor.say(form.node, error("unclear-string", text))
    for mention in mentions(module, forms):
        editor.say(mention.node, mention.message)


def _called(form: StringForm) -> str:
    return f"{form.call.func.attr}()" if isinstance(form.call.func, ast.Attribute) else "function"


def _dialect(module: Module, editor: Editor, use: Use, originals: Sequence[Use]) -> Dialect | None:
    """Return the dialect of a use, or None where its calls contradict each other.

    Where a name is given the class (``Adam = keras.optimizers.Adam``), the calls of that name tell the dialect.
    """
    parent = module.parents.get(use.node)
    if use.call is not None or not isinstance(parent, ast.Assign):
        return use.signature.dialect
    names = [target.id for target in parent.targets if isinstance(target, ast.Name)]
    return _called_as(module, editor, use.node, names, originals, use.signature.dialect)


def _called_as(
    module: Module,
    editor: Editor,
    place: ast.expr | ast.stmt,
    names: Sequence[str],
    uses: Sequence[Use],
    otherwise: Dialect,
) -> Dialect | None:
    """Return the dialect in which some names are called; None, with a reason, where they are called in several."""
    known = set().union(*map(module.bindings.followers, names)) if names else set()
    calls = [use for use in uses if use.call is not None and use.bound_by_from and _id(use) in known]
    if any(use.misfits for use in calls):
        return None
    found = {use.signature.dialect.name for use in calls} or {otherwise.name}
    if len(found) > 1:
        text = f"calls of {', '.join(names)} have keywords of {' and of '.join(sorted(found))}; import each by its name"
        editor.say(place, error("unclear-dialect", text))
        return None
    return module.catalogue.mapping.dialects[found.pop()]


def _adapter(editor: Editor, node: ast.expr | ast.stmt, dialect: Dialect) -> Adapter | None:
    """Return the drop-in for a class; None, with a reason, where there is none."""
    found = drop_in(dialect)
    if found is None:
        text = f"adamcompat has no drop-in for {dialect.target}; left alone: "
        text += f"--to {' or '.join(MIGRATED)} translates it"
        editor.say(node, warning("no-drop-in", text))
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
            candidates = module.catalogue.classes.get(canonical(f"{statement.module}.{alias.name}"))
            if candidates is None or candidates[0].adapter is not None:
                continue
            if local in module.bindings.rebound or module.bindings.resolve(ast.Name(local, ast.Load())) is None:
                continue
            dialect = _called_as(module, editor, statement, [local], uses, candidates[0].dialect)
            if dialect is None:
                continue
            adapter = _adapter(editor, statement, dialect)
            if adapter is None:
                continue
            as_ = f" as {alias.asname}" if alias.asname else ""
            editor.move(statement, local, f"from {adapter.module} import {adapter.name}{as_}")
            text = f"{statement.module}.{alias.name} becomes {adapter.module}.{adapter.name}"
            editor.say(statement, info("import-replaced", text))
            _mind(editor, statement, adapter)


def _star(module: Module, editor: Editor, statement: ast.ImportFrom, uses: Sequence[Use]) -> None:
    """Import ours behind a star import that brings the original."""
    for use in uses:
        local = _id(use)
        bound = local in module.bindings.imported or local in module.bindings.followed
        if bound or use.name != canonical(f"{statement.module}.{local}") or use.misfits:
            continue
        adapter = _adapter(editor, use.node, use.signature.dialect)
        if adapter is None:
            continue
        editor.need(f"from {adapter.module} import {adapter.name}", [statement])
        editor.renewed.add(local)
        text = f"{use.name} of the star import becomes {adapter.module}.{adapter.name}"
        editor.say(use.node, info("import-replaced", text))
        _mind(editor, use.node, adapter)


def _attribute(module: Module, editor: Editor, use: Use, dialect: Dialect) -> None:
    """Change a name such as tf.keras.optimizers.Adam where it is used."""
    adapter = _adapter(editor, use.node, dialect)
    if adapter is None:
        return
    editor.replace(use.node, f"{adapter.module}.{adapter.name}")
    editor.need(f"import {adapter.module}", module.bringers(use.node))
    text = f"{module.source(use.node)} becomes {adapter.module}.{adapter.name}"
    editor.say(use.node, info("name-replaced", text))
    _mind(editor, use.node, adapter)


def _mind(editor: Editor, node: ast.expr | ast.stmt, adapter: Adapter) -> None:
    """Warn of a class that works only in part of today's framework."""
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

"""Migrate the text of one module."""

from __future__ import annotations

import ast

from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate import native, shim
from adamcompat.migrate.editor import Editor
from adamcompat.migrate.findings import Finding
from adamcompat.migrate.module import Module
from adamcompat.translation.messages import error, info

#: Name on the command line to the dialect that is written; None keeps each call's own.
TARGETS: dict[str, str | None] = {"shim": None, "mindspore": "mindspore", "tensorflow": "keras3"}


def migrate_text(text: str, to: str) -> tuple[str, list[Finding]]:
    """Migrate the source of one module.

    Args:
        text: Python source.
        to: shim, mindspore or tensorflow.

    Returns:
        The new source and the findings, in the order of the lines. Source that does not parse is
        returned as it is, with a finding.

    >>> text, findings = migrate_text("import tensorflow as tf\\nopt = tf.keras.optimizers.Adam(1e-3)\\n", "shim")
    >>> print(text, end="")
    import tensorflow as tf
    import adamcompat.tensorflow
    opt = adamcompat.tensorflow.Adam(1e-3)
    """
    try:
        module = Module.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        line = getattr(problem, "lineno", None) or 0
        return text, [Finding(error("does-not-parse", f"not valid Python: {problem}"), line, 1 if line else 0)]
    editor = Editor(module)
    dialect = TARGETS[to]
    if dialect is None:
        shim.migrate(module, editor)
    else:
        native.migrate(module, editor, MAPPING.dialects[dialect])
    for node in module.unclear:
        what = module.source(node)
        text_of = f"{what} may be Adam or something else: the name is given a value in several ways; use one name each"
        editor.say(node, error("unclear-name", text_of))
    for node in module.unlocated:
        editor.say(node, error("not-rewritten", "inside an f-string there is no telling where it stands; move it out"))
    for node, name in module.others:
        editor.say(node, info("another-adam", f"{name} is not an Adam known here; left alone"))
    new = editor.result()
    findings = sorted(editor.findings, key=lambda finding: (finding.line, finding.column))
    if new != text:
        try:
            ast.parse(new)
        except SyntaxError as problem:
            reason = error("not-rewritten", f"the edited code would not parse ({problem}); left alone")
            return text, [Finding(reason, findings[0].line, findings[0].column)]
    return new, findings

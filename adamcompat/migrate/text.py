"""Migrate the text of one module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adamcompat.kinds import told
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.runtimes import MIGRATED, RUNTIMES
from adamcompat.migrate import native, shim
from adamcompat.migrate.constructions import Construction, constructions, in_text
from adamcompat.migrate.editor import Editor
from adamcompat.migrate.findings import Finding
from adamcompat.migrate.module import Module
from adamcompat.translation.aliases import known
from adamcompat.translation.messages import error, info, warning
from adamcompat.translation.names import Catalogue, full
from adamcompat.translation.source import parse

#: Name on the command line to the dialects that are written, each call in the one that fits it best; the shim keeps
#: each call's own.
TARGETS: dict[str, tuple[str, ...]] = {"shim": ()} | {name: RUNTIMES[name].originals for name in MIGRATED}


def check_target(to: str) -> None:
    """Refuse a target that there is not.

    Raises:
        TypeError: it is no text.
        ValueError: it is unknown.

    >>> check_target("pytorch")
    Traceback (most recent call last):
    ValueError: unknown target 'pytorch'; known: shim, tensorflow, mindspore
    """
    if not isinstance(to, str):
        raise TypeError(f"to must be one of {', '.join(TARGETS)}; got {told(to)}")
    if to not in TARGETS:
        raise ValueError(f"unknown target {to!r}; known: {', '.join(TARGETS)}")


def migrate_text(text: str, to: str, aliases: str | Path | None = None) -> tuple[str, list[Finding]]:
    """Migrate the source of one module.

    Args:
        text: Python source.
        to: shim, mindspore or tensorflow.
        aliases: a file that describes classes of other libraries; see docs/translate.md.

    Returns:
        The new source and the findings, in the order of the lines. Source that does not parse is returned as it is,
        with a finding.

    Raises:
        TypeError: `text` is no text.
        ValueError: an unknown target, or a mistake in the file of aliases.
        ModuleNotFoundError: aliases are given, and PyYAML is missing.

    >>> text, findings = migrate_text("import tensorflow as tf\\nopt = tf.keras.optimizers.Adam(1e-3)\\n", "shim")
    >>> print(text, end="")
    import tensorflow as tf
    import adamcompat.tensorflow
    opt = adamcompat.tensorflow.Adam(1e-3)
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be Python source; got {told(text)}; adamcompat.migrate(paths, to) takes files")
    check_target(to)
    done = migrated(text, to, known(aliases))
    return done.text, done.findings


@dataclass(frozen=True, slots=True)
class Migrated:
    """Hold what became of a text.

    Attributes:
        text: the new text.
        findings: the remarks, in the order of the lines.
        constructions: the places that make an Adam, each with what became of it.
    """

    text: str
    findings: list[Finding]
    constructions: list[Construction]


def migrated(text: str, to: str, catalogue: Catalogue) -> Migrated:
    """Migrate the source of one module, and tell what became of each Adam.

    Args:
        text: Python source.
        to: shim, mindspore or tensorflow.
        catalogue: the classes that are known.

    Returns:
        The new text, the findings, and each place that makes an Adam with what became of it.
    """
    line = 0
    try:
        return _migrate(text, to, catalogue)
    except (RecursionError, MemoryError):
        said = error("does-not-parse", "nested too deeply to be read; left alone")
    except SyntaxError as problem:
        line = problem.lineno or 0
        said = error("does-not-parse", f"not valid Python: {problem.msg}")
    except ValueError as problem:
        said = error("does-not-parse", f"not valid Python: {problem}")
    return Migrated(text, [Finding(said, line, 1 if line else 0)], in_text(text, catalogue, said))


def _migrate(text: str, to: str, catalogue: Catalogue) -> Migrated:
    module = Module.parse(text, catalogue)
    editor = Editor(module)
    targets = [catalogue.mapping.dialects[name] for name in TARGETS[to]]
    if targets:
        native.migrate(module, editor, targets)
    else:
        shim.migrate(module, editor)
    for node in module.unclear:
        what = module.source(node)
        text_of = f"{what} may be Adam or something else: the name is given a value in several ways; use one name each"
        editor.say(node, error("unclear-name", text_of))
    for node in module.loose:
        text_of = f"{module.source(node)} may be an Adam of some framework: no import here tells; left alone"
        editor.say(node, warning("unknown-name", text_of))
    for node in module.unlocated:
        editor.say(node, error("not-rewritten", "inside an f-string there is no telling where it stands; move it out"))
    for node, name in module.others:
        if catalogue.elsewhere(name) is None:
            editor.say(node, info("another-adam", f"{name} is not an Adam known here; left alone"))
        elif not any(_belongs(name, target) for target in targets):
            editor.say(node, warning("another-adam", f"{name} is not handled yet; left alone"))
    new = editor.result()
    findings = sorted(editor.findings, key=lambda finding: (finding.line, finding.column))
    if new != text:
        try:
            parse(new)
        except SyntaxError as problem:
            reason = error("not-rewritten", f"the edited code would not parse ({problem.msg}); left alone")
            left = Finding(reason, findings[0].line, findings[0].column)
            return Migrated(text, [left], constructions(module, editor, TARGETS[to], reason))
    if new != text and module.loose and _migrate(new, to, catalogue).text != new:
        # The import that a change needs would tell whose Adam another place means, which nothing tells now.
        place = module.loose[-1]
        said = f"a change here imports what {module.source(place)} may be of; write that import yourself, and run again"
        reason = error("not-rewritten", said)
        left = Finding(reason, place.lineno, module.code.column(place))
        return Migrated(text, [left], constructions(module, editor, TARGETS[to], reason))
    return Migrated(new, findings, constructions(module, editor, TARGETS[to], None))


def _belongs(name: str, target: Dialect) -> bool:
    """Return whether a class is the target framework's own, and one that it has today."""
    roots = {full(known).partition(".")[0] for known in target.names}
    old = name.rpartition(".")[2].lower() == "adam"
    return name.partition(".")[0] in roots and not old

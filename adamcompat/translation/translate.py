"""Translate one call, from any dialect to any other."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import adamcompat.fragments as fragments
import adamcompat.kinds as kinds
from adamcompat.mapping.model import Dialect
from adamcompat.translation.aliases import known
from adamcompat.translation.arguments import Argument, arguments, assigned_once
from adamcompat.translation.bindings import Bindings, root_of
from adamcompat.translation.conversion import Context, Conversion
from adamcompat.translation.convert import convert
from adamcompat.translation.messages import Message, Severity, info, warning
from adamcompat.translation.names import CUSTOMARY, Catalogue, Signature, choose, original, shims
from adamcompat.translation.source import Source, parse


class TranslationError(ValueError):
    """Report source text without one call to translate, or without a way to tell which Adam is called."""


@dataclass(frozen=True, slots=True, repr=False)
class Translation:
    """Hold a translated call; ``str()`` gives its text, and ``repr()`` imports and remarks with it.

    Attributes:
        source: the name of the dialect that the call was written in.
        target: the name of the dialect that it was translated to.
        call: the text of the call, or None where there is no translation (`errors` says why).
        imports: the import lines that it needs.
        messages: what will differ, what was left out, what to look at.
    """

    source: str
    target: str
    call: str | None
    imports: tuple[str, ...]
    messages: tuple[Message, ...]

    @property
    def errors(self) -> tuple[Message, ...]:
        """Return the remarks that say why there is no translation."""
        return self._with(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Message, ...]:
        """Return the remarks on things that will differ, or must be looked at."""
        return self._with(Severity.WARNING)

    def _with(self, severity: Severity) -> tuple[Message, ...]:
        return tuple(message for message in self.messages if message.severity is severity)

    def __str__(self) -> str:
        return self.call or ""

    @property
    def _code(self) -> list[str]:
        return [] if self.call is None else [*self.imports, self.call]

    def __repr__(self) -> str:
        return "\n".join([*(self._code or ["no translation:"]), *map(str, self.messages)])

    def _repr_html_(self) -> str:
        code = fragments.code("\n".join(self._code)) if self._code else fragments.line("There is no translation.", "no")
        return fragments.shown(code, fragments.several(map(str, self.messages)))

    def to_json(self) -> str:
        """Return the translation as the text of a JSON object."""
        return json.dumps(
            {
                "from": self.source,
                "to": self.target,
                "call": self.call,
                "imports": list(self.imports),
                "messages": [
                    {"code": item.code, "severity": item.severity.value, "text": item.text} for item in self.messages
                ],
            },
            indent=2,
        )


def translate(
    source: str, to: str, *, from_: str | None = None, shim: bool = False, aliases: str | Path | None = None
) -> Translation:
    """Translate a call of Adam from one dialect to another.

    Expressions stay as they are written. Defaults that differ are written out, so that the call means what it meant. A
    parameter without counterpart is an error; one that means something else is a warning, with the size of the
    difference where it can be computed.

    Args:
        source: Python code with one call of a known Adam, alone or with imports and an assignment.
        to: the dialect to write, such as keras3 or mindspore, or the dotted name of its class.
        from_: the dialect that the call is written in, where its name does not tell.
        shim: write adamcompat's class for that framework instead of the framework's own.
        aliases: a file that describes classes of other libraries; see docs/translate.md.

    Returns:
        The translated call, with the remarks on it. Where one of them is an error, there is no call.

    Raises:
        TranslationError: the code does not parse, does not hold one call of an Adam known here, or is nested too
            deeply; or with `shim` adamcompat has no class for that framework.
        TypeError: `source` or a dialect is no text, `shim` is not True or False, or `aliases` is no path.
        ValueError: an unknown dialect, or a mistake in the file of aliases.
        ModuleNotFoundError: aliases are given, and PyYAML is missing.

    >>> print(translate("tf.keras.optimizers.Adam(0.001, amsgrad=True)", "mindspore"))
    mindspore.nn.Adam(params, learning_rate=0.001, eps=1e-07, use_amsgrad=True)
    >>> for message in translate("nn.Adam(net.trainable_params(), use_nesterov=True)", "tf1").errors:
    ...     print(message.code)
    no-counterpart
    >>> print(translate("from tensorflow.keras.optimizers import Adam as A; A(lr=1e-5)", "keras3"))
    keras.optimizers.Adam(learning_rate=1e-5)
    """
    if not isinstance(source, str):
        raise TypeError(
            f"source must be the text of a call, such as 'keras.optimizers.Adam(0.001)'; got {kinds.told(source)}"
        )
    if not isinstance(shim, bool):
        raise TypeError(f"shim must be True or False; got {kinds.told(shim)}")
    catalogue = known(aliases)
    target = catalogue.dialect(to, "to")
    told = catalogue.dialect(from_, "from_") if from_ is not None else None
    try:
        return _translate(source.strip(), target, told, shim, catalogue)
    except (RecursionError, MemoryError):
        raise TranslationError("the code is nested too deeply to be read; pass the call alone") from None


def _translate(text: str, target: Dialect, told: Dialect | None, shim: bool, catalogue: Catalogue) -> Translation:
    nodes = list(ast.walk(_parsed(text)))
    bindings = Bindings.of(nodes, customary=True, catalogue=catalogue)
    call, candidates = _find(nodes, bindings, told)
    signature = choose(candidates, len(call.args), [keyword.arg for keyword in call.keywords if keyword.arg])
    code = Source(text)
    given = arguments(call, code)
    context = Context(code, bindings, assigned_once(nodes, bindings.bound), nodes)
    targets = _shims(signature, target) if shim else [original(target, catalogue.mapping)]
    if not targets:
        raise TranslationError(f"adamcompat has no class for {target.target}")
    chosen, conversion = _best(given, signature, targets, context)
    messages = list(conversion.messages)
    if told is None and signature is not candidates[0]:
        text = f"read as {signature.dialect.title}'s call ({signature.dialect.versions}), the one with these keywords"
        messages.insert(0, info("read-as", text))
    used = [node for node in nodes if call in (getattr(node, "func", None), getattr(node, "value", None))]
    if further := [node for node in used if isinstance(node, (ast.Call, ast.Attribute))]:
        rest = ast.unparse(further[0]).removeprefix(ast.unparse(call))
        text = f"only the call of Adam is translated; {rest} after it is left out"
        messages.append(warning("use-left-out", text))
    if not conversion.ok:
        return Translation(signature.dialect.name, target.name, None, (), tuple(messages))
    text = f"{chosen.name}({', '.join(map(str, conversion.arguments))})"
    imports = tuple(dict.fromkeys([_import_line(chosen), *(_import_root(module) for module in conversion.modules)]))
    return Translation(signature.dialect.name, target.name, text, imports, tuple(messages))


def _parsed(text: str) -> ast.Module:
    """Return the syntax tree of a text; raise an error that says where the text is no Python."""
    try:
        return parse(text)
    except SyntaxError as problem:
        where = f" in line {problem.lineno}" if problem.lineno and "\n" in text else ""
        raise TranslationError(f"not valid Python{where}: {problem.msg}") from None
    except ValueError as problem:
        raise TranslationError(f"not valid Python: {problem}") from None


def _find(nodes: Sequence[ast.AST], bindings: Bindings, told: Dialect | None) -> tuple[ast.Call, tuple[Signature, ...]]:
    """Return the one call of an Adam, and the classes that it may mean."""
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not calls:
        raise TranslationError("there is no call; expected something like tf.keras.optimizers.Adam(0.001)")
    found: list[tuple[ast.Call, tuple[Signature, ...]]] = []
    for call in calls:
        if bindings.ambiguous(call.func):
            raise TranslationError(f"{ast.unparse(call.func)} has several meanings in this code; pass a single call")
        if candidates := bindings.catalogue.classes.get(bindings.resolve(call.func) or ""):
            found.append((call, candidates))
    if not found:
        strange = [name for call in calls if (name := _strange(call, bindings, told))]
        if strange:
            targets = ", ".join(dialect.target for dialect in bindings.catalogue.mapping.dialects.values())
            raise TranslationError(f"{strange[0]} is not translated yet; known: {targets}")
        found = [(call, candidates) for call in calls if (candidates := _loose(call, bindings, told))]
    if not found:
        names = ", ".join(sorted({ast.unparse(call.func) for call in calls}))
        targets = ", ".join(dialect.target for dialect in bindings.catalogue.mapping.dialects.values())
        raise TranslationError(f"none of the calls ({names}) is of an Adam known here; known: {targets}")
    if len(found) > 1:
        raise TranslationError(f"there are {len(found)} calls of Adam; pass one (adamcompat migrate takes whole files)")
    call, candidates = found[0]
    if told is not None:
        candidates = tuple(item for item in candidates if item.dialect is told)
        if not candidates:
            actual = found[0][1][0].title
            raise TranslationError(f"{ast.unparse(call.func)} is {actual}'s, not {told.title}'s")
    return call, candidates


def _strange(call: ast.Call, bindings: Bindings, told: Dialect | None) -> str | None:
    """Return the dotted name of the Adam that is called where it is none of those known here; else None."""
    name = bindings.resolve(call.func)
    if name is not None:
        return bindings.catalogue.elsewhere(name)
    root = root_of(call.func)
    loose = bool(root) and not bindings.bound[root]
    return bindings.catalogue.elsewhere(ast.unparse(call.func), customary=told is None) if loose else None


def _loose(call: ast.Call, bindings: Bindings, told: Dialect | None) -> tuple[Signature, ...]:
    """Return the classes that a name without an import may mean."""
    root = root_of(call.func)
    if told is None and root and not bindings.bound[root]:
        customary = bindings.catalogue.customary(ast.unparse(call.func))
        if customary:
            return customary
    return _by_last_name(call, bindings, told)


def _by_last_name(call: ast.Call, bindings: Bindings, told: Dialect | None) -> tuple[Signature, ...]:
    """Return the class that a name without an import means; raise an error where there are several."""
    root = root_of(call.func)
    if not root or root in bindings.imported:
        return ()
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    mapping = bindings.catalogue.mapping
    classes = (dialect for dialect in mapping.dialects.values() if dialect.protocol != "node")
    meant = [dialect for dialect in classes if dialect.member == last]
    if told is not None:
        return (original(told, mapping),) if meant else ()
    if len(meant) > 1:
        names = ", ".join(dialect.name for dialect in meant)
        raise TranslationError(
            f"{name}(...) may be any of {names}; say which with --from (from_= in Python), or include its import line"
        )
    return tuple(original(dialect, mapping) for dialect in meant)


def _shims(source: Signature, target: Dialect) -> list[Signature]:
    """Return adamcompat's classes for the target's framework; those that keep the source's call come first."""
    return sorted(
        shims(target), key=lambda item: (item.dialect.name != source.dialect.name, item.dialect.name != target.name)
    )


def _best(
    given: Sequence[Argument] | None, source: Signature, targets: Sequence[Signature], context: Context
) -> tuple[Signature, Conversion]:
    """Return the class whose call has the fewest errors and warnings, with its conversion."""
    tried = [(target, convert(given, source, target, context)) for target in targets]

    def trouble(item: tuple[Signature, Conversion]) -> tuple[int, int]:
        severities = [message.severity for message in item[1].messages]
        return severities.count(Severity.ERROR), severities.count(Severity.WARNING)

    return min(tried, key=trouble)


def _import_line(target: Signature) -> str:
    return _import_root(target.name) if target.adapter is None else f"import {target.adapter.module}"


def _import_root(name: str) -> str:
    """Return the import line that makes a dotted name work."""
    first = name.partition(".")[0]
    module = CUSTOMARY.get(first, first)
    return f"import {module}" if module == first else f"import {module} as {first}"

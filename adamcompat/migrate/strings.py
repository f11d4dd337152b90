"""Find the places where a module names Adam by a string, or looks it up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from adamcompat.mapping.model import Dialect
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.module import MENTION, Import, Module
from adamcompat.translation.bindings import root_of
from adamcompat.translation.messages import Message, info, warning
from adamcompat.translation.names import full

# Keras's members, by the names that its functions know them by.
BY_NAME = {
    dialect.member.lower(): dialect for dialect in map(MAPPING.dialects.__getitem__, RUNTIMES["tensorflow"].originals)
}
KERAS = next(iter(BY_NAME.values()))
_KERAS_HOMES = {full(name).rpartition(".")[0] for dialect in BY_NAME.values() for name in dialect.names}
_KERAS_ROOTS = {home.partition(".")[0] for home in _KERAS_HOMES}
# Where a string may name an optimizer: every package that Keras is a part of.
_STRING_ROOTS = {
    full(name).partition(".")[0]
    for dialect in MAPPING.dialects.values()
    if dialect.protocol == KERAS.protocol
    for name in dialect.names
}
# Keras's functions that make an optimizer of its name or of its configuration, and what they call that.
_GETTERS = {f"{home}.get": "identifier" for home in _KERAS_HOMES}
_MAKERS = _GETTERS | {f"{home}.deserialize": "config" for home in _KERAS_HOMES}
# Arguments and methods that show a text to people, or label something with it.
_LABELS = {"label", "labels", "legend", "title", "desc", "description", "help", "suptitle", "xlabel", "ylabel"}
_SHOWING = _LABELS | {"print", "plot", "text", "annotate", "set_title", "set_label", "set_xlabel", "set_ylabel"}
_SHOWING |= {"debug", "info", "warning", "error", "critical", "name_scope", "startswith", "endswith", "replace"}
_NAMESPACES = ("vars", "globals", "locals")


@dataclass(frozen=True, slots=True)
class StringForm:
    """Hold a string that names one of Keras's members where it stands, or may name one.

    Attributes:
        node: the string.
        dialect: the dialect of the member.
        call: the call that is given the string.
        certain: whether it surely is Keras's name of an optimizer.
        after: the import statement that brings Keras; None where none does in that place.
    """

    node: ast.Constant
    dialect: Dialect
    call: ast.Call
    certain: bool
    after: Import | None


@dataclass(frozen=True, slots=True)
class Mention:
    """Hold a place through which an Adam may be got, and that cannot be rewritten.

    Attributes:
        node: the place.
        message: the remark on it.
        dialect: the name of the dialect whose Adam it may be; None where that is open.
    """

    node: ast.expr
    message: Message
    dialect: str | None


def string_forms(module: Module) -> list[StringForm]:
    """Return every ``compile(optimizer="adam")`` and ``optimizers.get("adam")`` of a module.

    Args:
        module: the module. Strings without a place of their own are added to its `unlocated`.
    """
    found: list[StringForm] = []
    for call in module.calls:
        getter = _GETTERS.get(module.bindings.resolve(call.func) or "")
        compiles = isinstance(call.func, ast.Attribute) and call.func.attr == "compile"
        if not (getter or compiles) or module.ignored(call):
            continue
        keyword = getter or "optimizer"
        named = [item.value for item in call.keywords if item.arg == keyword]
        for value in _leaves(next(iter(named + call.args[:1]), None)):
            dialect = BY_NAME.get(_text(value).lower())
            if module.ignored(value) or dialect is None:
                continue
            if not module.located(value):
                module.unlocated.append(value)
                continue
            several = bool(named) or len(call.args) > 1 or any(item.arg == "loss" for item in call.keywords)
            if not getter and not several and _is_module(module, call):
                continue
            home = _home(module, call)
            found.append(StringForm(value, dialect, call, home is not None and (bool(getter) or several), home))
    return found


def _leaves(node: ast.expr | None) -> Iterator[ast.Constant]:
    """Yield the strings of which an expression may be one: itself, or the branches of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from _leaves(node.body)
        yield from _leaves(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _leaves(value)


def _home(module: Module, call: ast.Call) -> Import | None:
    """Return the import statement that brings Keras where a call stands, or None."""
    around = module.ancestors(call)
    brings = [node for node in module.imports if _root(node) in _KERAS_ROOTS]
    seen = [node for node in brings if (function := module.function(node)) is None or function in around]
    return next((node for node in seen if node.col_offset == 0), next(iter(seen), None))


def _root(node: Import) -> str:
    name = (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
    return name.partition(".")[0]


def _is_module(module: Module, call: ast.Call) -> bool:
    """Return whether a method belongs to an imported module, as in ``re.compile``."""
    assert isinstance(call.func, ast.Attribute)
    name = root_of(call.func.value)
    return isinstance(call.func.value, ast.Name) and any(
        isinstance(node, ast.Import) and (alias.asname or alias.name) == name
        for node in module.imports
        for alias in node.names
    )


def mentions(module: Module, forms: list[StringForm]) -> list[Mention]:
    """Return the other strings and look-ups through which an Adam may be got.

    Args:
        module: the module.
        forms: the results of `string_forms`, which are not repeated.
    """
    done: set[ast.AST] = {form.node for form in forms}
    uses_keras = any(_root(node) in _STRING_ROOTS for node in module.imports)
    uses_others = any(module.catalogue.elsewhere(f"{_root(node)}.Adam") for node in module.imports) and not uses_keras
    found: list[Mention] = []
    for node in module.nodes:
        mention = None
        if isinstance(node, ast.Constant) and node not in done and "adam" in _text(node).lower():
            mention = _string(module, node, uses_keras, uses_others)
        elif isinstance(node, ast.Call):
            mention = _look_up(module, node, done) or (_built(module, node) if uses_keras else None)
        elif isinstance(node, ast.Subscript):
            mention = _entry(module, node)
        elif isinstance(node, ast.MatchClass) and _classes(module).intersection(node.kwd_attrs):
            said = f"a pattern of {module.source(node.cls)} takes an attribute that may be an Adam; left alone"
            mention = Mention(node.cls, warning("look-up", said), None)
        if mention is not None and not module.ignored(mention.node) and mention.node not in module.unlocated:
            found.append(mention)
    return found


def _string(module: Module, node: ast.Constant, uses_keras: bool, uses_others: bool) -> Mention | None:
    """Return a remark on a string, or None."""
    text = _text(node)
    dotted = "." in text and len(text) < 100
    if dotted and (signatures := module.catalogue.classes.get(full(text))):
        if _is_no_use(module, node) or module.asks_for_type(node):
            return None
        said = f"{text!r} names {signatures[0].name}; where it is looked up, write the class itself"
        return Mention(node, warning("adam-by-name", said), signatures[0].dialect.name)
    if dotted and module.catalogue.elsewhere(text, customary=True) and not _is_no_use(module, node):
        said = f"{text!r} names an Adam that is not handled yet; left alone"
        return Mention(node, warning("adam-by-name", said), None)
    if _is_path(module, text) and (uses_keras or uses_others) and not _is_no_use(module, node):
        said = f"{text!r} may be looked up in a framework, as the name of an Adam; write the class itself"
        return Mention(node, warning("adam-by-name", said), None)
    member = BY_NAME.get(text.lower())
    if member is None or uses_others or _is_no_use(module, node):
        return None
    name = member.member
    said = f"{text!r} may reach Keras as the name of its {name}; left alone: pass the optimizer itself"
    if uses_keras:
        return Mention(node, warning("adam-by-name", said), member.name)
    return Mention(node, info("adam-by-name", said), member.name) if _chooses(module, node) else None


def _classes(module: Module) -> set[str]:
    """Return the names that classes have in their modules."""
    return {name.rpartition(".")[2] for name in module.catalogue.classes}


def _is_path(module: Module, text: str) -> bool:
    """Return whether a text is the end of a class's dotted name, as in ``attrgetter("optimizers.Adam")``."""
    home, _, last = text.rpartition(".")
    return (
        last in _classes(module)
        and any(f".{known}".endswith(f".{home}") for known in module.catalogue.homes)
        and home != ""
    )


def _is_no_use(module: Module, node: ast.expr) -> bool:
    """Return whether a string is only compared, shown, a key, or part of another."""
    child: ast.AST = node
    for parent in module.ancestors(node):
        if isinstance(parent, (ast.Compare, ast.MatchValue, ast.JoinedStr, ast.Expr)):
            return True
        if isinstance(parent, ast.Dict) and any(child is key for key in parent.keys):
            return True
        if isinstance(parent, ast.Dict) and _label_of(parent, child) in _LABELS:
            return True
        if isinstance(parent, ast.Subscript) and child is parent.slice:
            return True
        if isinstance(parent, ast.keyword) and parent.arg in _LABELS:
            return True
        if isinstance(parent, ast.Call):
            labels = isinstance(child, ast.keyword) and child.arg == "name" and _is_framework(module, parent.func)
            return labels or _last(parent.func) in _SHOWING
        if isinstance(parent, ast.stmt):
            return False
        child = parent
    return False


def _is_framework(module: Module, function: ast.expr) -> bool:
    """Return whether a function is a framework's, or ours: its result is no name, and its ``name=`` is a label."""
    roots = {name.partition(".")[0] for name in module.bindings.meanings(function)}
    return any(root in module.catalogue.roots or module.catalogue.elsewhere(f"{root}.Adam") for root in roots)


def _label_of(entries: ast.Dict, value: ast.AST) -> str:
    """Return the key of a dictionary's value where it is a text, else ""."""
    keys = [key for key, item in zip(entries.keys, entries.values, strict=True) if item is value]
    return _text(keys[0]) if keys and keys[0] is not None else ""


def _chooses(module: Module, node: ast.expr) -> bool:
    """Return whether a string is given to something that is called an optimizer."""
    child: ast.AST = node
    for parent in module.ancestors(node):
        names: list[str] = []
        if isinstance(parent, ast.keyword):
            names = [parent.arg or ""]
        elif isinstance(parent, ast.Dict):
            names = [_label_of(parent, child)]
        elif isinstance(parent, ast.Assign):
            names = [_last(target) for target in parent.targets]
        elif isinstance(parent, (ast.AnnAssign, ast.NamedExpr)):
            names = [_last(parent.target)]
        elif isinstance(parent, ast.arguments):
            names = _defaulted(parent, child)
        elif isinstance(parent, ast.Call):
            names = [_last(parent.func), *map(_text, parent.args)]
        if any("optim" in name.lower() or name.lower() == "opt" for name in names):
            return True
        if isinstance(parent, ast.stmt):
            return False
        child = parent
    return False


def _defaulted(arguments: ast.arguments, default: ast.AST) -> list[str]:
    """Return the name of the parameter that has a default, in a list."""
    plain = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(plain), reversed(arguments.defaults), strict=False)]
    pairs += [(name, value) for name, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    return [name.arg for name, value in pairs if value is default]


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _look_up(module: Module, call: ast.Call, done: set[ast.AST]) -> Mention | None:
    """Return a remark on a call that may get an Adam by a name or a configuration, or None."""
    if isinstance(call.func, ast.Name) and call.func.id == "getattr" and len(call.args) > 1:
        return _attribute(module, call, call.args[0], call.args[1])
    runs = isinstance(call.func, ast.Name) and call.func.id in ("eval", "exec")
    if runs and call.args and MENTION.search(_text(_value(module, call.args[0]))):
        said = f"{module.source(call.func)}() runs code that names Adam, which is not read; write it as code"
        return Mention(call, warning("look-up", said), None)
    name = module.bindings.resolve(call.func) or ""
    if name not in _MAKERS:
        return None
    given = [item.value for item in call.keywords if item.arg == _MAKERS[name]] + call.args[:1]
    if not given:
        return None
    inside = list(ast.walk(given[0]))
    named = any(item in done or _text(item).lower() in BY_NAME for item in inside)
    made = isinstance(given[0], ast.Call) and _is_framework(module, given[0].func)
    if named or made or isinstance(given[0], (ast.Constant, ast.Dict)):
        # The string is reported where it stands; other names are other optimizers.
        return None
    said = f"{module.source(call)} may make Keras's Adam of a name or configuration; left alone"
    return Mention(call, warning("look-up", said), KERAS.name)


def _built(module: Module, call: ast.Call) -> Mention | None:
    """Return a remark on a model that is compiled with a name that is put together, or None."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "compile") or _is_module(module, call):
        return None
    named = [item.value for item in call.keywords if item.arg == "optimizer"]
    given = next(iter(named + call.args[:1]), None)
    if given is None or not _puts_together(_value(module, given)):
        return None
    said = f"{module.source(given)} is put together, and may be Keras's name of its Adam; pass the optimizer itself"
    return Mention(given, warning("adam-by-name", said), KERAS.name)


def _value(module: Module, node: ast.expr) -> ast.expr:
    """Return the expression that a name is given, where it is given one; another expression as it is."""
    return module.values.get(node.id, node) if isinstance(node, ast.Name) else node


def _puts_together(node: ast.expr) -> bool:
    """Return whether an expression makes a text of others."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        return _is_literal(node.left) or _is_literal(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _is_literal(node.func.value)
    return isinstance(node, ast.JoinedStr)


def _is_literal(node: ast.expr) -> bool:
    return (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))) or _puts_together(node)


def _entry(module: Module, node: ast.Subscript) -> Mention | None:
    """Return a remark on ``vars(module)[name]`` and the like, or None."""
    base = node.value
    if isinstance(base, ast.Attribute) and base.attr == "__dict__":
        return _attribute(module, node, base.value, node.slice)
    if not isinstance(base, ast.Call) or _last(base.func) not in _NAMESPACES:
        return None
    if base.args:
        return _attribute(module, node, base.args[0], node.slice)
    if module.catalogue.classes.get(module.bindings.resolve(ast.Name(_text(node.slice), ast.Load())) or ""):
        said = f"{module.source(node)} looks Adam up by its name; write the name itself"
        return Mention(node, warning("look-up", said), None)
    return None


def _attribute(module: Module, node: ast.expr, home: ast.expr, name: ast.expr) -> Mention | None:
    """Return a remark on an attribute of a module that is looked up by a name, or None."""
    for meaning in sorted(module.bindings.meanings(home)):
        if meaning not in module.catalogue.homes:
            continue
        whole = f"{meaning}.{_text(name)}"
        if not isinstance(name, ast.Constant):
            said = f"{module.source(node)} may be {meaning}'s Adam; left alone"
        elif whole in module.catalogue.classes or module.catalogue.elsewhere(whole):
            said = f"{module.source(node)} is {whole}, looked up by its name; write that"
        else:
            return None
        classes = module.catalogue.classes.items()
        dialects = [found[0].dialect.name for key, found in classes if key.rpartition(".")[0] == meaning]
        return Mention(node, warning("look-up", said), next(iter(dialects), None))
    return None


def _text(node: ast.AST) -> str:
    """Return the text of a string, "" for any other expression."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""

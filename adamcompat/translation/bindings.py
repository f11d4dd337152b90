"""Find the objects that a module's names stand for, as far as its imports and plain assignments tell."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from adamcompat.translation.names import CUSTOMARY, KNOWN, Catalogue, canonical, full


@dataclass
class Bindings:
    """Tell which objects the names of a module stand for.

    Attributes:
        imported: name to the dotted names that are imported under it.
        followed: name to the dotted names that are assigned to it, as in ``keras = tf.keras``.
        followed_from: name to the names at the beginning of the expressions that are assigned to it.
        rebound: names that get a value in another way, anywhere in the module.
        places: the nodes that give a name a value, by whatever means, each with the name.
        bound: how often each name gets a value.
        stars: modules of ``from module import *``.
        customary: whether a name that is not bound at all may mean what it customarily means.
        catalogue: the classes that are known.
    """

    imported: dict[str, set[str]] = field(default_factory=dict)
    followed: dict[str, set[str]] = field(default_factory=dict)
    followed_from: dict[str, set[str]] = field(default_factory=dict)
    rebound: set[str] = field(default_factory=set)
    places: list[tuple[ast.AST, str]] = field(default_factory=list)
    bound: Counter[str] = field(default_factory=Counter)
    stars: list[str] = field(default_factory=list)
    customary: bool = False
    catalogue: Catalogue = KNOWN

    @classmethod
    def of(cls, nodes: Sequence[ast.AST], *, customary: bool = False, catalogue: Catalogue = KNOWN) -> Bindings:
        """Return the bindings of a module.

        Args:
            nodes: every node of the module's syntax tree.
            customary: whether a name that is not bound at all may mean what it customarily means, as ``tf`` does.
            catalogue: the classes that are known.
        """
        found = cls(customary=customary, catalogue=catalogue)
        plain: dict[str, list[ast.expr]] = {}
        targets: set[ast.expr] = set()
        for target, value in _assignments(nodes):
            plain.setdefault(target.id, []).append(value)
            targets.add(target)
        found.places = [(node, name) for node in nodes if type(node) in _BINDING for name in _names_bound_by(node)]
        for node, bound in found.places:
            found.bound[bound] += 1
            if node not in targets and not isinstance(node, (ast.Import, ast.ImportFrom)):
                found.rebound.add(bound)
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    whole = alias.name if alias.asname else name
                    found.imported.setdefault(name, set()).add(canonical(whole))
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if alias.name == "*":
                        found.stars.append(canonical(node.module or ""))
                    else:
                        whole = f"{'.' * node.level}{node.module or ''}.{alias.name}"
                        found.imported.setdefault(alias.asname or alias.name, set()).add(canonical(whole))
        found._follow(plain)
        return found

    def _follow(self, plain: dict[str, list[ast.expr]]) -> None:
        """Let names that only stand for other names mean the same as those; a name of a name, too."""
        # None is what a name is given where an import fails; it is no Adam.
        plain = {name: [value for value in values if not _is_none(value)] for name, values in plain.items()}
        waiting = {
            name: values
            for name, values in plain.items()
            if name not in self.rebound and all(isinstance(value, (ast.Name, ast.Attribute)) for value in values)
        }
        self.rebound.update(name for name, values in plain.items() if values or name not in self.imported)
        progress = True
        while progress:
            progress = False
            for name, values in list(waiting.items()):
                found = [self.meanings(value) for value in values if root_of(value) not in self.rebound]
                if values and len(found) == len(values) and all(found):
                    self.followed[name] = set().union(*found)
                    self.followed_from[name] = {root_of(value) for value in values}
                    self.rebound.discard(name)
                    del waiting[name]
                    progress = True

    def followers(self, name: str) -> set[str]:
        """Return a name with the names that stand for the same, as ``A`` in ``A = Adam`` does.

        Args:
            name: a name of the module.
        """
        found = {name}
        while more := {other for other, roots in self.followed_from.items() if roots & found} - found:
            found |= more
        return found

    def resolve(self, node: ast.expr) -> str | None:
        """Return the full dotted name of an expression such as ``tf.keras.optimizers.Adam``, or None.

        A name with several meanings resolves where all of them are the same class.

        Args:
            node: any expression.
        """
        found = sorted(self.meanings(node))
        classes = [self.catalogue.classes.get(name) for name in found]
        same = None not in classes and all(item == classes[0] for item in classes)
        return found[0] if len(found) == 1 or (found and same) else None

    def meanings(self, node: ast.expr) -> set[str]:
        """Return every dotted name that an expression may stand for.

        Args:
            node: any expression; only names and their attributes stand for something.
        """
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return set()
        rest = "".join(f".{name}" for name in reversed(attributes))
        if node.id in self.imported or node.id in self.followed:
            roots = self.imported.get(node.id, set()) | self.followed.get(node.id, set())
            return {canonical(root + rest) for root in roots}
        if node.id in self.rebound:
            return set()
        starred = {canonical(f"{module}.{node.id}{rest}") for module in self.stars}
        if known := {name for name in starred if name in self.catalogue.classes}:
            return known
        if self.customary and (node.id in CUSTOMARY or node.id in self.catalogue.roots):
            return {full(node.id + rest)}
        return set()

    def ambiguous(self, node: ast.expr) -> bool:
        """Return whether an expression may be an Adam that is known here, or something else.

        Args:
            node: any expression.
        """
        root = root_of(node)
        if not root or not self.meanings(node) & self.catalogue.classes.keys():
            return False
        return root in self.rebound or self.resolve(node) is None


def root_of(node: ast.expr) -> str:
    """Return the name at the beginning of an expression such as ``a.b.c``, or "".

    Args:
        node: any expression.
    """
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


_BINDING = {
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.arg,
    ast.Name,
    ast.ExceptHandler,
    ast.MatchAs,
    ast.MatchStar,
    ast.MatchMapping,
}


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node of one of these types gives a value."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        if node.name:
            yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _assignments(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.Name, ast.expr]]:
    """Yield the names that are assigned something plainly, each with the expression."""
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _pairs(target, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            yield from _pairs(node.target, node.value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.Name, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target, value
    elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        starred = any(isinstance(item, ast.Starred) for item in (*target.elts, *value.elts))
        if len(target.elts) == len(value.elts) and not starred:
            for one, other in zip(target.elts, value.elts, strict=True):
                yield from _pairs(one, other)

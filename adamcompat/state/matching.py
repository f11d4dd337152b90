"""Which parameter of one model is which of another, and how its axes lie there."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from adamcompat.mapping.tables import MAPPING
from adamcompat.state import naming
from adamcompat.state.errors import StateError
from adamcompat.state.layout import SAME, Shape, Transform, all_of, of_layer, permuted, rearranged, same, same_in_both

Replacement: TypeAlias = tuple[str, str]
Rename: TypeAlias = Mapping[str, str] | Replacement | Sequence[Replacement] | str
LayoutName: TypeAlias = str | tuple[int, ...]
Layout: TypeAlias = LayoutName | Mapping[str, LayoutName]

ORDER = "order"
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Pair:
    """One parameter and its partner.

    Attributes:
        source, target: their names.
        transform: how the tensor is brought from one to the other.
        evidence: why the two belong together: "name", "shape", "order" or "rename".
    """

    source: str
    target: str
    transform: Transform
    evidence: str


@dataclass(frozen=True, slots=True)
class Matching:
    """Partners for all parameters, to be looked at and then passed to `AdamState.load_into`.

    ``print(matching)`` shows a table: names and shapes on either side, the layout (``dense (1,0)`` is
    ``numpy.transpose(array, (1, 0))`` by the rule for dense layers) and why the two were matched.
    """

    pairs: tuple[Pair, ...]

    @property
    def by_target(self) -> dict[str, Pair]:
        """The pairs by the name of their target."""
        return {pair.target: pair for pair in self.pairs}

    @property
    def inverse(self) -> Matching:
        """The way back."""
        return Matching(
            tuple(Pair(pair.target, pair.source, pair.transform.inverse, pair.evidence) for pair in self.pairs)
        )

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Source, target, layout and evidence of each pair, as text."""
        return [
            (
                f"{pair.source} {pair.transform.source}",
                f"{pair.target} {pair.transform.shape}",
                str(pair.transform),
                f"by {pair.evidence}",
            )
            for pair in self.pairs
        ]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
        return "\n".join(
            f"{source:<{widths[0]}} -> {target:<{widths[1]}}  {layout:<{widths[2]}}  {evidence}"
            for source, target, layout, evidence in rows
        )


def match(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    *,
    source_convention: str | None = None,
    target_convention: str | None = None,
    rename: Rename | None = None,
    layout: Layout | None = None,
) -> Matching:
    """Find each parameter's partner and layout.

    Without `rename`, names decide first: equal names, then the same weight of a layer of the same
    name (``net/conv1/kernel`` and ``conv1.weight``). What names leave open, shapes decide, where only
    one way is possible; weights of one layer go to one layer. Between frameworks a layer's weight may
    lie in another order; which layers it may belong to is known from its name (``kernel``, ``weight``,
    ``embedding_table``, ...) and else from its shape alone. A dense layer behind a flattened map of
    features must be told apart by `layout`: TensorFlow flattens (h, w, c), MindSpore (c, h, w).

    Args:
        source, target: shapes by name, in order.
        source_convention, target_convention: "tensorflow" or "mindspore": whose layouts the tensors
            have. None asks their names; where those do not say it either, it may be any.
        rename: a dictionary from source to target names (what it leaves out is matched as without it),
            a pair of a regular expression and its replacement or a list of such, applied to source
            names one after the other, or "order": the first to the first, the second to the second.
        layout: "same", the name of a layout in mapping.yaml ("dense", "conv", "depthwise", ...), a
            permutation of axes as for numpy.transpose, or a pattern as `layout.rearranged` takes it; for
            all tensors that it fits, or a dictionary from names (of either side) to one.

    Raises:
        StateError: a parameter has no partner, or more than one is possible, or its shape does not
            fit, or its layout is ambiguous; all candidates are listed.

    >>> print(match({"net/conv/kernel": (3, 3, 1, 8), "net/fc/kernel": (8, 10)},
    ...             {"conv.weight": (8, 1, 3, 3), "fc.weight": (10, 8)}))
    net/conv/kernel (3, 3, 1, 8) -> conv.weight (8, 1, 3, 3)  conv (3,2,0,1)  by name
    net/fc/kernel (8, 10)        -> fc.weight (10, 8)         dense (1,0)     by name
    """
    matcher = _Matcher(
        source,
        target,
        source_convention or naming.convention_of(source),
        target_convention or naming.convention_of(target),
        layout,
    )
    return matcher.run(rename)


class _Matcher:
    def __init__(
        self,
        source: Mapping[str, Shape],
        target: Mapping[str, Shape],
        source_convention: str | None,
        target_convention: str | None,
        layout: Layout | None,
    ) -> None:
        self.source = {name: tuple(shape) for name, shape in source.items()}
        self.target = {name: tuple(shape) for name, shape in target.items()}
        self.conventions = source_convention, target_convention
        self.layout = layout
        self.kinds = {name: naming.layers_of(name, source_convention) for name in source}
        self.target_kinds = {name: naming.layers_of(name, target_convention) for name in target}
        self.parts = {name: naming.split(name) for name in (*source, *target)}
        one, other = naming.numbered(source), naming.numbered(target)
        # Parts of names that mean the same on either side: those that no count of layers can have shifted.
        self.steady = {part for common, parts in one.items() if other.get(common) == parts for part in parts}
        self.chosen: dict[str, tuple[str, str]] = {}
        self._check_layout()

    def run(self, rename: Rename | None) -> Matching:
        self._given(rename)
        self._by_name()
        self._by_shape()
        if self.layout is not None and not any(
            self._layout_given(name, partner) is not None for name, (partner, _) in self.chosen.items()
        ):
            raise StateError(f"layout={self.layout!r} fits no parameter; leave it out, or check the shapes")
        pairs = tuple(
            Pair(name, self.chosen[name][0], self._transform(name, *self.chosen[name]), self.chosen[name][1])
            for name in self.source
        )
        self._check_flattened(pairs)
        return Matching(pairs)

    @property
    def left(self) -> list[str]:
        return [name for name in self.source if name not in self.chosen]

    @property
    def free(self) -> list[str]:
        taken = {target for target, _ in self.chosen.values()}
        return [name for name in self.target if name not in taken]

    # What the caller says.

    def _given(self, rename: Rename | None) -> None:
        if rename is None:
            return
        if rename == ORDER:
            pairs = self._in_order()
        elif isinstance(rename, Mapping):
            pairs = [*rename.items()]
            for name in rename:
                if name not in self.source:
                    raise StateError(f"rename: the state has no parameter {name!r}; it has {_some(self.source)}")
        else:
            pairs = self._replaced(rename)
        for name, partner in pairs:
            if partner not in self.target:
                raise StateError(
                    f"rename: {name!r} becomes {partner!r}, which the target does not have; it has {_some(self.free)}"
                )
            self.chosen[name] = partner, ORDER if rename == ORDER else "rename"
        for partner, times in Counter(partner for _, partner in pairs).items():
            if times > 1:
                both = [name for name, other in pairs if other == partner]
                raise StateError(f"rename: {_some(both)} all become {partner!r}")

    def _in_order(self) -> list[tuple[str, str]]:
        if len(self.source) != len(self.target):
            raise StateError(
                f"by order: the state has {len(self.source)} parameters and the target {len(self.target)}: "
                f"{_some(self.source)} and {_some(self.target)}"
            )
        pairs = [*zip(self.source, self.target, strict=True)]
        for number, (name, partner) in enumerate(pairs):
            if not self._compatible(name, partner):
                raise StateError(
                    f"by order: parameter {number} is {name!r} here and {partner!r} in the target, which are "
                    f"different weights of a layer; pass rename={{source name: target name}}"
                )
        return pairs

    def _replaced(self, rename: object) -> list[tuple[str, str]]:
        rules = [rename] if _is_rule(rename) else rename
        if not isinstance(rules, Sequence) or isinstance(rules, str) or not all(map(_is_rule, rules)):
            raise StateError(
                f"rename must be a dictionary, (pattern, replacement), a list of such pairs, or {ORDER!r}; "
                f"got {rename!r}"
            )
        pairs = []
        for name in self.source:
            new, hits = name, 0
            for pattern, replacement in rules:
                try:
                    new, times = re.subn(pattern, replacement, new)
                except (re.error, IndexError) as error:
                    raise StateError(f"rename: {pattern!r} to {replacement!r}: {error}") from None
                hits += times
            if hits:
                pairs.append((name, new))
        if not pairs:
            raise StateError(f"rename: no pattern occurs in any name; the state has {_some(self.source)}")
        return pairs

    def _check_layout(self) -> None:
        layouts = self.layout.items() if isinstance(self.layout, Mapping) else [("", self.layout)]
        for name, layout in layouts:
            if name and name not in self.source and name not in self.target:
                raise StateError(f"layout: there is no parameter {name!r}; there are {_some(self.source)}")
            known = (SAME, *MAPPING.layers)
            if isinstance(layout, str) and "->" in layout:
                try:
                    rearranged(layout, (), ())
                except ValueError as error:
                    raise StateError(f"layout: {error}") from None
            elif isinstance(layout, str) and layout not in known:
                raise StateError(f"layout: {layout!r} is none of {', '.join(known)}, and no permutation of axes")
            if isinstance(layout, tuple) and sorted(layout) != list(range(len(layout))):
                raise StateError(f"layout: {layout} is no permutation; write each axis once, as (1, 0)")
            if layout is not None and not isinstance(layout, (str, tuple)):
                raise StateError(f"layout must be a name, a permutation as (1, 0), or a dictionary; got {layout!r}")

    # What names say.

    def _by_name(self) -> None:
        for name in self.left:
            module, weight = self.parts[name]
            if name in self.free and naming.is_name(name) and self.steady.issuperset(module or (weight,)):
                self.chosen[name] = name, "name"
        left, free = self.left, self.free
        partners = {name: [partner for partner in free if self._correspond(name, partner)] for name in left}
        times = Counter(partner for found in partners.values() for partner in found)
        for name, found in partners.items():
            if len(found) == 1 and times[found[0]] == 1:
                self.chosen[name] = found[0], "name"

    def _compatible(self, name: str, partner: str) -> bool:
        """Whether two names may stand for the same weight."""
        one, other = self.kinds[name], self.target_kinds[partner]
        return not one or not other or bool(one & other)

    def _correspond(self, name: str, partner: str) -> bool:
        """Whether two names stand for the same weight of a layer of the same name."""
        (module, weight), (other_module, other_weight) = self.parts[name], self.parts[partner]
        depth = min(len(module), len(other_module))
        if not depth or module[-depth:] != other_module[-depth:] or not self.steady.issuperset(module[-depth:]):
            return False
        known = bool(self.kinds[name] & self.target_kinds[partner])
        return known or (weight == other_weight and self._compatible(name, partner))

    # What shapes say.

    def _by_shape(self) -> None:
        """Choose what can be chosen in one way only, until nothing is left.

        Where a single way of pairing all exists, there is always a parameter with a single candidate.
        """
        by_size: dict[int, list[str]] = {}
        for partner in self.free:
            by_size.setdefault(math.prod(self.target[partner]), []).append(partner)
        fits = {
            name: [
                partner
                for partner in by_size.get(math.prod(self.source[name]), ())
                if self._compatible(name, partner) and self._options(name, partner)
            ]
            for name in self.left
        }
        while self.left:
            free, layers = set(self.free), self._layers()

            def may_be(name: str, partner: str) -> bool:
                one, other = self.parts[name][0], self.parts[partner][0]
                return partner in free and layers.get(one, other) == other  # noqa: B023

            candidates = {name: [partner for partner in fits[name] if may_be(name, partner)] for name in self.left}
            times = Counter(partner for found in candidates.values() for partner in found)
            sure = [
                (name, partner)
                for name, found in candidates.items()
                for partner in found
                if len(found) == 1 or times[partner] == 1
            ]
            if not sure:
                raise self._stuck(candidates)
            for name, partner in sure:
                if name not in self.chosen and partner in free:
                    self.chosen[name] = partner, "shape"
                    free.remove(partner)
        if self.free:
            raise self._without_partner([], self.free)

    def _layers(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Layers that are known to be partners: one of their weights is, and they have equally many."""
        sizes = Counter(self.parts[name][0] for name in self.source)
        target_sizes = Counter(self.parts[name][0] for name in self.target)
        pairs = ((self.parts[name][0], self.parts[partner][0]) for name, (partner, _) in self.chosen.items())
        return {one: other for one, other in pairs if sizes[one] == target_sizes[other]}

    def _stuck(self, candidates: Mapping[str, Sequence[str]]) -> StateError:
        alone = [name for name, found in candidates.items() if not found]
        wanted = {partner for found in candidates.values() for partner in found}
        lonely = [partner for partner in self.free if partner not in wanted]
        if alone or lonely:
            return self._without_partner(alone, lonely)
        lines = [
            f"  {name} {self.source[name]} may be {_some([f'{partner} {self.target[partner]}' for partner in found])}"
            for name, found in candidates.items()
        ]
        return StateError(
            "names and shapes leave open which parameter is which:\n"
            + _lines(lines)
            + f"\npass rename={{source name: target name}} for some of them, or rename={ORDER!r} if both models list "
            f"their parameters in the same order"
        )

    def _without_partner(self, alone: Sequence[str], lonely: Sequence[str]) -> StateError:
        lines = [f"  {name} {self.source[name]} of the state has none in the target" for name in alone]
        lines += [f"  {name} {self.target[name]} of the target has none in the state" for name in lonely]
        return StateError(
            "parameters without a partner:\n"
            + _lines(lines)
            + "\nload state of the same model; if it is, pass rename={source name: target name}"
        )

    # Layouts.

    def _options(self, name: str, partner: str) -> list[Transform]:
        """The layouts in which a tensor may go from one parameter to the other; each effect once."""
        source, target = self.source[name], self.target[partner]
        given = self._layout_given(name, partner)
        found = self._as_given(given, source, target) if given is not None else self._fitting(name, partner)
        distinct: dict[object, Transform] = {}
        for transform in found:
            distinct.setdefault(transform.effect, transform)
        return [*distinct.values()]

    def _layout_given(self, name: str, partner: str) -> LayoutName | None:
        if isinstance(self.layout, Mapping):
            return self.layout.get(name, self.layout.get(partner))
        layout = self.layout
        if layout is None or layout == SAME:
            return layout
        axes = len(self.source[name])
        if isinstance(layout, tuple):
            return layout if len(layout) == axes else None
        shared = self.kinds[name] & self.target_kinds[partner]
        if shared and layout not in shared and "->" not in layout:
            return None
        fits = any(self._as_given(layout, self.source[name], self.target[partner]))
        return layout if fits else None

    def _as_given(self, layout: LayoutName, source: Shape, target: Shape) -> Iterator[Transform]:
        if isinstance(layout, tuple):
            found = [permuted(layout, source, target)]
        elif layout == SAME:
            found = [same(source, target)]
        elif "->" in layout:
            found = [rearranged(layout, source, target)]
        else:
            found = [of_layer(MAPPING.layers[layout], source, target, to=to) for to in self._ways()]
        yield from (transform for transform in found if transform is not None)

    def _ways(self) -> list[str]:
        """To which framework's layouts a tensor may go."""
        source, target = self.conventions
        if source is not None and source == target:
            return []
        if target is not None:
            return [target]
        return [framework for framework in naming.FRAMEWORKS if framework != source]

    def _fitting(self, name: str, partner: str) -> Iterator[Transform]:
        source, target = self.source[name], self.target[partner]
        if self.conventions[0] == self.conventions[1]:
            unchanged = same(source, target)
            yield from [] if unchanged is None else [unchanged]
            return
        shared = self.kinds[name] & self.target_kinds[partner]
        if None in self.conventions or not shared:
            for to in self._ways():
                yield from all_of(source, target, to=to)
            return
        for kind in MAPPING.layers.values():
            if kind.name in shared:
                for to in self._ways():
                    transform = same(source, target) if same_in_both(kind) else of_layer(kind, source, target, to=to)
                    yield from [] if transform is None else [transform]

    def _transform(self, name: str, partner: str, evidence: str) -> Transform:
        options = self._options(name, partner)
        if len(options) == 1:
            return options[0]
        where = f"{name!r} of shape {self.source[name]} and {partner!r} of shape {self.target[partner]}"
        if not options:
            given = self._layout_given(name, partner)
            if isinstance(given, str) and given != SAME and not self._ways():
                given = f"{given}, which is the same for both: they are {self.conventions[0]}'s"
            how = f"in the layout {given!r}" if given is not None else "in any layout that their names allow"
            raise StateError(
                f"{where} were matched by {evidence}, but do not fit {how}; load state of the same model, or pass "
                f"rename={{source name: target name}} or layout={{{name!r}: permutation of axes}}"
            )
        names = [option.name if not option.keeps_order else SAME for option in options]
        raise StateError(
            f"the layout of {where} is ambiguous: {' or '.join(map(repr, names))}; pass "
            f"layout={{{name!r}: {names[-1]!r}}} or another of them"
        )

    def _check_flattened(self, pairs: Sequence[Pair]) -> None:
        """Refuse a dense layer right after a convolution if its inputs are a multiple of the channels.

        It follows a flattened map of features, which TensorFlow and MindSpore flatten in different orders.
        """
        to_mindspore = self._ways() == ["mindspore"]
        channels, axes = 1, 0
        for pair in pairs:
            ours, theirs = pair.transform.source, pair.transform.shape
            if pair.transform.name in ("conv", "depthwise"):
                channels, axes = (theirs[0], len(ours) - 2) if to_mindspore else (ours[0], len(theirs) - 2)
            elif len(ours) == 2 and pair.transform.name not in (SAME, "embedding"):
                inputs = ours[0] if to_mindspore else ours[1]
                if channels > 1 and inputs > channels and inputs % channels == 0 and not self._is_given(pair):
                    raise StateError(_flattened(pair, inputs // channels, axes, to_mindspore=to_mindspore))
                channels = 1

    def _is_given(self, pair: Pair) -> bool:
        return self._layout_given(pair.source, pair.target) is not None


def _flattened(pair: Pair, places: int, axes: int, *, to_mindspore: bool) -> str:
    letters = "dhw"[3 - axes :]
    side = round(places ** (1 / axes))
    space = " ".join(letters)
    sized = " ".join(f"{letter}={side if side**axes == places else '?'}" for letter in letters)
    pattern = f"({sized} c) o -> o (c {space})" if to_mindspore else f"o (c {sized}) -> ({space} c) o"
    return (
        f"{pair.source!r} of shape {pair.transform.source} seems to follow a flattened map of {places} places, which "
        f"TensorFlow flattens as ({space} c) and MindSpore as (c {space}); pass layout={{{pair.source!r}: "
        f"{pattern!r}}} with the sizes of the map, or 'dense' if nothing is flattened there"
    )


def _is_rule(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return (", ".join(listed[:_SHOWN]) or "none") + more


def _lines(lines: Sequence[str]) -> str:
    more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([*lines[:_SHOWN], *more])

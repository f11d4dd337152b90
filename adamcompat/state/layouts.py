"""Find the layouts in which a tensor may go from one parameter to another, by what the caller or the names say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from adamcompat.mapping.runtimes import ORIGINALS
from adamcompat.mapping.tables import MAPPING
from adamcompat.state import advice, naming
from adamcompat.state.advice import some
from adamcompat.state.layout import SAME, Transform, all_of, of_layer, permuted, rearranged, same, same_in_both
from adamcompat.state.pairing import Layout, LayoutName, Pair
from adamcompat.state.sides import Sides
from adamcompat.state.terms import Shape


class Layouts:
    """Find the layouts of one matching; what is wrong is added to the problems of `sides`.

    Attributes:
        sides: the parameters of both sides.
        layout: the layout that the caller gives, for all parameters or by name; None where the caller gives none.
    """

    def __init__(self, sides: Sides, layout: Layout | None) -> None:
        self.sides = sides
        self.layout = layout
        self._check()

    def _check(self) -> None:
        layouts = self.layout.items() if isinstance(self.layout, Mapping) else [("", self.layout)]
        for name, layout in layouts:
            if name and name not in self.sides.source and name not in self.sides.target:
                known = f"the state has {some(self.sides.source)}; the target has {some(self.sides.target)}"
                self.sides.problems.append(f"layout: there is no parameter {name!r}; {known}")
            wrong = _wrong_layout(layout)
            if wrong:
                self.sides.problems.append(wrong)
                self.layout = None

    def options(self, name: str, partner: str) -> list[Transform]:
        """Return the layouts in which a tensor may go from one parameter to another; of those with the same effect one.

        Args:
            name: a parameter of the source.
            partner: a parameter of the target.

        Returns:
            The layout that the caller gives, where there is one, else those that the names allow; only those that fit
            the shapes.
        """
        source, target = self.sides.source[name], self.sides.target[partner]
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
        axes = len(self.sides.source[name])
        if isinstance(layout, tuple):
            return layout if len(layout) == axes else None
        shared = self.sides.kinds[name] & self.sides.target_kinds[partner]
        if shared and layout not in shared and "->" not in layout:
            return None
        fits = any(self._as_given(layout, self.sides.source[name], self.sides.target[partner]))
        return layout if fits else None

    def _as_given(self, layout: LayoutName, source: Shape, target: Shape) -> Iterator[Transform]:
        if isinstance(layout, tuple):
            found = [permuted(layout, source, target)]
        elif layout == SAME:
            found = [same(source, target)]
        elif "->" in layout:
            found = [rearranged(layout, source, target)]
        else:
            found = [of_layer(MAPPING.layers[layout], source, target, of=of, to=to) for of, to in self._ways()]
        yield from (transform for transform in found if transform is not None)

    def _ways(self) -> list[tuple[str, str]]:
        """Return the pairs of frameworks, from and to, whose layouts a tensor may have on either side."""
        sources, targets = (
            naming.FRAMEWORKS if convention is None else (convention,) for convention in self.sides.conventions
        )
        return [(source, target) for source in sources for target in targets if source != target]

    def _fitting(self, name: str, partner: str) -> Iterator[Transform]:
        source, target = self.sides.source[name], self.sides.target[partner]
        if self.sides.conventions[0] == self.sides.conventions[1]:
            unchanged = same(source, target)
            yield from [] if unchanged is None else [unchanged]
            return
        shared = self.sides.kinds[name] & self.sides.target_kinds[partner]
        if None in self.sides.conventions or not shared:
            for of, to in self._ways():
                yield from all_of(source, target, of=of, to=to)
            return
        for kind in MAPPING.layers.values():
            if kind.name in shared:
                for of, to in self._ways():
                    alike = same_in_both(kind, of, to)
                    transform = same(source, target) if alike else of_layer(kind, source, target, of=of, to=to)
                    yield from [] if transform is None else [transform]

    def pair(self, name: str, partner: str, evidence: str) -> Pair | None:
        """Return two partners with the layout that leads from one to the other.

        Args:
            name: the parameter of the source.
            partner: the parameter of the target.
            evidence: why the two belong together: "name", "shape", "order" or "rename".

        Returns:
            The pair; None, with a problem noted, where no layout fits or more than one does.
        """
        options = self.options(name, partner)
        if len(options) == 1:
            return Pair(name, partner, options[0], evidence)
        source, target = self.sides.source[name], self.sides.target[partner]
        if not options:
            given = self._layout_given(name, partner)
            if isinstance(given, str) and given != SAME and not self._ways():
                given = f"{given}, which is the same for both: they are {self.sides.conventions[0]}'s"
            how = f"in the layout {given!r}" if given is not None else "in any layout that their names allow"
            self.sides.problems.append(advice.misfit(name, source, partner, target, evidence, how))
            return None
        names = [option.name if not option.keeps_order else SAME for option in options]
        self.sides.problems.append(
            f"the layout of {name!r} of shape {source} and {partner!r} of shape {target} is ambiguous: "
            f"{' or '.join(map(repr, names))}; pass layout={{{name!r}: {names[-1]!r}}} or another of them"
        )
        return None

    def check_flattened(self, pairs: Sequence[Pair]) -> Iterator[str]:
        """Note a problem for a dense layer right after a convolution if its inputs are a multiple of the channels.

        Such a layer follows a flattened map of features. Frameworks with channels last and frameworks with channels
        first flatten it in different orders. Shapes do not tell whether a recurrent layer follows one.

        Args:
            pairs: all pairs, in the order of the source.

        Yields:
            A note on each recurrent layer right after a convolution.
        """
        ways = [(one, other) for one, other in self._ways() if _channels_last(one) != _channels_last(other)]
        if not ways:
            return
        # Where it is open to which framework it goes, to any.
        last, first = ways[0] if _channels_last(ways[0][0]) else ways[0][::-1]
        to_first = last == ways[0][0]
        channels, axes = 1, 0
        for pair in pairs:
            ours, theirs = pair.transform.source, pair.transform.shape
            if pair.transform.name in ("conv", "depthwise"):
                channels, axes = (theirs[0], len(ours) - 2) if to_first else (ours[0], len(theirs) - 2)
            elif len(ours) == 2 and pair.transform.name not in (SAME, "embedding"):
                inputs = ours[0] if to_first else ours[1]
                if channels > 1 and inputs > channels and inputs % channels == 0 and not self.is_given(pair):
                    text = _flattened(pair, inputs // channels, axes, last, first, to_first=to_first)
                    if pair.transform.name not in MAPPING.compounds:
                        self.sides.problems.append(
                            f"{pair.source!r} of shape {ours} seems to follow {text}, or 'dense' if nothing is "
                            f"flattened there"
                        )
                    elif MAPPING.compounds[pair.transform.name].cell:
                        yield f"if {pair.source!r} of shape {ours} follows {text}; if not, it is right as it is"
                channels = 1

    def pattern(self, name: str, partner: str) -> str | None:
        """Return the layout, in letters, that the caller gives by name for a weight that is matched with its layer.

        Args:
            name: the parameter of the source.
            partner: the parameter of the target.

        Returns:
            A pattern; None where the caller names neither of the two. A pattern without a right side stands for the
            layout of a kind of layer that has no such weight.
        """
        given = self._layout_given(name, partner) if isinstance(self.layout, Mapping) else None
        if given is None or (isinstance(given, str) and "->" in given):
            return given
        letters = "abcdefgh"[: len(self.sides.source[name])]
        if isinstance(given, tuple):
            return f"{' '.join(letters)} -> {' '.join(letters[axis] for axis in given if axis < len(letters))}"
        if given == SAME:
            return f"{' '.join(letters)} -> {' '.join(letters)}"
        known = MAPPING.layers[given].weights
        weights = [known[framework].axes for framework in self.sides.conventions if framework is not None]
        if len(weights) < 2:
            return f"{given} ->"
        fits = [
            f"{ours} -> {theirs}" for ours, theirs in zip(*weights, strict=True) if len(ours.split()) == len(letters)
        ]
        return fits[0] if fits else f"{given} ->"

    def check_used(self, pairs: Sequence[Pair]) -> None:
        """Note a problem if the caller gives a layout that fits none of the pairs."""
        if self.layout is not None and not any(map(self.is_given, pairs)):
            self.sides.problems.append(f"layout={self.layout!r} fits no parameter; leave it out, or check the shapes")

    def is_given(self, pair: Pair) -> bool:
        """Return whether the caller gives the layout of a pair."""
        return self._layout_given(pair.source, pair.target) is not None


def _wrong_layout(layout: object) -> str:
    known = (SAME, *MAPPING.layers)
    if isinstance(layout, str) and "->" in layout:
        try:
            rearranged(layout, (), ())
        except ValueError as error:
            return f"layout: {error}"
    elif isinstance(layout, str) and layout not in known:
        return f"layout: {layout!r} is none of {', '.join(known)}, and no permutation of axes"
    if isinstance(layout, tuple) and sorted(layout) != list(range(len(layout))):
        return f"layout: {layout} is no permutation; write each axis once, as (1, 0)"
    if layout is not None and not isinstance(layout, (str, tuple)):
        return f"layout must be a name, a permutation as (1, 0), or a dictionary; got {layout!r}"
    return ""


def _channels_last(framework: str) -> bool:
    """Return whether a framework's maps of features have their channels last: its kernels begin with axes of space."""
    return MAPPING.layers["conv"].weights[framework].axes[0].startswith("w")


def _flattened(pair: Pair, places: int, axes: int, last: str, first: str, *, to_first: bool) -> str:
    """Describe the layout of a dense layer after a flattened map of features.

    Args:
        pair: the dense layer.
        places: the number of places of the map.
        axes: the number of axes of space, from 1 to 3.
        last: the framework that has channels last.
        first: the framework that has channels first.
        to_first: whether the state goes from `last` to `first`.

    Returns:
        A part of a sentence, with the value of `layout` to pass.
    """
    letters = "dhw"[3 - axes :]
    side = round(places ** (1 / axes))
    space = " ".join(letters)
    sized = " ".join(f"{letter}={side if side**axes == places else '?'}" for letter in letters)
    pattern = f"({sized} c) o -> o (c {space})" if to_first else f"o (c {sized}) -> ({space} c) o"
    one, other = (ORIGINALS[framework].title for framework in (last, first))
    return (
        f"a flattened map of {places} places, which {one} flattens as ({space} c) and {other} as (c {space}); "
        f"pass layout={{{pair.source!r}: {pattern!r}}} with the sizes of the map"
    )

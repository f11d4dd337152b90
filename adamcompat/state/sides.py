"""Keep what is known of both sides while partners are searched, and what has been decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from adamcompat.state import naming
from adamcompat.state.advice import some
from adamcompat.state.pairing import Pair
from adamcompat.state.terms import Shape


class Sides:
    """Hold the parameters of both sides.

    Attributes:
        source: the shape of each parameter of the state by its name, in order.
        target: the shape of each parameter of the target by its name, in order.
        conventions: the frameworks whose layouts the source and the target have; None where that is not known.
        kinds: the kinds of layers that each parameter of the source may belong to, by its name.
        target_kinds: the same for the target.
        parts: the layer and the weight that each name stands for.
        steady: the parts of names that mean the same on either side.
        problems: the texts of what stands in the way; they are gathered, and raised together at the end.
        chosen: for each parameter of the source that has a partner the partner and the evidence.
        together: the pairs of the layers whose weights are matched together.
        settled: the names of the source that are in `together`, or of which a problem has been told.
        settled_targets: the same for the target.
        source_alone: names and shapes of the source that have no partner by the caller's word.
        target_alone: the same for the target.
    """

    def __init__(
        self, source: Mapping[str, Shape], target: Mapping[str, Shape], conventions: tuple[str | None, str | None]
    ) -> None:
        self.problems: list[str] = []
        self.source = {name: tuple(shape) for name, shape in source.items()}
        self.target = {name: tuple(shape) for name, shape in target.items()}
        self.conventions = conventions
        self.kinds = {name: naming.layers_of(name, conventions[0]) for name in source}
        self.target_kinds = {name: naming.layers_of(name, conventions[1]) for name in target}
        self.parts = {name: naming.split(name) for name in (*source, *target)}
        one, other = naming.numbered(source), naming.numbered(target)
        # Parts of names that mean the same on either side: those that no count of layers can have shifted.
        self.steady = {part for common, parts in one.items() if other.get(common) == parts for part in parts}
        self.chosen: dict[str, tuple[str, str]] = {}
        self.together: list[Pair] = []
        self.settled: set[str] = set()
        self.settled_targets: set[str] = set()
        self.source_alone: dict[str, Shape] = {}
        self.target_alone: dict[str, Shape] = {}

    @property
    def left(self) -> list[str]:
        """Return the names of the source that are still to be matched."""
        done = {*self.chosen, *self.settled, *self.source_alone}
        return [name for name in self.source if name not in done]

    @property
    def free(self) -> list[str]:
        """Return the names of the target that are still to be matched."""
        done = {*(target for target, _ in self.chosen.values()), *self.settled_targets, *self.target_alone}
        return [name for name in self.target if name not in done]

    def take(self, pairs: Sequence[tuple[str, str]], evidence: str) -> None:
        """Note the pairs that the caller gives; two of the source with one partner are a problem.

        Args:
            pairs: names of the source and of the target.
            evidence: why they belong together, "rename" for example.
        """
        for partner, times in Counter(partner for _, partner in pairs).items():
            if times > 1:
                both = [name for name, other in pairs if other == partner]
                self.problems.append(f"rename: {some(both)} all become {partner!r}")
        self.chosen.update({name: (partner, evidence) for name, partner in pairs})

    def settle(self, names: Iterable[str], targets: Iterable[str]) -> None:
        """Take note of parameters of which nothing is left to be said; they are no longer alone.

        Args:
            names: of the source.
            targets: of the target.
        """
        self.settled.update(names)
        self.settled_targets.update(targets)
        for alone, settled in ((self.source_alone, self.settled), (self.target_alone, self.settled_targets)):
            for name in settled & alone.keys():
                del alone[name]

    def compatible(self, name: str, partner: str) -> bool:
        """Return whether two names may stand for the same weight: neither rules out the kind of layer of the other."""
        one, other = self.kinds[name], self.target_kinds[partner]
        return not one or not other or bool(one & other)

    def same_layer(self, module: tuple[str, ...], other: tuple[str, ...]) -> bool:
        """Return whether two layers have the same name, as far as both tell it.

        Args:
            module: the parts of the name of a layer of the source, the outermost first.
            other: the parts of the name of a layer of the target.
        """
        depth = min(len(module), len(other))
        return bool(depth) and module[-depth:] == other[-depth:] and self.steady.issuperset(module[-depth:])

    def correspond(self, name: str, partner: str) -> bool:
        """Return whether two names stand for the same weight of a layer of the same name."""
        (module, weight), (other_module, other_weight) = self.parts[name], self.parts[partner]
        if not self.same_layer(module, other_module):
            return False
        known = bool(self.kinds[name] & self.target_kinds[partner])
        return known or (weight == other_weight and self.compatible(name, partner))

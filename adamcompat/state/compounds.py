"""Find layers whose weights are matched together: recurrent layers and attention.

The facts (which weights are the same numbers, in what layout) are in mapping.yaml under `layers`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from adamcompat.mapping.layers import Compound, Share, Twins
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.layout import as_given, of_twins
from adamcompat.state.naming import split
from adamcompat.state.pairing import Pair, shape_of
from adamcompat.state.terms import Shape


@dataclass(frozen=True, slots=True)
class Block:
    """Hold the weights of one layer.

    Attributes:
        kind: the kind of layer.
        framework: "tensorflow", "mindspore" or "torch", whose names and layouts the weights have.
        layer: the parts of the layer's name, the outermost first.
        weights: from each weight's name in mapping.yaml to the name of the parameter.
        backwards: whether the layer runs backwards.
        mark: the text that ``*`` stands for in the names of mapping.yaml.
    """

    kind: Compound
    framework: str
    layer: tuple[str, ...]
    weights: Mapping[str, str]
    backwards: bool
    mark: str = ""

    @property
    def label(self) -> str:
        """Return the name of the layer's first weight, which stands for the layer in messages."""
        return next(iter(self.weights.values()))

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the layer's parameters."""
        return frozenset(self.weights.values())

    @property
    def addends(self) -> frozenset[str]:
        """Return the names of the parameters that the layer only adds to another parameter before it uses them."""
        shares = [twins.of(self.framework) for twins in self.kind.weights]
        return frozenset(self.weights[share.name] for share in shares if share.addend and share.name in self.weights)


def blocks_of(shapes: Mapping[str, Shape], framework: str) -> list[Block]:
    """Find the layers of known kinds among parameters.

    Args:
        shapes: the shape of each parameter by its name.
        framework: "tensorflow", "mindspore" or "torch", whose names the parameters have.

    Returns:
        The layers in the order of their first parameters. A layer that may be of two kinds is there once for each kind.
    """
    found = [block for kind in MAPPING.compounds.values() for block in _of_kind(kind, shapes, framework)]
    order = {name: place for place, name in enumerate(shapes)}
    return sorted(found, key=lambda block: min(order[name] for name in block.names))


def _of_kind(kind: Compound, shapes: Mapping[str, Shape], framework: str) -> Iterator[Block]:
    shares = {twins.of(framework).name: twins.of(framework) for twins in kind.weights}
    optional = {name for name in shares if all(t.optional for t in kind.weights if t.of(framework).name == name)}
    # Layers are told apart by the module, and by the text that * stands for.
    layers: dict[tuple[tuple[str, ...], str], dict[str, str]] = {}
    for name in shapes:
        module, weight = split(name)
        parts = (*module, weight)
        for share in shares.values():
            pattern = re.split(r"[/.]", share.name)
            depth = len(pattern)
            if parts[len(parts) - depth : -1] != tuple(pattern[:-1]):
                continue
            before, star, after = pattern[-1].partition("*")
            hit = re.fullmatch(f"{re.escape(before)}{'(.*)' if star else '()'}{re.escape(after)}", parts[-1])
            if hit is not None:
                layers.setdefault((parts[: len(parts) - depth], hit[1]), {})[share.name] = name
    gates = kind.gates.get(framework, ())
    for (module, label), weights in layers.items():
        whole = set(weights) >= set(shares) - optional
        if whole and all(
            _looks_right(shares[n], shapes[p], len(gates)) for n, p in weights.items() if n not in optional
        ):
            ordered = {name: weights[name] for name in shares if name in weights}
            layer, backwards = _named(kind, module, label, framework)
            yield Block(kind, framework, layer, ordered, backwards, label)


def _named(kind: Compound, module: tuple[str, ...], label: str, framework: str) -> tuple[tuple[str, ...], bool]:
    """Return a layer's name without the parts that only one framework has, and whether the layer runs backwards."""
    forwards, backwards = kind.ways.get(framework) or ("", "")
    if any("*" in twins.of(framework).name for twins in kind.weights):
        return module, bool(backwards) and fnmatchcase(label, backwards)
    if kind.cell and module and re.fullmatch(rf"{re.escape(kind.cell)}(_\d+)?", module[-1]):
        module = module[:-1]
    if module and backwards and fnmatchcase(module[-1], backwards):
        return module[:-1], True
    if module and forwards and fnmatchcase(module[-1], forwards):
        return module[:-1], False
    return module, False


def _looks_right(share: Share, shape: Shape, gates: int) -> bool:
    """Return whether a weight's shape fits the axes that mapping.yaml gives it, for a layer with so many gates."""
    part = shape_of(shape, share.part)
    axes = ["".join(re.findall("[a-zA-Z]", group)) for group in re.findall(r"\([^)]*\)|\S+", share.axes)]
    if part is None or len(axes) != len(part):
        return False
    sizes = {"g": gates} if gates else {}
    for letters, size in sorted(zip(axes, part, strict=True), key=lambda pair: len(pair[0])):
        unknown = [letter for letter in letters if letter not in sizes]
        known = math.prod(sizes[letter] for letter in letters if letter in sizes)
        if size % known or (not unknown and size != known):
            return False
        if len(unknown) == 1:
            sizes[unknown[0]] = size // known
    return all(sizes.get(letter.lower(), size) == size for letter, size in sizes.items() if letter.isupper())


@dataclass(frozen=True, slots=True)
class Frame:
    """Hold the circumstances in which two layers are paired.

    Attributes:
        shapes: the shape of each parameter of the source by its name.
        others: the shape of each parameter of the target by its name.
        given: returns the layout, in letters, that the caller gives for a parameter of the source and one of the
            target; None where the caller gives none.
    """

    shapes: Mapping[str, Shape]
    others: Mapping[str, Shape]
    given: Callable[[str, str], str | None]


def paired(source: Block, target: Block, frame: Frame, evidence: str) -> list[Pair]:
    """Return the pairs of the weights of two layers of one kind.

    Args:
        source: the layer of the state.
        target: the layer of the optimizer that gets the state.
        frame: the shapes on either side, and the layouts that the caller gives.
        evidence: why the layers belong together: "name", "shape", "kind", "order" or "rename".

    Returns:
        The pairs in the order in which Keras makes the weights. A weight that is put together from several, or divided
        among several, is in several pairs.

    Raises:
        ValueError: a weight of one layer has no counterpart in the other, or the shapes do not fit. The text says
            which.
    """
    one, other = source.framework, target.framework
    used = [t for t in source.kind.weights if t.of(one).name in source.weights and t.of(other).name in target.weights]
    for block, framework, side in ((source, one, "state"), (target, other, "target")):
        for name, parameter in block.weights.items():
            shares = [twins.of(framework) for twins in used if twins.of(framework).name == name]
            if not shares or {share.part for share in shares} != _parts(shares[0]):
                raise ValueError(f"{parameter} of the {side} has no counterpart in the other layer")
    return [_pair(source, target, twins, frame, evidence) for twins in used]


def _pair(source: Block, target: Block, twins: Twins, frame: Frame, evidence: str) -> Pair:
    ours, theirs = twins.of(source.framework), twins.of(target.framework)
    name, partner = source.weights[ours.name], target.weights[theirs.name]
    shape, wanted = shape_of(frame.shapes[name], ours.part), shape_of(frame.others[partner], theirs.part)
    # Where both see the sum of the two, each goes to its like.
    kind, addend = source.kind, ours.addend != theirs.addend
    gates = kind.gates.get(source.framework, ()), kind.gates.get(target.framework, ())
    transform = None
    pattern = None if addend or ours.part or theirs.part else frame.given(name, partner)
    if shape is not None and wanted is not None:
        if pattern is None:
            transform = of_twins(kind.name, ours.axes, shape, theirs.axes, wanted, gates)
        else:
            transform = as_given(pattern, ours.axes, shape, wanted, gates)
    if transform is None:
        where = f"{name} {frame.shapes[name]} and {partner} {frame.others[partner]}"
        raise ValueError(f"{where} as {kind.name} ({kind.about})" if pattern is None else f"{where} as {pattern!r}")
    return Pair(name, partner, transform, evidence, ours.part, theirs.part, addend)


def _parts(share: Share) -> set[tuple[int, int] | None]:
    return {None} if share.part is None else {(index, share.part[1]) for index in range(share.part[1])}


def counterparts(block: Block, framework: str) -> list[str]:
    """Return the names in mapping.yaml of the weights that another framework has for a layer, in Keras's order.

    Args:
        block: the layer.
        framework: "tensorflow", "mindspore" or "torch", whose names are wanted.
    """
    names = [
        twins.of(framework).name for twins in block.kind.weights if twins.of(block.framework).name in block.weights
    ]
    return list(dict.fromkeys(names))


def notes_on(source: Block, target: Block, pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield a note on each weight that only one framework adds to another: training goes on otherwise with it.

    Args:
        source: the layer of the state.
        target: the layer that gets the state.
        pairs: the pairs of the two, as `paired` returns them.

    Yields:
        One sentence that says what will differ, and what to do about it.
    """
    for twins in source.kind.weights:
        ours, theirs = twins.of(source.framework), twins.of(target.framework)
        if theirs.addend and ours.addend:
            continue
        if theirs.addend and ours.name in source.weights:
            own = source.weights[ours.name]
            whole = next(pair.target for pair in pairs if pair.source == own and not pair.addend)
            if theirs.name in target.weights:
                yield (
                    f"{target.weights[theirs.name]} begins at zero and gets the same gradients as {whole}, so that "
                    f"their sum moves twice as far as {own} did; to go on alike keep it at zero: set its requires_grad "
                    f"to False and make the optimizer without it"
                )
            else:
                missing = theirs.name.replace("*", target.mark)
                yield (
                    f"{whole} gets all of {own}; the layer has {missing} too, which the optimizer does not hold and "
                    f"which is added: set it to zero"
                )
        if ours.addend and theirs.name in target.weights and ours.name not in source.weights:
            missing = ours.name.replace("*", source.mark)
            yield (
                f"{target.weights[theirs.name]} stands for a sum of which the state has one part: {missing} is not in "
                f"it; add its value, if it is not zero"
            )

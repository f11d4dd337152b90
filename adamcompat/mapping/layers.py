"""Hold kinds of layers as frozen dataclasses: the weights of each, and what their axes mean in each framework."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weights:
    """Describe a layer's weight in one framework: its name, and what its axes mean.

    Attributes:
        names: patterns of the last part of the weight's name; ``*`` and ``[ab]`` mean what they mean in file names.
        axes: one text for each number of axes, with a letter for each axis. ``(a b)`` is two axes as one, ``1`` an axis
            of size one.
    """

    names: tuple[str, ...]
    axes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """Describe a kind of layer by its weight in each framework.

    Attributes:
        name: the name of the layout.
        about: one sentence.
        weights: the weight, by framework. The texts of their axes belong together, one by one.
    """

    name: str
    about: str
    weights: dict[str, Weights]


@dataclass(frozen=True, slots=True)
class Share:
    """Describe a weight of one framework, or a part of it, among the weights of a layer.

    Attributes:
        name: the end of its name; ``*`` stands for the part that tells the layers of one cell apart.
        axes: a letter for each axis, as in `Weights`; ``g`` is the axis of the gates, a capital another axis of the
            size of its letter.
        part: ``(i, n)`` for the i-th, from 0, of n equal parts along the first axis; None for all of it.
        addend: whether the layer sees only the sum of this weight and another one.
    """

    name: str
    axes: str
    part: tuple[int, int] | None = None
    addend: bool = False


@dataclass(frozen=True, slots=True)
class Twins:
    """Describe weights that hold the same numbers in each framework.

    Attributes:
        shares: where they are, by framework.
        optional: whether a layer may lack them.
    """

    shares: dict[str, Share]
    optional: bool = False

    def of(self, framework: str) -> Share:
        """Return the weight as `framework` has it."""
        return self.shares[framework]


@dataclass(frozen=True, slots=True)
class Compound:
    """Describe a kind of layer whose weights are matched together.

    Attributes:
        name: the name of the kind.
        about: one sentence.
        weights: its weights, in the order in which Keras makes them.
        gates: the order of the gates by framework; empty where there are none.
        cell: the part of Keras's layer that holds the weights, or None.
        ways: for each framework the texts that mark the weights of a layer's forward and backward way; empty where
            there is one way only.
    """

    name: str
    about: str
    weights: tuple[Twins, ...]
    gates: dict[str, tuple[str, ...]]
    cell: str | None
    ways: dict[str, tuple[str, ...]]

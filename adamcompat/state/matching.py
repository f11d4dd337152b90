"""Find which parameter of one model is which of another, and how its axes lie there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adamcompat.state import naming
from adamcompat.state.advice import ORDER
from adamcompat.state.matcher import Matcher
from adamcompat.state.pairing import Layout, LayoutName, Matching, Pair, Rename, Replacement
from adamcompat.state.terms import Shape, check_shapes

__all__ = ["ORDER", "Layout", "LayoutName", "Matching", "Pair", "Rename", "Replacement", "match"]


def match(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    *,
    source_convention: str | None = None,
    target_convention: str | None = None,
    rename: Rename | None = None,
    layout: Layout | None = None,
    alone: Sequence[str] = (),
) -> Matching:
    """Find each parameter's partner and layout.

    Without `rename`, names decide first: equal names, then the same weight of a layer of the same
    name (``net/conv1/kernel`` and ``conv1.weight``). What names leave open, shapes decide, where only
    one way is possible; weights of one layer go to one layer. Between frameworks a layer's weight may
    lie in another order; which layers it may belong to is known from its name (``kernel``, ``weight``,
    ``embedding_table``, ...) and else from its shape alone. Recurrent layers and attention are matched as wholes:
    their gates are put in order, their heads and projections joined or taken apart. A dense layer behind a
    flattened map of features must be told apart by `layout`: TensorFlow flattens (h, w, c), MindSpore and PyTorch
    (c, h, w).

    Args:
        source: the shape of each parameter of the state by its name, in order.
        target: the shape of each parameter of the target by its name, in order.
        source_convention: "tensorflow", "mindspore" or "torch", the framework whose layouts the tensors of the source
            have. With None their names decide; where these do not tell it either, it may be any.
        target_convention: the same for the tensors of the target.
        rename: a dictionary from source to target names (parameters that it leaves out are matched as without it),
            a pair of a regular expression and its replacement or a list of such, applied to source
            names one after the other, or "order": the first to the first, the second to the second. One weight
            of a recurrent layer or of attention stands for all of them.
        layout: "same", the name of a layout in mapping.yaml ("dense", "conv", "depthwise", ...), a
            permutation of axes as for numpy.transpose, or a pattern as `layout.rearranged` takes it; for
            all tensors that it fits, or a dictionary from names (of either side) to one.
        alone: names of parameters of either side that have no partner; ``*`` stands for any text. Those of the source
            are left behind; those of the target keep their values, and their moments begin at zero.

    Returns:
        The pairs in the order of the source, the parameters without a partner, and notes on what will differ.

    Raises:
        StateError: a parameter has no partner, or more than one is possible, or its shape does not
            fit, or its layout is ambiguous; all problems are listed, each with its candidates.

    >>> print(match({"net/conv/kernel": (3, 3, 1, 8), "net/fc/kernel": (8, 10)},
    ...             {"conv.weight": (8, 1, 3, 3), "fc.weight": (10, 8)}))
    net/conv/kernel (3, 3, 1, 8) -> conv.weight (8, 1, 3, 3)  conv (3,2,0,1)  by name
    net/fc/kernel (8, 10)        -> fc.weight (10, 8)         dense (1,0)     by name
    """
    for side, shapes in (("source", source), ("target", target)):
        check_shapes(shapes, side)
    matcher = Matcher(
        source,
        target,
        source_convention or naming.convention_of(source, target_convention),
        target_convention or naming.convention_of(target, source_convention),
        layout,
        alone,
    )
    return matcher.run(rename)

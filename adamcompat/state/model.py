"""Hold Adam's state as values, with the way into and out of every optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import adamcompat.fragments as fragments
from adamcompat.kinds import told
from adamcompat.mapping.tables import MAPPING
from adamcompat.state import matching
from adamcompat.state.matching import Layout, Matching, Rename
from adamcompat.state.reading import contents
from adamcompat.state.runtimes import find
from adamcompat.state.terms import ATTRIBUTES, Shape, StateError, Tensors, check_tensors, is_real
from adamcompat.state.writing import restore

# So many parameters are listed in a notebook.
_LISTED = 50


@dataclass(frozen=True, eq=False, kw_only=True)
class AdamState:
    """Hold what Adam keeps, by parameter name and in the order of the parameters.

    Tensors may be NumPy arrays or anything with `shape`, `dtype` and ``__array__``, so that state in a
    file can be matched and moved one tensor at a time. To leave something out or put it in, use
    ``dataclasses.replace``.

    Attributes:
        step: number of updates made, at least 0; with accumulation, of completed ones.
        first_moment: m of each parameter, in the parameter's shape.
        second_moment: v of each parameter, in the parameter's shape.
        maximum_second_moment: the largest v so far, with AMSGrad; else None.
        parameters: the parameters themselves, if they are known.
        average: their exponential moving averages, if they are kept.
        accumulation_steps: how many calls make one update, where gradients are accumulated.
        accumulated_calls: how many of those calls were made since the last update, from 0 to `accumulation_steps` - 1.
        accumulated_gradient: the sum of their gradients; needed when there were any.
        hyperparameters: what the optimizer was made with, under the canonical names of mapping.yaml, as
            far as it is a number or a truth value. For information and comparison: loading state does
            not change the hyperparameters of an optimizer.
        dialect: the name in mapping.yaml of the API that the state came from; None if that is not known.
        numerics: the name in mapping.yaml of the rounding that the state came from; None if that is not known.
        convention: "tensorflow", "mindspore" or "torch", the framework whose layers the tensors' axes follow;
            None if that is not known, as for NumPy arrays.

    Raises:
        StateError: the parts do not belong together; the text names the first that does not.

    >>> zeros = {"weight": np.zeros(3, np.float32)}
    >>> AdamState(step=0, first_moment=zeros, second_moment=zeros)
    AdamState(step 0, 1 parameter, 3 elements, float32)
    """

    step: int
    first_moment: Tensors
    second_moment: Tensors
    maximum_second_moment: Tensors | None = None
    parameters: Tensors | None = None
    average: Tensors | None = None
    accumulation_steps: int | None = None
    accumulated_calls: int = 0
    accumulated_gradient: Tensors | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    dialect: str | None = None
    numerics: str | None = None
    convention: str | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.step, (int, float, np.number)) and not isinstance(self.step, bool)
        if not whole or self.step % 1 or self.step < 0:
            raise StateError(f"step must be a whole number of at least 0, got {self.step!r}")
        object.__setattr__(self, "step", int(self.step))
        for role in ("first_moment", "second_moment"):
            check_tensors(getattr(self, role), role)
        shapes = self.shapes
        for role, tensors in self.tensors.items():
            check_tensors(tensors, role)
            names = set(tensors)
            if names != set(self.first_moment):
                odd = sorted(names ^ set(self.first_moment))
                raise StateError(f"{role} and first_moment do not have the same parameters: {', '.join(odd[:5])}")
            for name, tensor in tensors.items():
                if tuple(tensor.shape) != shapes[name]:
                    raise StateError(
                        f"{role} of {name!r} has shape {tuple(tensor.shape)}, but first_moment has {shapes[name]}"
                    )
                if not is_real(tensor.dtype):
                    raise StateError(f"{role} of {name!r} must hold real numbers, got dtype {tensor.dtype}")
        if not isinstance(self.hyperparameters, Mapping):
            raise StateError(f"hyperparameters must be a dictionary; got {told(self.hyperparameters)}")
        for attribute, count in (
            ("accumulation_steps", self.accumulation_steps or 1),
            ("accumulated_calls", self.accumulated_calls),
        ):
            if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
                raise StateError(f"{attribute} must be a whole number; got {told(count)}")
        every = self.accumulation_steps or 1
        if not 0 <= self.accumulated_calls < every:
            raise StateError(
                f"accumulated_calls must lie between 0 and accumulation_steps - 1 = {every - 1}, "
                f"got {self.accumulated_calls}"
            )
        if self.accumulated_calls and self.accumulated_gradient is None:
            raise StateError(
                f"{self.accumulated_calls} of {every} gradients are accumulated, but accumulated_gradient is None"
            )
        for attribute, known in (("dialect", MAPPING.dialects), ("numerics", MAPPING.numerics)):
            value = getattr(self, attribute)
            if value is not None and not (isinstance(value, str) and value in known):
                raise StateError(f"{attribute} must be one of {', '.join(known)}; got {value!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the parameters, in order."""
        return tuple(self.first_moment)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each parameter by its name."""
        return {name: tuple(tensor.shape) for name, tensor in self.first_moment.items()}

    @property
    def tensors(self) -> dict[str, Tensors]:
        """Return the tensors that there are: from a role in mapping.yaml to the tensors by parameter name."""
        found = {role: getattr(self, attribute) for role, attribute in ATTRIBUTES.items()}
        return {role: tensors for role, tensors in found.items() if tensors is not None}

    @classmethod
    def of(cls, optimizer: Any, parameters: Any = None, *, session: Any = None, step: int | None = None) -> AdamState:
        """Return a copy of an optimizer's state.

        Args:
            optimizer: an Adam of keras, tf_keras, tf_keras.optimizers.legacy, tf.compat.v1.train, mindspore.nn,
                mindspore.experimental.optim, torch.optim or adamcompat, which has made a step or was built.
            parameters: the parameters that it updates, in order: variables, or a dictionary from names
                to them. By default those that the optimizer knows; tf_keras and TensorFlow 1 in eager
                execution know names only, so that the state has no parameters unless they are passed.
            session: the tf.compat.v1.Session whose values are meant, in graphs; by default the current
                one.
            step: number of updates made, where the optimizer has forgotten it: TensorFlow 1 keeps powers
                of the betas only, which are 0 after some 80,000 steps.

        Returns:
            The state, with NumPy arrays of the optimizer's own dtypes. Later steps of the optimizer do not change it.

        Raises:
            StateError: the optimizer is none of these, is not built, keeps state that is unknown here, or
                its step cannot be told.
        """
        if step is not None and (isinstance(step, bool) or not isinstance(step, (int, np.integer))):
            raise StateError(f"step must be a whole number, or None; got {told(step)}")
        return cls(**contents(find(optimizer, parameters, session, build=False), step))

    def match(
        self,
        target: Any,
        *,
        rename: Rename | None = None,
        layout: Layout | None = None,
        parameters: Any = None,
        session: Any = None,
        convention: str | None = None,
        alone: Sequence[str] = (),
    ) -> Matching:
        """Find the parameter of `target` that each parameter of this state belongs to.

        Args:
            target: an optimizer, as for `of`, or a dictionary from names to shapes.
            rename: names of the source to names of the target, as `adamcompat.state.matching.match` describes it.
            layout: how the axes lie on either side, as described there.
            parameters: as for `load_into`.
            session: as for `of`.
            convention: whose layouts a dictionary's shapes follow: "tensorflow", "mindspore", "torch" or None. Of an
                optimizer it is known.
            alone: names of parameters that have no partner, as described there.

        Returns:
            The matching, to be looked at and passed to `load_into`. An optimizer without state has been built with
            `parameters`.

        Raises:
            StateError: no partner, or several possible, for a parameter or its layout.
        """
        if isinstance(target, AdamState):
            raise StateError("target must be an optimizer, or names and shapes: of a state, pass state.shapes")
        if isinstance(target, Mapping):
            shapes: Mapping[str, Shape] = target
        else:
            found = find(target, parameters, session, build=True)
            shapes, convention = found.shapes, found.convention
        return _matched(self, shapes, convention, rename, layout, alone)

    def load_into(
        self,
        optimizer: Any,
        matching: Matching | None = None,
        *,
        rename: Rename | None = None,
        layout: Layout | None = None,
        parameters: Any = None,
        with_parameters: bool = False,
        cast: bool = False,
        session: Any = None,
        alone: Sequence[str] = (),
    ) -> Matching:
        """Make an optimizer go on from here.

        Everything is matched and checked first and then assigned; if an assignment fails, what was
        assigned is taken back. Running products of the betas are repeated in the optimizer's own
        arithmetic, so that it continues with the bits that it would have had. Its hyperparameters stay
        as they are; where they differ from those that the state came from, a UserWarning says so (the
        products are those of the optimizer's betas).

        Args:
            optimizer: as for `of`; one that has not been built needs `parameters`.
            matching: what `match` returned; instead of `rename`, `layout` and `alone`.
            rename: names of the source to names of the target, as `adamcompat.state.matching.match` describes it.
            layout: how the axes lie on either side, as described there.
            parameters: the parameters that the optimizer updates: variables, or a dictionary from names
                to them. An optimizer without state is built with them.
            with_parameters: whether the parameters are set, too.
            cast: whether values may be rounded to a narrower dtype.
            session: as for `of`.
            alone: names of parameters that have no partner, as described there. The parameter of a target
                that has no partner stays as it is, and its moments begin at zero.

        Returns:
            The matching, as it was used.

        Raises:
            StateError: as `match`; or the optimizer keeps what the state lacks (the maximum of AMSGrad,
                averages), or the other way round; or the state is in the middle of an accumulation that
                the optimizer does not have; or a value does not fit its dtype. Then nothing has changed, but that
                an optimizer without state has been built with `parameters`.
        """
        if matching is not None and not isinstance(matching, Matching):
            raise StateError(
                f"matching must be what match() returned; got {told(matching)}: pass rename=, layout= or alone= by name"
            )
        if matching is not None and not (rename is None and layout is None and not alone):
            raise StateError("pass a matching, or rename, layout and alone, not both")
        found = find(optimizer, parameters, session, build=True)
        if matching is None:
            matching = _matched(self, found.shapes, found.convention, rename, layout, alone)
        restore(found, self, matching, with_parameters=with_parameters, cast=cast)
        return matching

    def __repr__(self) -> str:
        shapes = self.shapes
        kinds = sorted({str(tensor.dtype) for tensor in self.first_moment.values()})
        also = [role for role in self.tensors if role not in ("first_moment", "second_moment")]
        count = sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
        parts = [
            f"step {self.step}",
            f"{len(shapes)} parameter{'' if len(shapes) == 1 else 's'}",
            f"{count} elements",
            " and ".join(kinds) or "empty",
            *([f"with {', '.join(also)}"] if also else []),
            *([f"from {self.dialect}"] if self.dialect else []),
        ]
        return f"AdamState({', '.join(parts)})"

    def _repr_html_(self) -> str:
        rows = [(name, str(shape), str(self.first_moment[name].dtype)) for name, shape in self.shapes.items()]
        more = f"and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
        facts = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        return fragments.shown(
            fragments.line(repr(self)),
            fragments.line(f"hyperparameters: {facts}", "less") if facts else "",
            fragments.table(("parameter", "shape", "dtype of its moments"), rows[:_LISTED]) if rows else "",
            fragments.line(more, "less") if more else "",
        )


def _matched(
    state: AdamState,
    shapes: Mapping[str, Shape],
    convention: str | None,
    rename: Rename | None,
    layout: Layout | None,
    alone: Sequence[str],
) -> Matching:
    return matching.match(
        state.shapes,
        shapes,
        source_convention=state.convention,
        target_convention=convention,
        rename=rename,
        layout=layout,
        alone=alone,
    )

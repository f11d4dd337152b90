"""Copying and pickling of Keras optimizers, with their state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np


class Copied:
    """Copy and pickle optimizers of either Keras, as a mixin.

    A copy fills in its moments when its variables are known.
    """

    # The attribute in which Keras keeps the names that weight decay leaves out, where the class has any use for them.
    _copied_patterns: ClassVar[str | None] = None
    # Values of all state, and the positions of variables that weight decay leaves out.
    _copied_pending: tuple[list[Any], list[int]] | None = None

    def _copied_config(self) -> dict[str, Any]:
        """Return the configuration of which `_copied_from` makes an equal optimizer."""
        config: dict[str, Any] = self.get_config()  # type: ignore[attr-defined]
        rate = self._learning_rate  # type: ignore[attr-defined]
        if callable(rate):
            # A schedule or function travels as it is; the configuration holds a description of it.
            config["learning_rate"] = rate
        return config

    @classmethod
    def _copied_from(cls, config: dict[str, Any]) -> Any:
        """Return an optimizer without moments."""
        return cls(**config)

    def _copied_excluded(self) -> list[int]:
        """Return the positions of variables that weight decay leaves out."""
        return []

    def _copied_exclude(self, variables: Sequence[Any]) -> None:
        """Leave variables out of weight decay."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), *_snapshot(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copy = _restored(type(self), *_snapshot(self))
        memo[id(self)] = copy
        return copy

    def _copied_fill(self, variables: Sequence[Any], *, more: bool = False) -> None:
        """Fill in the state that a copy or a pickle brought along.

        Args:
            variables: the variables that are trained.
            more: whether a subclass may add state yet; then nothing happens until that is there.

        Raises:
            ValueError: it was brought along for variables of other shapes.
        """
        if self._copied_pending is None:
            return
        values, excluded = self._copied_pending
        everything: list[Any] = self.variables  # type: ignore[attr-defined]
        own = [tuple(variable.shape) for variable in everything]
        brought = [value.shape for value in values]
        if more and len(own) < len(brought) and own == brought[: len(own)]:
            return
        if own != brought:
            raise ValueError(
                f"this optimizer is a copy of one for other variables: it brought state of shapes "
                f"{brought}, and these variables need {own}; build it with the same "
                f"variables, or make a new optimizer"
            )
        for variable, value in zip(everything, values, strict=True):
            variable.assign(value)
        if excluded:
            self._copied_exclude([variables[index] for index in excluded])
        self._copied_pending = None


def _snapshot(optimizer: Any) -> tuple[dict[str, Any], list[Any], list[int], Any, Any]:
    """Return all that a copy needs: configuration, values, what weight decay leaves out, and whether it corrects."""
    values, excluded = optimizer._copied_pending or (
        [np.asarray(variable) for variable in optimizer.variables],
        optimizer._copied_excluded(),
    )
    patterns = optimizer._copied_patterns and getattr(optimizer, optimizer._copied_patterns, None)
    return optimizer._copied_config(), values, excluded, patterns, getattr(optimizer, "corrections", None)


def _restored(
    kind: Any, config: dict[str, Any], values: list[Any], excluded: list[int], patterns: Any, corrections: Any = False
) -> Any:
    optimizer = kind._copied_from(config)
    if corrections is not None:
        # What was installed may be another thing by now.
        optimizer.corrections = corrections
    own = optimizer.variables
    for variable, value in zip(own, values, strict=False):
        variable.assign(value)
    if patterns is not None:
        setattr(optimizer, optimizer._copied_patterns, patterns)
    if len(values) > len(own):
        # Past the tracking of attributes, which would wrap the lists.
        object.__setattr__(optimizer, "_copied_pending", (values, excluded))
    return optimizer

"""Make eager steps of TensorFlow's optimizers happen whole or not at all.

An eager step is made operation after operation, in TensorFlow's and Keras's own code. What it may change
is held as it was, and put back when the step fails. Values of variables are held without a copy: TensorFlow
writes into a buffer only where nobody else holds it. Where that would cost a copy, because all of an update, or of a
part of it, is one operation that works in place, it is noted instead that the operation has run, and the step is
finished.

In a graph there is nothing to do: Python only builds the step there, and TensorFlow runs it in one call. Replicas of
tf.distribute are TensorFlow's to keep together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import tensorflow as tf

from adamcompat.interrupts import Uninterrupted


class EagerStep:
    """Hold what one eager step of an optimizer may change, and put it back where the step fails.

    Args:
        counters: variables that count steps.
        holds: whether values are held; under a strategy they are not.

    Attributes:
        holds: the same.
        made: the results of the calls that made all of the update at once. Noted by a function of C in the statement
            that calls, so that nothing comes between.
        done: the same by the first variable of a part, where parts have calls of their own.
    """

    def __init__(self, counters: Iterable[Any], *, holds: bool) -> None:
        self.made: list[Any] = []
        self.done: dict[Hashable, Any] = {}
        self.holds = holds
        self._everything = False
        self._all: dict[int, tuple[Any, Any]] = {}
        self._until_done = True
        self._owned: dict[Hashable, list[int]] = {}
        self._kept: dict[Hashable, list[tuple[Any, Any]]] = {}
        self._counters: list[tuple[Any, Any]] = []
        self.count(counters)

    def count(self, counters: Iterable[Any]) -> None:
        """Hold the values of counters before the step, unless some are held already.

        Args:
            counters: variables that count steps; what is no tf.Variable is left out.
        """
        if not self._counters:
            self._counters = self._values(counters)

    def _values(self, variables: Iterable[Any]) -> list[tuple[Any, Any]]:
        if not self.holds:
            return []
        return [(one, tf.convert_to_tensor(one)) for one in variables if isinstance(one, tf.Variable)]

    def keep(self, key: Hashable, variables: Iterable[Any]) -> None:
        """Hold the values of variables before an update of several operations, once for each key.

        Args:
            key: of the update in `done`.
            variables: what it changes; what is no tf.Variable is left out.
        """
        if key not in self._kept:
            self._kept[key] = self._values(variables)

    def keep_everything(self, variables: Iterable[Any], *, until_done: bool = False) -> None:
        """Hold all that the step may change, so that nothing of it stays if it fails.

        Args:
            variables: what it may change; variables that are held already are left out.
            until_done: whether a variable and its state are held only until `once` has updated them. What failed after
                that is finished. Of several calls each must say so.
        """
        self._until_done = self._until_done and until_done
        held = {id(variable) for pairs in self._kept.values() for variable, _ in pairs}
        self._everything = True
        for variable, value in self._values(one for one in variables if id(one) not in held):
            self._all.setdefault(id(variable), (variable, value))

    def keep_to_the_end(self) -> None:
        """Hold all that is held until the step has ended: something was changed before its update."""
        self._until_done = False

    @property
    def keeps_everything(self) -> bool:
        """Return whether all that the step may change is held until it has ended."""
        return self.holds and self._everything and not self._until_done

    def once(self, variable: Any, slots: Iterable[Any], apply: Callable[[], Any], *, operations: int) -> Any:
        """Update a variable, unless that is done.

        Args:
            variable: the variable to update.
            slots: the variables of its state; they are not asked for where nothing is held.
            apply: a function without arguments that updates both.
            operations: how many operations that takes: one has run or has not, so that nothing need be held.

        Returns:
            The value that `apply` returned, now or before.
        """
        key = id(variable)
        if self.keeps_everything or not self.holds:
            return apply()
        if key in self.done:
            return self.done[key]
        # Asking for slots runs code of the optimizer, which may be overridden.
        targets = [variable, *slots] if self._everything or operations > 1 else []
        self._owned[key] = list(map(id, targets))
        if operations == 1:
            self._release(key)
        elif not self._everything:
            self.keep(key, targets)
        result = self.done.setdefault(key, apply())
        self._release(key)
        return result

    def _release(self, key: Hashable) -> None:
        """Hold the values of a variable and of its state no longer."""
        self._kept.pop(key, None)
        for one in self._owned[key]:
            self._all.pop(one, None)

    def _put_back(self) -> bool:
        """Put back what is held; return whether something was done that is not.

        Values of a variable whose update is done are not put back, though they may not have been released yet.
        """
        half = bool(self.made or self.done) and not self.keeps_everything
        pairs = [*self._counters]
        if not (half and self.made):
            done = self.done if half else {}
            owned = {one for key in done for one in self._owned[key]}
            pairs += [pair for key, kept in self._kept.items() if key not in done for pair in kept]
            pairs += [pair for one, pair in self._all.items() if one not in owned]
        for variable, value in pairs:
            variable.assign(value)
        return half

    def run(self, make: Callable[[], Any], finish: Callable[[], Any]) -> Any:
        """Make the step; signals wait for its end.

        Args:
            make: makes all of it.
            finish: makes what is missing of it when `make` has failed and something was done that is not held. The
                counters are then as before.

        Returns:
            The value that `make` returned.

        Raises:
            The exception of `make`, when nothing or all of the step is done.
        """
        with Uninterrupted():
            try:
                return make()
            except BaseException:
                if self._put_back():
                    finish()
                raise


def begin(counters: Iterable[Any] = ()) -> EagerStep | None:
    """Return the step that begins now; None in a graph.

    Args:
        counters: variables that count steps; what is no tf.Variable is left out.
    """
    if not tf.executing_eagerly():
        return None
    return EagerStep(counters, holds=not tf.distribute.has_strategy())

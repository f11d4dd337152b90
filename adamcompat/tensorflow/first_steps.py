"""Weigh what an eager optimizer's first steps saved against what tracing and compiling cost.

A traced step takes a small part of the time of the original's, but tracing one takes as long as several steps, and
compiling longer. So first steps are made operation after operation, somewhat faster than the original makes them,
and time is spent only where steps have saved it. All forms of a step have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import cache
from math import inf
from statistics import median
from time import perf_counter
from typing import Any

import tensorflow as tf

from adamcompat.kernel import make_update
from adamcompat.tensorflow.operations import PLAIN
from adamcompat.tensorflow.whole import EagerStep

# Whether a step waits until the time for tracing and compiling is saved; otherwise the second step pays for all.
WAITS = True
# The share of the original's time that steps may take together. Less than promised, because measurement is noisy.
SHARE = 1.08
# Costs in units of the bare operations of one small variable's update, as measured on two busy cores: tracing a step,
# and each variable of it that is updated together with others, or by operations of its own, or such others; tracing a
# formula; compiling a program.
TRACING, TOGETHER, ALONE, FORMULA, COMPILING = 300, 25, 70, 100, 2000
# At least what the original takes for a small variable, in the same units; for large ones by what our formula takes.
ORIGINAL, ORIGINAL_LARGE = 3, 1.4


@cache
def unit() -> float:
    """Return how many seconds the bare operations of one small variable's update take here."""
    update, zero = make_update(PLAIN), tf.zeros(())
    found = []
    for _ in range(8):
        start = perf_counter()
        update(zero, zero, zero, zero, None, zero, zero, zero, zero, None, None)
        found.append(perf_counter() - start)
    return median(found)


@cache
def within(program: Callable[..., Any]) -> Any:
    """Return a function that calls a program from a graph, as a traced step does.

    TensorFlow keeps what it compiled for calls from eager execution apart, and would compile anew.

    Args:
        program: compiled by XLA.
    """
    return tf.function(lambda *arguments: program(*arguments), autograph=False)


_ready: set[Hashable] = set()


class Kind:
    """Hold what is known of the steps that one traced function would make.

    Args:
        rows: the number of variables.

    Attributes:
        rows: the same.
        traced: whether the step is made by the traced function.
        programs: whether it called programs.
        together: how many variables the step updated with others, or by one operation each.
        chunks: how many of such others there were.
        large: whether it updated large variables by a traced formula.
        missing: the programs that it would have called, if there had been time to compile them.
        last: the seconds that the step before took; None before the first has ended.
        original: the seconds that the original takes at least; infinity while nothing is known.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.last: float | None = None
        self.original = inf
        self.begin(traced=False)

    def begin(self, *, traced: bool) -> None:
        """Begin a step.

        Args:
            traced: whether it is made by the traced function.
        """
        self.traced = traced
        self.programs = False
        self.together = self.chunks = 0
        self.large = False
        self.missing: set[Hashable] = set()

    def cost(self) -> float:
        """Return what tracing costs, by what the last step was made of."""
        alone = self.rows - self.together + self.chunks
        return TRACING + TOGETHER * self.together + ALONE * alone + COMPILING * len(self.missing)

    def end(self, seconds: float) -> float:
        """Take note of a step.

        Args:
            seconds: that it took.

        Returns:
            The seconds that it saved: less than 0 if it took more than it may.
        """
        first, self.last = self.last is None, seconds
        if first:
            # It loads what the original would have loaded.
            return 0.0
        if not self.traced and not self.programs:
            taken = seconds * (ORIGINAL_LARGE if self.large else 1)
            self.original = min(self.original, taken + ORIGINAL * unit() * self.together)
        return SHARE * self.original - seconds if self.original < inf else 0.0


class FirstSteps:
    """Keep account of the steps of one optimizer.

    Attributes:
        step: what holds what the step changes that is being made, otherwise None.
    """

    def __init__(self) -> None:
        self.step: EagerStep | None = None
        self._saved = 0.0
        self._kind: Kind | None = None
        self._start = self._promised = 0.0

    def begin(self) -> None:
        """Begin a step."""
        self._kind = None
        self._start, self._promised = perf_counter(), 0.0

    def keep_to_the_end(self) -> None:
        """Hold all that the step may change until it has ended; see `EagerStep.keep_to_the_end`."""
        if self.step is not None:
            self.step.keep_to_the_end()

    def once(self, targets: Iterable[Any], apply: Callable[[], Any], operations: int) -> None:
        """Make a part of a step, unless that is done; see `EagerStep.once`.

        Args:
            targets: the variables that it changes; the first belongs to no other part.
            apply: makes it.
            operations: how many operations that takes.
        """
        if self.step is None:
            apply()
        else:
            variable, *slots = targets
            self.step.once(variable, slots, apply, operations=operations)

    def end(self) -> None:
        """End a step that was made."""
        if self._kind is not None:
            self._saved += self._kind.end(perf_counter() - self._start)

    def put_off(self, kind: Kind, *, traced: bool) -> bool:
        """Return whether a step is to be made without its traced function: there is none, and no time to trace it.

        Args:
            kind: what is known of such steps.
            traced: whether the function is there.
        """
        if self._kind is not None:
            # A part of a step that is put off as a whole.
            return True
        self._kind = kind
        put_off = not traced and not self._affords(kind.cost())
        kind.begin(traced=not put_off)
        return put_off

    @property
    def puts_off(self) -> bool:
        """Return whether the step that is being made may be traced later as a whole."""
        return self._kind is not None and not self._kind.traced

    def together(self, rows: int, chunks: int = 0) -> None:
        """Take note of variables that are updated in chunks, or by one operation each.

        Args:
            rows: how many.
            chunks: in how many chunks.
        """
        if self._kind is not None:
            self._kind.together += rows
            self._kind.chunks += chunks

    def formula(self, key: Hashable, *, at_once: bool) -> bool:
        """Return whether large variables are to be updated by a traced formula.

        Args:
            key: of the formula.
            at_once: whether it is worth tracing in a first step.
        """
        if self._kind is None or not (key in _ready or at_once or self._affords(FORMULA)):
            return False
        self._kind.large = True
        _ready.add(key)
        return True

    def program(self, key: Hashable) -> bool:
        """Return whether a program is to be called in a step that is not traced.

        Args:
            key: what it is compiled for.
        """
        kind = self._kind
        if kind is None or tf.config.functions_run_eagerly():
            return False
        if key not in _ready:
            if not self._affords(COMPILING):
                kind.missing.add(key)
                return False
            # It is compiled when it is called, after others were asked for.
            self._promised += COMPILING * unit()
            _ready.add(key)
        kind.programs = True
        return True

    def _affords(self, units: float) -> bool:
        """Return whether there is time for something, and for the rest of the step; never in a first step."""
        kind = self._kind
        if kind is None or kind.last is None:
            return False
        if not WAITS:
            return True
        if kind.original == inf:
            return False
        left = self._saved + SHARE * kind.original - kind.last - self._promised - (perf_counter() - self._start)
        return left >= units * unit()

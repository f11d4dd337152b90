"""An eager step as one call of a traced function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from operator import is_
from typing import Any

import tensorflow as tf

from adamcompat.tensorflow import sparse, terms
from adamcompat.tensorflow.arguments import check_rows, is_tensor
from adamcompat.tensorflow.first_steps import FirstSteps, Kind
from adamcompat.tensorflow.operations import unrecorded
from adamcompat.tensorflow.whole import EagerStep, begin


class Traced:
    """Keep the functions that were traced for one optimizer.

    Not part of the optimizer's state: an object of its own, so that Keras does not track it.

    Args:
        first_row: the first row that a sparse gradient may name; None where what is below is left out.

    Attributes:
        waits: whether decoupled weight decay waits for the update that it is followed by.
        waiting: the ids of the variables whose decay waits.
        first: the account of first steps, which says when there is time to trace and to compile.
    """

    def __init__(self, first_row: int | None = None) -> None:
        self._first_row = first_row
        self._hyper: tuple[Any, terms.Hyper] | None = None
        self.waits = False
        self.waiting: set[int] = set()
        self.first = FirstSteps()
        self._functions: dict[Any, tuple[list[Any], Kind, dict[Any, Any]]] = {}
        self._constants: dict[tuple[type[Any], float, Any], Any] = {}

    @property
    def step(self) -> EagerStep | None:
        """Return the eager step that is being made, otherwise None."""
        return self.first.step

    @property
    def hyper(self) -> terms.Hyper | None:
        """The hyperparameters of the step while it is being traced, otherwise None.

        They belong to the graph of that step: what a trace that was broken off left behind is seen nowhere else.
        """
        if self._hyper is None or tf.executing_eagerly():
            return None
        owner, hyper = self._hyper
        graph = tf.compat.v1.get_default_graph()
        while graph is not owner:
            graph = getattr(graph, "outer_graph", None)
            if graph is None:
                return None
        return hyper

    def whole(self, counter: Any, make: Callable[[], Any]) -> Any:
        """Make a step, in eager execution whole or not at all.

        Args:
            counter: the variable that counts steps, which is one more after each.
            make: a function without arguments that makes the step.

        Returns:
            The value that `make` returned.
        """
        step = begin([counter])
        if step is None:
            return make()

        def timed() -> Any:
            self.first.begin()
            made = make()
            self.first.end()
            return made

        def finish() -> Any:
            # All of the update is done, or some variables are: what is made again leaves them out.
            return counter.assign_add(1) if step.made else make()

        self.first.step = step
        try:
            return step.run(timed, finish)
        finally:
            self.first.step = None

    def make(self, call: Callable[[], Any]) -> None:
        """Make all of the update by one call, which no tape records.

        The call is noted in the statement that makes it, before the block ends.
        """
        note = self.note()
        with unrecorded():
            note(call())

    def note(self) -> Callable[[Any], None]:
        """Return the function that takes the result of a call that made all of the update."""
        return (self.step.made if self.step is not None else []).append

    def keep_everything(self, variables: Callable[[], Iterable[Any]], *, after: bool = True) -> None:
        """Hold all that the step may change, so that nothing of it stays if it fails.

        A step that is put off, and ends with the update of variables one by one, holds each until that is done.

        Args:
            variables: returns the variables that it may change, or those that are not held yet.
            after: whether anything but counting comes after the update.
        """
        if self.step is not None:
            self.step.keep_everything(variables(), until_done=not after and self.first.puts_off)

    def keep(self, key: Hashable, variables: Iterable[Any]) -> None:
        """Hold the values of variables before an update of several operations; see `EagerStep.keep`."""
        if self.step is not None:
            self.step.keep(key, variables)

    @staticmethod
    def state(optimizer: Any) -> list[Any]:
        """Return the variables that a step of a Keras optimizer changes beside those that are trained."""
        kept = ("_momentums", "_velocities", "_velocity_hats", "_model_variables_moving_average")
        # A new object after each change of which variables decay.
        excluded = getattr(optimizer, "_exclude_from_weight_decay_cache", None)
        return [optimizer._iterations, *(one for name in kept for one in getattr(optimizer, name, ())), excluded]

    def _constant(self, value: Any, dtype: Any = None) -> Any:
        """Return a scalar tensor, of the value's own dtype where none is given; numbers are converted once."""
        if is_tensor(value):
            return tf.cast(tf.convert_to_tensor(value), dtype or value.dtype)
        key = type(value), value, dtype
        if key not in self._constants:
            if len(self._constants) > 16:
                self._constants.clear()
            self._constants[key] = tf.constant(value, dtype)
        return self._constants[key]

    def _tensors(self, hyper: terms.Hyper) -> terms.Hyper:
        """Return the hyperparameters of a step as tensors; None stays None."""
        decay = hyper.decoupled_weight_decay
        return terms.Hyper(
            tf.convert_to_tensor(hyper.learning_rate),
            self._constant(hyper.beta1, tf.float64),
            self._constant(hyper.beta2, tf.float64),
            self._constant(hyper.epsilon, tf.float64),
            None if decay is None else self._constant(decay),
        )

    def function(
        self,
        key: tuple[Hashable, ...],
        function: Callable[[Sequence[Any], Sequence[Any]], Any],
        gradients: Sequence[Any],
        variables: Sequence[Any],
        raws: Sequence[Any],
        state: list[Any],
    ) -> Callable[[terms.Hyper], Callable[[], Any]] | None:
        """Return a function that takes the hyperparameters of a step, and returns the update as one call.

        It is None until the steps before have saved the time that tracing takes; see `first_steps`. Hyperparameters
        come in as tensors, so that setting one acts at once and traces nothing anew; so do the rows that a sparse
        gradient holds, however many.

        Args:
            key: what tracing turns into constants.
            function: the function to trace.
            gradients: one for each variable.
            variables: as `function` takes them.
            raws: the same as TensorFlow's variables.
            state: all other variables that `function` reads or writes. If one of them is a new object, the function is
                traced again.
        """
        tensors = list(gradients)
        rows: list[int] = []
        for position in [i for i, one in enumerate(tensors) if not isinstance(one, tf.Tensor)]:
            if isinstance(tensors[position], tf.IndexedSlices):
                if not sparse.well_formed(tensors[position], raws[position].shape):
                    return None
                # In a graph, other variables would be updated before a row is found that is not there.
                check_rows(tensors[position], raws[position], least=self._first_row)
                rows.append(position)
                tensors.append(tf.convert_to_tensor(tensors[position].indices))
                tensors[position] = tf.convert_to_tensor(tensors[position].values)
            else:
                tensors[position] = sparse.dense(tensors[position], raws[position].shape)
        specs = [(tensor.dtype, tensor.shape) for tensor in tensors]
        for position in (*rows, *range(len(gradients), len(tensors))):
            dtype, shape = specs[position]
            specs[position] = dtype, tf.TensorShape([None, *shape[1:]])
        full_key = (*key, tuple([raw._unique_id for raw in raws]), tuple(rows), tuple(specs))
        old, kind, known = self._functions.get(full_key, ([], Kind(len(raws)), {}))
        if full_key not in self._functions or len(old) != len(state) or not all(map(is_, old, state)):
            pairs = [(tensors[i].shape, raw.shape) for i, raw in enumerate(raws) if i not in rows]
            if not all(sparse.broadcasts(own, wanted) for own, wanted in pairs):
                # An eager step refuses them with another error than a graph.
                return None
            if len(self._functions) > 8:
                self._functions.clear()
            kind, known = Kind(len(raws)), {}
            self._functions[full_key] = state, kind, known
        if self.first.put_off(kind, traced=bool(known)):
            return None
        held, shapes = list(variables), [raw.shape for raw in raws]

        def body(flat: Sequence[Any], hyper: terms.Hyper) -> None:
            found = list(flat[: len(held)])
            for position, indices in zip(rows, flat[len(held) :], strict=True):
                found[position] = tf.IndexedSlices(found[position], indices, tf.constant(shapes[position].as_list()))
            self._hyper = tf.compat.v1.get_default_graph(), hyper
            try:
                function(found, held)
            finally:
                self._hyper = None

        def prepare(hyper: terms.Hyper) -> Callable[[], Any]:
            given = self._tensors(hyper)
            values = [value for value in given if value is not None]
            kinds = tuple([value.dtype for value in values])
            if kinds not in known:
                of_hyper = terms.Hyper(*(one if one is None else tf.TensorSpec(one.shape, one.dtype) for one in given))
                of_tensors = [tf.TensorSpec(shape, kind) for kind, shape in specs]
                known[kinds] = tf.function(body, autograph=False).get_concrete_function(of_tensors, of_hyper)
            traced = known[kinds]
            # What a call does, without checking the types of hundreds of tensors once more.
            return partial(traced._call_flat, [*tensors, *values], traced.captured_inputs)

        return prepare

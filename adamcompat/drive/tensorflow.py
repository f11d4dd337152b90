"""Drive TensorFlow's optimizers and our classes on it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from adamcompat.extras import how_to_install

# What the framework says on import is of no use here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

try:
    import keras
    import tensorflow as tf
    import tf_keras
except ModuleNotFoundError as error:
    if error.name not in ("keras", "tensorflow", "tf_keras"):
        raise
    raise ModuleNotFoundError(
        f"{error.name} is not installed: {how_to_install('tensorflow')}", name=error.name
    ) from None

from adamcompat.drive.catalogue import Entry
from adamcompat.drive.driver import Array, Opened, as_dense, check_count, keyword_only, load_into
from adamcompat.mapping.originals import originals
from adamcompat.numpy.arrays import RowSparse
from adamcompat.schedules import Schedule, takes_step
from adamcompat.state.model import AdamState
from adamcompat.state.runtimes import find

_SCHEDULES = (
    keras.optimizers.schedules.LearningRateSchedule,
    tf_keras.optimizers.schedules.LearningRateSchedule,
)


def _class_of(entry: Entry) -> Any:
    if entry.adapter is None:
        return originals()[entry.name].loaded()
    return getattr(import_module(entry.adapter.module), entry.adapter.name)


def own_keywords(entry: Entry) -> dict[str, Any]:
    """Return the keywords of a class of ours that no dialect has, with their defaults."""
    return keyword_only(_class_of(entry))


def open_driver(opened: Opened, weights: list[Array]) -> TensorFlowDriver | SessionDriver:
    """Open an optimizer, run eagerly, as a function, or in a Session.

    Args:
        opened: the optimizer and its arguments; its mode decides how it is run.
        weights: the initial parameters, one array a parameter.

    Raises:
        RuntimeError: eager execution is off in this process, or Keras runs on another backend than TensorFlow; neither
            matters in a Session.
        ValueError: the learning rate is a Python callable, which cannot run inside jit.
    """
    if opened.mode == "graph":
        return SessionDriver(opened, weights)
    if not tf.executing_eagerly():
        raise RuntimeError("eager execution is off in this process; use 'tf1:graph', or another process")
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=tensorflow")
    return TensorFlowDriver(opened, weights)


def _scheduled(opened: Opened) -> Schedule | None:
    """Return a learning rate that TensorFlow's own calls do not take: a list, or a callable of the step; else None."""
    if opened.dialect.protocol != "apply_gradients":
        return None
    fact = opened.dialect.named("learning_rate")
    assert fact is not None
    value = opened.native.get(fact.name)
    plain = value is None or isinstance(value, (int, float, *_SCHEDULES)) or tf.is_tensor(value)
    if plain or (callable(value) and not takes_step(value)):
        return None
    schedule = Schedule(value, fact.name)
    if opened.mode == "jit" and callable(value):
        raise ValueError(f"{fact.name}: a Python callable cannot run inside jit; give a list with one value a step")
    return schedule


def _keras_schedule(schedule: Schedule, family: type[Any]) -> Any:
    """Return a list or callable of the step as a schedule of Keras 3 or tf_keras."""

    def call(self: Any, step: Any) -> Any:
        if isinstance(schedule.given, list):
            return tf.gather(tf.constant(schedule.given, tf.float32), tf.cast(step, tf.int64))
        value = tf.numpy_function(lambda at: np.float32(schedule.at(int(at))), [step], tf.float32)
        value.set_shape(())
        return value

    return type("DrivenSchedule", (family,), {"__call__": call, "get_config": lambda self: {}})()


def _indexed(gradient: Any, like: Array) -> Any:
    """Return a gradient as TensorFlow takes it."""
    if isinstance(gradient, RowSparse):
        values = np.asarray(gradient.values, like.dtype)
        return tf.IndexedSlices(tf.constant(values), tf.constant(gradient.indices), tf.constant(like.shape))
    return tf.constant(as_dense(gradient, like))


def _state_of(optimizer: Any) -> list[Any]:
    found = optimizer.variables
    return list(found() if callable(found) else found)


def _slot_name(variable: Any, prefix: str) -> str:
    return str(variable.name).removesuffix(":0").removeprefix(prefix)


class TensorFlowDriver:
    """Drive an optimizer in eager execution or as a tf.function."""

    def __init__(self, opened: Opened, weights: list[Array]) -> None:
        self.opened = opened
        self._steps = 0
        kind = _class_of(opened.entry)
        self._on_keras = issubclass(kind, keras.optimizers.Optimizer)
        self._variables = [self._variable(weight, name) for weight, name in zip(weights, opened.names, strict=True)]
        arguments: dict[str, Any] = {**opened.native, **opened.own}
        schedule = _scheduled(opened)
        if schedule is not None:
            arguments[schedule.name] = self._rate(schedule)
        calls, pairs = (opened.dialect.protocol == name for name in ("call", "apply_gradients"))
        self._optimizer: Any = kind(**arguments) if pairs else kind(opened.grouped(self._variables), **arguments)
        if pairs and hasattr(self._optimizer, "build"):
            self._optimizer.build(self._variables)

        def apply(gradients: Any) -> None:
            if calls:
                self._optimizer(opened.ordered(gradients))
            else:
                self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))

        eager = opened.mode == "eager"
        self._apply: Callable[[Any], None] = apply if eager else tf.function(apply, jit_compile=opened.mode == "jit")

    def _variable(self, weight: Array, name: str) -> Any:
        if self._on_keras:
            return keras.Variable(weight, dtype=weight.dtype.name, name=name.replace("/", "_"))
        return tf.Variable(weight, name=name)

    def _rate(self, schedule: Schedule) -> Any:
        if self.opened.entry.runtime == "tensorflow_v1":
            return lambda: schedule.at(self._steps)
        return _keras_schedule(schedule, _SCHEDULES[0] if self._on_keras else _SCHEDULES[1])

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step.

        Args:
            gradients: an array or `RowSparse` for each parameter, in the order of the weights.

        Raises:
            ValueError: the number or a shape of the gradients is wrong.
        """
        check_count(gradients, len(self._variables))
        arrays = [np.empty(tuple(v.shape), tf.as_dtype(v.dtype).as_numpy_dtype) for v in self._variables]
        self._apply([_indexed(gradient, like) for gradient, like in zip(gradients, arrays, strict=True)])
        self._steps += 1

    def load(self, state: AdamState) -> None:
        """Go on from a state under the names of the weights."""
        named = dict(zip(self.opened.names, self._variables, strict=True))
        self._steps = load_into(find(self._optimizer, named, None, build=True), state)

    def parameters(self) -> list[Array]:
        """Return copies of the parameters."""
        return [np.array(variable) for variable in self._variables]

    def slots(self) -> dict[str, Array]:
        """Return copies of the optimizer's variables by their names."""
        prefix = f"{getattr(self._optimizer, '_name', '')}/"
        return {_slot_name(variable, prefix): np.array(variable) for variable in _state_of(self._optimizer)}


class SessionDriver:
    """Drive an optimizer of TensorFlow 1 in a graph of its own and a Session."""

    def __init__(self, opened: Opened, weights: list[Array]) -> None:
        self.opened = opened
        self._schedule = _scheduled(opened)
        self._steps = 0
        self._like = weights
        with tf.Graph().as_default() as graph:
            v1 = tf.compat.v1
            legal = [re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name) for name in opened.names]
            self._variables = [
                v1.Variable(weight, name=name, use_resource=True) for weight, name in zip(weights, legal, strict=True)
            ]
            self._inputs = [v1.placeholder(weight.dtype, weight.shape) for weight in weights]
            arguments: dict[str, Any] = {**opened.native, **opened.own}
            self._rate = v1.placeholder(tf.float32, ())
            if self._schedule is not None:
                arguments[self._schedule.name] = self._rate
            self._optimizer: Any = _class_of(opened.entry)(**arguments)
            pairs = zip(self._inputs, self._variables, strict=True)
            self._train = self._optimizer.apply_gradients(list(pairs))
            self._session = v1.Session(graph=graph)
            self._session.run(v1.global_variables_initializer())

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step.

        Args:
            gradients: an array or `RowSparse` for each parameter, in the order of the weights; rows are made dense.

        Raises:
            ValueError: the number or a shape of the gradients is wrong.
        """
        check_count(gradients, len(self._inputs))
        feed: dict[Any, Any] = {
            place: as_dense(gradient, like)
            for place, gradient, like in zip(self._inputs, gradients, self._like, strict=True)
        }
        feed[self._rate] = 0.0 if self._schedule is None else self._schedule.at(self._steps)
        self._session.run(self._train, feed)
        self._steps += 1

    def load(self, state: AdamState) -> None:
        """Go on from a state under the names of the weights."""
        named = dict(zip(self.opened.names, self._variables, strict=True))
        self._steps = load_into(find(self._optimizer, named, self._session, build=True), state)

    def parameters(self) -> list[Array]:
        """Return copies of the parameters."""
        return [np.array(value) for value in self._session.run(self._variables)]

    def slots(self) -> dict[str, Array]:
        """Return copies of the optimizer's variables by their names."""
        with self._session.graph.as_default():
            variables = _state_of(self._optimizer)
        return {
            _slot_name(variable, ""): np.array(value)
            for variable, value in zip(variables, self._session.run(variables), strict=True)
        }

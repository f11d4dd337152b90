"""Record TensorFlow's and Keras's optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adamcompat.drive.catalogue import find
from adamcompat.drive.tensorflow import own_keywords
from adamcompat.groups import Group
from adamcompat.mapping import lens
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.originals import original_of
from adamcompat.mapping.tables import MAPPING
from adamcompat.recording.record import plain_values, refuse_twice
from adamcompat.recording.recorder import Recorder
from adamcompat.recording.tensorflow_state import created, state_of, values_of
from adamcompat.tensorflow.arguments import raw
from adamcompat.tensorflow.call import CallAdam
from adamcompat.tensorflow.operations import in_session_graph, inside_xla
from adamcompat.tensorflow.sparse import dense
from adamcompat.tensorflow.step_call import StepAdam


def _name_of(optimizer: Any) -> tuple[str | None, Dialect | None]:
    kind = type(optimizer)
    for adapter in MAPPING.adapters:
        if kind.__name__ == adapter.name and kind.__module__ == f"{adapter.module}.adapters":
            return f"{adapter.module}.{adapter.name}", MAPPING.dialects[adapter.dialect]
    original = original_of(kind)
    if original is None or original.loaded() is not kind:
        return None, None
    return original.name, original.dialect


def facts(optimizer: Any) -> tuple[str | None, dict[str, Any] | None]:
    """Return the name by which `adamcompat.compare` knows an optimizer, and its hyperparameters.

    Returns:
        The name, None where it has none; and native names to values, None where they are not known, change from step to
        step, or differ between groups.
    """
    name, dialect = _name_of(optimizer)
    if dialect is None:
        return None, None
    config = optimizer.get_config() if hasattr(optimizer, "get_config") else {}
    if isinstance(optimizer, StepAdam):
        settings = optimizer.settings()
        if settings is None:
            return name, None
        config |= settings
    groups: list[tuple[str, Group]] = []
    if isinstance(optimizer, CallAdam):
        arranged = optimizer._private.arranged
        if arranged is None:
            return name, None
        if arranged.grouped:
            groups = list(zip(_names(arranged.variables), arranged.groups, strict=True))
    native: dict[str, Any] = {}
    for fact in dialect.accepted:
        if MAPPING.scope(fact) != "hyperparameter" or fact.alias_of is not None:
            continue
        value = config[fact.name] if fact.name in config else _attribute(optimizer, fact.name)
        if fact.type in ("function", "functions") and _is_tensorflows(value):
            continue
        if value is not None:
            native[fact.name] = lens.each(fact, value, _plain)
    entry = find(str(name))[0]
    if entry.adapter is not None:
        native |= {
            own: value for own in own_keywords(entry) if (value := config.get(own) or _attribute(optimizer, own))
        }
    return name, plain_values(native, dialect, groups)


def _is_tensorflows(functions: Any) -> bool:
    """Return whether functions of an optimizer are the framework's own: those that are there when none is given."""
    listed = functions if isinstance(functions, (list, tuple)) else [functions]
    return all(str(getattr(one, "__module__", "")).startswith("tf_keras.") for one in listed)


def _attribute(optimizer: Any, name: str) -> Any:
    """Return a hyperparameter that is not in the configuration; TensorFlow 1 keeps all under names of its own."""
    own = f"_V1Adam__{name.removeprefix('use_')}"
    for attribute in (name, f"_{name}", f"_{name.replace('learning_rate', 'lr')}", own):
        value = getattr(optimizer, attribute, None)
        if value is not None:
            return value
    return None


def _plain(value: Any) -> Any:
    """Return a number; of one that went through float32 the shortest decimal that means the same."""
    if isinstance(value, (np.floating, float)) and float(np.float32(value)) == float(value):
        return float(str(np.float32(value)))
    return value.item() if isinstance(value, np.generic) else value


def instrument(optimizer: Any, recorder: Recorder) -> Callable[[], None]:
    """Record what the optimizer is called with.

    Args:
        optimizer: it is instrumented in place.
        recorder: takes what there is before and after each step.

    Returns:
        A function that undoes it.

    Raises:
        ValueError: the optimizer is being recorded already.
    """
    # What everything else goes through: apply_gradients of Keras 3 calls apply, minimize calls apply_gradients.
    if isinstance(optimizer, keras.optimizers.Optimizer):
        method, replacement = "apply", _apply(optimizer, recorder)
    else:
        method, replacement = "apply_gradients", _apply_gradients(optimizer, recorder)
    refuse_twice(method in vars(optimizer))
    # Keras and tf_keras watch assignments.
    object.__setattr__(optimizer, method, replacement)

    def undo() -> None:
        object.__delattr__(optimizer, method)

    return undo


def _apply(optimizer: Any, recorder: Recorder) -> Callable[..., Any]:
    original = optimizer.apply

    def apply(grads: Any, trainable_variables: Any = None) -> Any:
        gradients = list(grads)
        variables = optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)
        pairs = list(zip(gradients, variables, strict=False))
        return _recorded(optimizer, recorder, pairs, lambda: original(gradients, trainable_variables))

    return apply


def _apply_gradients(optimizer: Any, recorder: Recorder) -> Callable[..., Any]:
    original = optimizer.apply_gradients

    def apply_gradients(grads_and_vars: Any, *arguments: Any, **keywords: Any) -> Any:
        pairs = list(grads_and_vars)
        return _recorded(optimizer, recorder, pairs, lambda: original(pairs, *arguments, **keywords))

    return apply_gradients


def _recorded(optimizer: Any, recorder: Recorder, pairs: Sequence[tuple[Any, Any]], step: Callable[[], Any]) -> Any:
    """Make a step and record it, now or wherever the graph that is being built will run."""
    if not recorder.recording:
        return step()
    if tf.distribute.has_strategy():
        recorder.stop("steps under a tf.distribute strategy are not recorded")
        return step()
    if inside_xla():
        recorder.stop("steps inside jit_compile=True are not recorded: nothing can be copied out of them")
        return step()
    found = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
    variables = [variable for _, variable in found]
    names = _names(variables)
    values = [raw(variable) for variable in variables]
    if tf.executing_eagerly():
        if not recorder.begun:
            recorder.before(
                names,
                [value.numpy() for value in values],
                _steps(optimizer),
                lambda: state_of(optimizer, variables, names),
            )
        result = step()
        arrays = [_dense(gradient, variable).numpy() for gradient, variable in found]
        recorder.after(names, arrays, lambda: [raw(variable).numpy() for _, variable in found])
        return result
    return _traced(optimizer, recorder, names, found, step)


def _traced(
    optimizer: Any, recorder: Recorder, names: list[str], found: list[tuple[Any, Any]], step: Callable[[], Any]
) -> Any:
    """Build a step into a graph, with a call of the recorder before it and one after."""
    many = len(found)
    variables = [variable for _, variable in found]
    # In a Session only the graph can read what the optimizer keeps; else it is read when it is needed.
    graph = tf.compat.v1.get_default_graph()
    own = created(optimizer, variables) if in_session_graph() else []

    def before(*inputs: Any) -> None:
        def state() -> Any:
            session = values_of(graph, own, inputs[many + 1 :]) if own else None
            return state_of(optimizer, variables, names, session)

        recorder.before(names, inputs[:many], int(inputs[many]), state)

    def after(*inputs: Any) -> None:
        recorder.after(names, inputs[:many], lambda: inputs[many:])

    def call(function: Callable[..., None], inputs: list[Any]) -> Any:
        def run(*arrays: Any) -> Any:
            function(*arrays)
            return np.int32(0)

        return tf.numpy_function(run, inputs, tf.int32)

    steps = getattr(optimizer, "iterations", None)
    start = tf.constant(0, tf.int64) if steps is None else tf.cast(raw(steps), tf.int64)
    kept = [variable.read_value() for variable in own]
    ready = call(before, [*(_read(variable) for variable in variables), start, *kept])
    with tf.control_dependencies([ready]):
        result = step()
    gradients = [_dense(gradient, variable) for gradient, variable in found]
    # In a graph of TensorFlow 1 nothing else would make the copy wait for the step.
    with tf.control_dependencies([result] if isinstance(result, (tf.Operation, tf.Tensor)) else []):
        done = call(after, [*gradients, *(_read(variable) for _, variable in found)])
    if in_session_graph():
        return tf.group(result, done)
    return result


def _read(variable: Any) -> Any:
    return raw(variable).read_value()


def _dense(gradient: Any, variable: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return dense(gradient, raw(variable).shape)
    return tf.convert_to_tensor(gradient)


def _steps(optimizer: Any) -> int:
    """Return how many steps an optimizer has made; TensorFlow 1's says by its moments alone whether it has made any."""
    steps = getattr(optimizer, "iterations", None)
    if steps is not None:
        return int(np.asarray(steps))
    return int(any(np.asarray(variable).any() for variable in optimizer.variables() if "power" not in variable.name))


def _names(variables: Sequence[Any]) -> list[str]:
    """Return the variables' names; what several share, with a number."""
    plain = [str(getattr(variable, "path", None) or variable.name).removesuffix(":0") for variable in variables]
    return [name if plain.count(name) == 1 else f"{name}#{plain[:i].count(name)}" for i, name in enumerate(plain)]

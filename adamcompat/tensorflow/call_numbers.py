"""Compute the numbers of a step with another framework's call: each group's learning rate and weight decay."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from adamcompat.groups import Group
from adamcompat.program import Program
from adamcompat.schedules import Schedule
from adamcompat.stages import time_decayed
from adamcompat.tensorflow.arguments import raw
from adamcompat.tensorflow.call_state import Private
from adamcompat.tensorflow.step import Numbers


def numbers_of_step(private: Private, iterations: Any, rate_variable: Any) -> list[Numbers]:
    """Return learning rate and weight decay of each group; eagerly, every value is checked before anything is written.

    Args:
        private: the private data of the optimizer, with its schedules and groups.
        iterations: the variable that counts steps.
        rate_variable: holds the learning rate; None where that is a schedule.

    Raises:
        ValueError: eagerly, a value cannot be used.
        RuntimeError: eagerly, a list of learning rates has no value for this step.
    """
    eager, start = tf.executing_eagerly(), private.program.rate.start
    step = (int(tf.convert_to_tensor(iterations)) if eager else tf.cast(iterations, tf.int64)) + start
    known: dict[int, Any] = {}

    def at(schedule: Schedule | None) -> Any:
        if schedule is None:
            return None
        if id(schedule) not in known:
            known[id(schedule)] = (_value if eager else _value_in_graph)(schedule, step, iterations)
        return known[id(schedule)]

    found = []
    for group, own in zip(private.groups, private.rates, strict=True):
        held = rate_variable if group.learning_rate is None else own
        if held is not None:
            rate = tf.cast(raw(held), tf.float64)
            if eager and not tf.math.is_finite(rate):
                raise ValueError(f"the learning rate is {float(rate)!r}; assign a finite number")
        else:
            rate = at(group.learning_rate or private.hyper.schedules["learning_rate"])
        found.append(Numbers(_decayed(private.program, rate, step), at(_decay_of(private, group))))
    return found


def current_rate(private: Private, iterations: Any) -> Any:
    """Return the optimizer's own learning rate for the next step, from its schedule; a list without a value gives NaN.

    Args:
        private: the private data of the optimizer, with its schedules and groups.
        iterations: the variable that counts steps.
    """
    step = tf.cast(iterations + private.program.rate.start, tf.int64)
    return _value_in_graph(private.hyper.schedules["learning_rate"], step, iterations)


def length_checks(private: Private, iterations: Any) -> list[Any]:
    """Return the assertions on lists of learning rates that must hold before a graph may write anything.

    Args:
        private: the private data of the optimizer, with its schedules and groups.
        iterations: the variable that counts steps.
    """
    step = tf.cast(iterations, tf.int64) + private.program.rate.start
    schedules = [group.learning_rate or private.hyper.schedules["learning_rate"] for group in private.groups]
    checks = [
        tf.debugging.assert_less(
            step,
            tf.constant(length, tf.int64),
            message=f"learning_rate is a list of {length} values and has none for this step; give one value for "
            f"each step, or a callable",
        )
        for length in {len(schedule.listed) for schedule in schedules if schedule.listed is not None}
    ]
    return [check for check in checks if check is not None]


def _value(schedule: Schedule, step: int, iterations: Any) -> Any:
    argument = iterations if _is_keras_schedule(schedule) else tf.constant(step, tf.float64)
    return tf.constant(schedule.at(step, argument), tf.float64)


def _value_in_graph(schedule: Schedule, step: Any, iterations: Any) -> Any:
    if schedule.constant:
        return tf.constant(schedule.at(0), tf.float64)
    if schedule.listed is not None:
        values = tf.constant(schedule.listed, tf.float64)
        found = tf.gather(values, tf.minimum(step, len(schedule.listed) - 1))
        # XLA cannot raise; NaN is at least not silent.
        return tf.where(step < len(schedule.listed), found, tf.constant(float("nan"), tf.float64))
    argument = iterations if _is_keras_schedule(schedule) else tf.cast(step, tf.float64)
    found = schedule.ask(argument)
    tensor = tf.convert_to_tensor(found) if tf.is_tensor(found) else tf.convert_to_tensor(found, tf.float64)
    return tf.reshape(tf.cast(tensor, tf.float64), [])


def _is_keras_schedule(schedule: Schedule) -> bool:
    return any(kind.__name__ == "LearningRateSchedule" for kind in type(schedule.given).__mro__)


def _decayed(program: Program, rate: Any, step: Any) -> Any:
    """Return a learning rate after its decay over time, in float64."""
    if not program.rate.time_decay:
        return rate
    kind = tf.float32 if program.stepwise else tf.float64
    operands = (rate, step, tf.constant(program.rate.time_decay, tf.float64), tf.constant(1, tf.float64))
    return tf.cast(time_decayed(*(tf.cast(operand, kind) for operand in operands)), tf.float64)


def _decay_of(private: Private, group: Group) -> Schedule | None:
    """Return the weight decay of a group; None where there is none, or where it is always 0."""
    schedules = private.hyper.schedules
    schedule = group.weight_decay or schedules.get("l2_weight_decay") or schedules.get("decoupled_weight_decay")
    return None if schedule is None or (schedule.constant and schedule.at(0) == 0) else schedule

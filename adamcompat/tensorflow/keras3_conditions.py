"""Tell which steps of Keras 3's optimizer ours makes in its place, and which may be traced as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import keras
import tensorflow as tf

from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import operations, sparse, terms
from adamcompat.tensorflow.arguments import FIXED, is_number, is_scalar, raw, stand_still

# The members of Keras 3 call their hyperparameters and their state the same.
_DIALECT = MAPPING.dialects["keras3"]
_SCHEDULE = keras.optimizers.schedules.LearningRateSchedule
# Hyperparameters that tracing turns into constants: those that neither come in as tensors nor act before.
_ACT_BEFORE = ("loss_scale", "accumulation_steps")
_CONSTANTS = attrgetter(
    *(
        fact.name
        for fact in _DIALECT.parameters
        if MAPPING.scope(fact) == "hyperparameter"
        and not all(part.canonical in (*terms.Hyper._fields, *_ACT_BEFORE) for part in fact.parts)
    )
)


def has_own_code(variable: Any) -> bool:
    """Return whether a variable is written before or after the update: in place of a gradient, or by a constraint."""
    written = getattr(variable, "overwrite_with_gradient", False)
    return bool(written) or getattr(variable, "constraint", None) is not None


def is_moment(name: Any) -> bool:
    """Return whether a state variable is a moment by its name, or the maximum of one."""
    slots = [slot for block in _DIALECT.slots for slot in block]
    moments = ("first_moment", "second_moment", "maximum_second_moment")
    return any(str(name).endswith(slot.template.partition("}")[2]) for slot in slots if slot.role in moments)


def needs_ours(optimizer: Any, variable: Any) -> bool:
    """Return whether Keras's own update of a variable fails, stands still, or is not what was asked for."""
    calls = callable(optimizer.beta_1) or callable(optimizer.beta_2)
    return bool(optimizer.fused or calls or widened(optimizer, variable)) and variable.dtype in operations.FLOATS


def widened(optimizer: Any, variable: Any) -> bool:
    """Return whether a bfloat16 variable stands still with Keras, or has moments in float32 because it would."""
    return variable.dtype == tf.bfloat16 and (
        stand_still(optimizer.beta_1, optimizer.beta_2)
        or optimizer._momentums[optimizer._get_variable_index(variable)].value.dtype != tf.bfloat16
    )


def takes(optimizer: Any, gradients: Iterable[Any], raws: Sequence[Any], learning_rate: Any = None) -> bool:
    """Return whether the formula of the kernel has Keras's bits for these gradients: it is written for plain numbers.

    Args:
        optimizer: one of Keras 3, whose hyperparameters are looked at.
        gradients: tensors, or IndexedSlices, which must fit their variables.
        raws: the tf.Variables that they belong to, in the same order.
        learning_rate: of this step, where it is known; None is not looked at.
    """
    rows = [pair for pair in zip(gradients, raws, strict=True) if isinstance(pair[0], tf.IndexedSlices)]
    kinds = {one.dtype for one in raws}
    return (
        all(is_number(beta) or callable(beta) for beta in (optimizer.beta_1, optimizer.beta_2))
        and is_number(optimizer.epsilon)
        and isinstance(optimizer.amsgrad, FIXED)
        and (learning_rate is None or is_scalar(raw(learning_rate)))
        and all(isinstance(one, tf.Variable) for one in raws)
        and kinds <= operations.FLOATS
        and (
            tf.bfloat16 not in kinds
            or optimizer.fused
            or all(widened(optimizer, one) for one in operations.narrow(raws))
        )
        and all(sparse.fits(gradient, one) for gradient, one in rows)
    )


def as_they_are(optimizer: Any, gradients: Sequence[Any], raws: Sequence[Any]) -> bool:
    """Return whether a graph treats these gradients as an eager step does.

    It does not if they are no tensors, or if they are clipped and their dtypes differ from the variables'.

    Args:
        optimizer: one of Keras 3, whose limits of clipping are looked at.
        gradients: anything that was given as gradients.
        raws: the tf.Variables that they belong to, at least one.
    """
    values = [one.values if isinstance(one, tf.IndexedSlices) else one for one in gradients]
    if not all(isinstance(one, tf.Tensor) for one in values):
        return False
    clips = optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue
    return not clips or {one.dtype for one in (*values, *raws)} == {raws[0].dtype}


def multiplies_scalars(optimizer: Any) -> bool:
    """Return whether TensorFlow multiplies weight decay and learning rate first in a graph that holds Keras's formula.

    It does where both are plain, unless it was told not to rewrite arithmetic. What a schedule computes is multiplied
    in an order that depends on the schedule.
    """
    options = tf.config.optimizer.get_experimental_options()
    return (
        isinstance(optimizer._learning_rate, keras.Variable)
        and is_number(optimizer.weight_decay)
        and not options.get("disable_meta_optimizer")
        and options.get("arithmetic_optimization", True) is not False
    )


def constants(optimizer: Any) -> tuple[Any, ...] | None:
    """Return a key of the settings that tracing the whole step makes constant.

    Args:
        optimizer: one of Keras 3.

    Returns:
        The types and values of these settings; None where one may change from step to step.
    """
    found: tuple[Any, ...] = _CONSTANTS(optimizer)
    # A callable is asked as often as Keras asks it: with weight decay, once for each variable. Keras's own
    # schedules give the same each time.
    rate = optimizer._learning_rate
    keras_own = isinstance(rate, _SCHEDULE) and type(rate).__module__.partition(".")[0] == "keras"
    asked = callable(rate) and not keras_own
    decays = optimizer.weight_decay is not None
    if all(isinstance(one, FIXED) for one in found) and not (
        decays and (asked or not is_number(optimizer.weight_decay))
    ):
        return (*map(type, found), *found)
    return None

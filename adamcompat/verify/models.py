"""Predict what every alternative would do, to compare an original with.

All of it is the package's own update and stages, run with other orders, roundings and coefficients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adamcompat.drive import prepare
from adamcompat.drive.catalogue import FLOAT64
from adamcompat.drive.numpy import EngineDriver, Model
from adamcompat.hyperparameters import Hyperparameters, neutral_values, settle_decay
from adamcompat.kernel import Coefficients, Operations, coefficients, make_update
from adamcompat.mapping.model import Dialect, Form, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mapping.vocabulary import STAGES, Amsgrad, Nesterov, words
from adamcompat.program import DECOUPLED_DECAY
from adamcompat.schedules import Schedule
from adamcompat.stages import average, make_stages
from adamcompat.verify.original import Array, trajectory

CANONICAL = MAPPING.numerics["canonical"]

_PLAIN = Operations(
    lambda a, b, c: a * b + c,
    lambda a, x, b, y: a * x + b * y,
    np.sqrt,
    np.maximum,
    np.asarray,
    np.multiply,
)
_update = make_update(_PLAIN)
_decay = make_stages(_PLAIN, np.minimum)[DECOUPLED_DECAY]


def hyperparameters(given: Mapping[str, Any]) -> Hyperparameters:
    """Return canonical hyperparameters; those that are not given are neutral.

    Args:
        given: canonical names to values.
    """
    values = {**neutral_values(), **given}
    schedules = {
        name: Schedule(values[name], name)
        for name in ("learning_rate", "l2_weight_decay")
        if values[name] is not None and values[name] is not False
    }
    settle_decay(values, schedules)
    return Hyperparameters(values, schedules, {})


def engine(
    dialect: Dialect,
    numerics: Numerics,
    given: Mapping[str, Any],
    weights: Sequence[Array],
    names: Sequence[str] = (),
) -> EngineDriver:
    """Return a driver of the package's step with a dialect's order and semantics and any rounding.

    Args:
        dialect: whose order of stages and semantics hold.
        numerics: how the step rounds.
        given: canonical hyperparameters; those that are not given are neutral.
        weights: the initial parameters, which are copied; their dtype is that of the state.
        names: of the parameters; without any they are ``omega1``, ``omega2`` and so on.
    """
    labels = list(names) or [f"omega{i + 1}" for i in range(len(weights))]
    opened = prepare(FLOAT64, {}, labels)
    return EngineDriver(opened, Model(dialect, hyperparameters(given), numerics), [np.array(w) for w in weights])


def exact(weights: Sequence[Array], gradients: Sequence[Sequence[Any]]) -> tuple[list[Array], list[list[Array]]]:
    """Return the same weights and gradients in float64.

    Args:
        weights: one array a parameter.
        gradients: for each step one array a parameter.
    """
    return [np.asarray(w, np.float64) for w in weights], [[np.asarray(g, np.float64) for g in s] for s in gradients]


def ordered(
    dialect: Dialect,
    numerics: Numerics,
    order: Sequence[str],
    given: Mapping[str, Any],
    weights: Sequence[Array],
    gradients: Sequence[Sequence[Any]],
) -> Array:
    """Return a trajectory with another order of stages.

    A stage of the gradient after the update changes nothing any more. Decoupled decay and the average
    act on the parameters, so that they are done here, where they stand.

    Args:
        dialect: whose semantics hold.
        numerics: how the step rounds.
        order: the stages in their order, "update" among them.
        given: canonical hyperparameters; those that are not given are neutral.
        weights: the initial parameters, one array a parameter.
        gradients: for each step one array a parameter.

    Returns:
        All parameters after each step, one after the other in one vector.
    """
    inner = tuple(s for s in order[: order.index("update") + 1] if s not in ("decoupled_decay", "average"))
    outer = {canonical for stage, canonical in STAGES.items() if stage not in inner}
    outer |= {"ema_momentum", "ema_overwrite_frequency"}
    simple = {name: value for name, value in given.items() if name not in outer}
    driver = engine(dataclasses.replace(dialect, stages=inner), numerics, simple, weights)
    live = [slot.array for slot in driver._engine.slots]
    averages = [array.copy() for array in live]
    momentum, every = given.get("ema_momentum", 0.0), given.get("ema_overwrite_frequency")
    seen: list[Array] = []
    for number, step in enumerate(gradients, 1):
        for stage in order:
            if stage == "decoupled_decay" and given.get("decoupled_weight_decay"):
                for p in live:
                    p[...] = _decay(p, given["decoupled_weight_decay"], given["learning_rate"])
            elif stage == "average" and given.get("use_ema"):
                for kept, p in zip(averages, live, strict=True):
                    kept[...] = p if number == 1 else average(kept, p, momentum, 1 - momentum)
                    if every and number % every == 0:
                        p[...] = kept
            elif stage == "update":
                driver.step(step)
        seen += [array.ravel().copy() for array in live]
    return np.concatenate(seen)


# Without bias correction there is but one epsilon.
FORMS = (Form("hat", "both"), Form("paper", "both"), Form("hat", "none"))
AMSGRAD = words(Amsgrad)
# Nadam without its momentum schedule is no form of the mapping, but one that an original might have.
NESTEROV = (*words(Nesterov), "dozat")


def formula(
    given: Mapping[str, Any],
    weights: Sequence[Array],
    gradients: Sequence[Sequence[Any]],
    *,
    form: Form = FORMS[0],
    amsgrad: str = "none",
    nesterov: str = "none",
) -> Array:
    r"""Return a trajectory in float64 with another form of the update.

    .. math::
        m &\leftarrow m + (g - m) (1 - \beta_1) \\
        v &\leftarrow v + (g^2 - v) (1 - \beta_2) \\
        p &\leftarrow p - \alpha\, m / (\sqrt{v} + \hat\epsilon)

    :math:`\alpha` and :math:`\hat\epsilon` are those of `correction.make_correction`. All forms are this one update
    with other coefficients. With AMSGrad :math:`v` in the last line is its maximum so far; a maximum of corrected
    moments is a raw one that is rescaled from step to step. With a look-ahead :math:`m` in the last line is
    :math:`(1 - \beta_1) g + b\, m`, where :math:`b = \beta_1`, or
    :math:`b = \beta_1 (1 - \beta_1^t) / (1 - \beta_1^{t+1})` for Dozat's look-ahead (Nadam without its momentum
    schedule), which weighs the first moment with the next step's correction.

    Args:
        given: "learning_rate", "beta1", "beta2" and "epsilon".
        weights: the initial parameters, one array a parameter.
        gradients: for each step one array a parameter.
        form: which epsilon is meant, and whether the moments are corrected.
        amsgrad: "none", "raw_maximum" or "corrected_maximum".
        nesterov: "none", "blend" or "dozat".

    Returns:
        All parameters after each step, one after the other in one vector of float64.
    """
    arrays, stream = exact(weights, gradients)
    state = [[np.zeros_like(a), np.zeros_like(a), np.zeros_like(a)] for a in arrays]
    b1, b2 = given["beta1"], given["beta2"]
    seen: list[Array] = []
    for t, step in enumerate(stream, 1):
        corrected, before = 1 - b2**t, 1 - b2 ** (t - 1)
        c: Coefficients = coefficients(
            CANONICAL,
            np.float64,
            learning_rate=given["learning_rate"],
            beta1=b1,
            beta2=b2,
            epsilon=given["epsilon"],
            step=t,
            nesterov=nesterov != "none",
            form=form,
        )
        ahead = c.beta1
        if nesterov == "dozat":
            ahead = b1 * (1 - b1**t) / (1 - b1 ** (t + 1))
        for i, (p, g) in enumerate(zip(arrays, step, strict=True)):
            m, v, top = state[i]
            if amsgrad == "corrected_maximum" and t > 1:
                top = top * corrected / before
            p, m, v, top = _update(
                p, g, m, v, None if amsgrad == "none" else top, c.alpha, c.c1, c.c2, c.epsilon, ahead
            )
            arrays[i], state[i] = p, [m, v, v if top is None else top]
        seen += [np.ravel(a).copy() for a in arrays]
    return np.concatenate(seen)


def predicted(
    dialect: Dialect,
    numerics: Numerics,
    given: Mapping[str, Any],
    weights: Sequence[Array],
    gradients: Sequence[Sequence[Any]],
    names: Sequence[str] = (),
) -> Array:
    """Return the trajectory of the package's own step.

    Args:
        dialect: whose order of stages and semantics hold.
        numerics: how the step rounds.
        given: canonical hyperparameters; those that are not given are neutral.
        weights: the initial parameters, one array a parameter.
        gradients: for each step one array a parameter.
        names: of the parameters; without any they are ``omega1``, ``omega2`` and so on.

    Returns:
        All parameters after each step, one after the other in one vector of the dtype of the weights.
    """
    return trajectory(engine(dialect, numerics, given, weights, names), gradients)

"""Tell where two dialects compute something else of the same hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from adamcompat.correction import make_correction
from adamcompat.differences import longer_steps
from adamcompat.mapping.model import Form, Semantics
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.arguments import UNKNOWN, form
from adamcompat.translation.conversion import Context, Value
from adamcompat.translation.effects import difference
from adamcompat.translation.messages import Message, error, warning
from adamcompat.translation.names import Signature
from adamcompat.translation.trained import Trained, trained

# From here on the two places of epsilon give trainings that anybody can tell apart.
_MATTERS = 1e-5
# Steps at which a message compares the places.
_TIMES = (1, 1000)
_BETAS = ("beta1", "beta2")
_DECAYS = ("decoupled_weight_decay", "absolute_weight_decay", "l2_weight_decay")


def other_forms(source: Signature, target: Signature, values: Mapping[str, Value], context: Context) -> list[Message]:
    """Return messages on what the target computes differently from the same hyperparameters.

    Args:
        source: the class that is called.
        target: the class to call.
        values: the hyperparameters of the call, by canonical names.
        context: the code around the call.

    Returns:
        A message each for the bias correction or the place of epsilon, the maximum of AMSGrad, the first step of a
        schedule and the parameters that do not decay, where the two differ and the call uses it.
    """
    here, there = source.dialect.semantics, target.dialect.semantics
    found: list[Message] = []
    if here.bias_correction != there.bias_correction:
        found.append(_bias_correction(source, target, values))
    elif here.epsilon != there.epsilon:
        found.append(_epsilon(source, target, values))
    return [*found, *_rest(source, target, here, there, values, context)]


def _bias_correction(source: Signature, target: Signature, values: Mapping[str, Value]) -> Message:
    sides = sorted((source, target), key=lambda side: side.dialect.semantics.bias_correction != "none")
    betas = [_number(values, name) for name in _BETAS]
    text = (
        f"{sides[0].name} makes no bias correction, {sides[1].name} does: without it a step is "
        f"{longer_steps(betas[0], betas[1])}, which is another training"
    )
    return error("bias-correction", text)


def _number(values: Mapping[str, Value], name: str) -> float:
    """Return a beta; the usual default where only running the code would tell."""
    value = values.get(name)
    if value is not None and value.value is not UNKNOWN:
        return float(value.value)
    facts = (dialect.named(name) for dialect in MAPPING.dialects.values())
    return next(fact.default for fact in facts if fact is not None and isinstance(fact.default, float))


def _epsilon(source: Signature, target: Signature, values: Mapping[str, Value]) -> Message:
    hat, paper = sorted((source, target), key=lambda side: side.dialect.semantics.epsilon == "paper")
    given, beta2 = values["epsilon"], _number(values, "beta2")
    known = given.value is not UNKNOWN and given.value is not None
    unit = float(given.value) if known else 1.0
    correct = make_correction(Form("paper", "both"))
    beside = {t: correct(1.0, unit, 0.0, beta2**t, 1.0, math.sqrt)[1] for t in _TIMES}
    shares = " and ".join(f"{epsilon:.3g} at t = {t:,}" for t, epsilon in beside.items())
    what = f"{unit:g} of {paper.name} is" if known else f"of that of {paper.name} there count"
    text = (
        f"{given} means something else: {hat.name} adds epsilon to sqrt(v), {paper.name} to the root of the corrected "
        f"second moment (Algorithm 1); beside sqrt(v) {what} {shares} (with a beta2 of {beta2:g}), and all of it in "
        f"the end; it matters from about {_MATTERS:g} on, and where gradients are tiny"
    )
    shared = (name for name in values if target.named(name) and source.named(name))
    taken = {name: values[name].effective for name in shared if MAPPING.canonical[name].scope == "hyperparameter"}
    text += difference(source, taken, target, taken, (f"in {source.name}", f"in {target.name}"))
    if known and unit >= _MATTERS:
        return error("other-epsilon", text)
    return warning("other-epsilon", text)


def _rest(
    source: Signature,
    target: Signature,
    here: Semantics,
    there: Semantics,
    values: Mapping[str, Value],
    context: Context,
) -> Iterator[Message]:
    amsgrad, rate = values.get("amsgrad"), values.get("learning_rate")
    forms = {here.amsgrad, there.amsgrad}
    if amsgrad is not None and amsgrad.matters and len(forms) == 2 and "none" not in forms:
        text = f"{amsgrad}: the maximum is the {here.amsgrad.replace('_', ' ')} of second moments in {source.name}"
        yield warning("other-maximum", f"{text}, and the {there.amsgrad.replace('_', ' ')} in {target.name}")
    plain = rate is None or rate.node is None or form(rate.node, context.values) == "number"
    if here.schedule_start != there.schedule_start and not plain:
        text = f"{rate}: the first step of a schedule is number {here.schedule_start} in {source.name}"
        yield warning("other-start", f"{text}, and number {there.schedule_start} in {target.name}")
    decays = [value for name in _DECAYS if (value := values.get(name)) is not None and target.named(name) is not None]
    parameters = values.get("parameters")
    grouped = parameters is not None and parameters.node is not None and target.named("parameters") is not None
    if grouped and parameters is not None and parameters.node is not None:
        # Decay skips names where parameters are not grouped.
        grouped = trained(parameters.node, context.nodes) is Trained.GROUPS
    if not grouped and here.decay_skips != there.decay_skips and any(value.matters for value in decays):
        text = "; ".join(
            f"{side.name} leaves alone "
            + (f"parameters with {' or '.join(skips)} in their names" if skips else "none of the parameters")
            for side, skips in ((source, here.decay_skips), (target, there.decay_skips))
        )
        yield warning("other-skips", f"{decays[0]}: {text}")

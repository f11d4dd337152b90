"""Write a dialect's step as formulas, computed from its facts: the one place that holds them."""

from __future__ import annotations

from adamcompat.mapping.model import Dialect, Form, Mapping

# What becomes of a parameter, by the form of the step size and of epsilon.
STEP_SIZES = {
    Form("hat", "both"): "learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)",
    Form("paper", "both"): "learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)",
    Form("hat", "none"): "learning_rate m / (sqrt(v) + epsilon)",
}

# Stages before the update that take weight decay off, and the hyperparameter of each.
_DECAYS = {
    "l2_decay": ("l2_weight_decay", "g <- g + {name} p"),
    "absolute_decay": ("absolute_weight_decay", "p <- p - {name} p"),
}


def update(mapping: Mapping, dialect: Dialect) -> list[str]:
    """Return the formulas of the moments and of the parameter, a line each.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> print(*update(MAPPING, MAPPING.dialects["mindspore"]), sep="\\n")
    m <- m + (g - m) (1 - beta1)
    v <- v + (g^2 - v) (1 - beta2)
    p <- p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
    """
    decay, step = dialect.named("decoupled_weight_decay"), STEP_SIZES[dialect.semantics.form]
    lines = ["m <- m + (g - m) (1 - beta1)", "v <- v + (g^2 - v) (1 - beta2)"]
    if decay is None:
        return [*lines, f"p <- p - {step}"]
    if mapping.numerics[dialect.numerics].decay == "update":
        return [*lines, f"p <- p - learning_rate ({step.removeprefix('learning_rate ')} + {decay.name} p)"]
    return [*lines, f"p <- p - learning_rate {decay.name} p - {step}"]


def whole(mapping: Mapping, dialect: Dialect) -> list[str]:
    """Return the formulas of a step with every kind of weight decay and, where it is computed, the maximum of AMSGrad.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> print(*whole(MAPPING, MAPPING.dialects["mindspore"]), sep="\\n")
    g <- g + weight_decay p
    m <- m + (g - m) (1 - beta1)
    v <- v + (g^2 - v) (1 - beta2)
    with use_amsgrad: u <- max(u, v), and u stands for v below
    p <- p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
    """
    found = {stage: dialect.named(canonical) for stage, (canonical, _) in _DECAYS.items() if stage in dialect.stages}
    lines = [_DECAYS[stage][1].format(name=fact.name) for stage, fact in found.items() if fact is not None]
    *moments, last = update(mapping, dialect)
    decay, amsgrad = dialect.named("decoupled_weight_decay"), dialect.named("amsgrad")
    if decay is not None:
        # On a line of its own, which is short enough to read.
        own = f"p <- p - learning_rate {decay.name} p"
        lines += [own] if last.startswith(own) else []
        last = last.replace(f"{own} -", "p <- p -")
    if amsgrad is not None and amsgrad.name not in dialect.ignored:
        moments.append(f"with {amsgrad.name}: u <- max(u, v), and u stands for v below")
    return [*lines, *moments, last]

"""List the words that mapping.yaml may use, each list of them once, as a type."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

Scope: TypeAlias = Literal["hyperparameter", "input", "group", "label"]
Type: TypeAlias = Literal[
    "number",
    "float",
    "integer",
    "flag",
    "text",
    "beta",
    "learning_rate",
    "decay",
    "function",
    "functions",
    "parameters",
]
Absent: TypeAlias = Literal["refuse", "warn", "ignore"]
Mistaken: TypeAlias = Literal["warn", "refuse"]
Protocol: TypeAlias = Literal["apply_gradients", "call", "step", "update", "node"]
MethodRole: TypeAlias = Literal["step", "differentiate_and_step", "forget_gradients"]
RateForm: TypeAlias = Literal["list", "schedule", "callable"]
ConflictForm: TypeAlias = Literal["raises", "ignores"]

Epsilon: TypeAlias = Literal["hat", "paper"]
BiasCorrection: TypeAlias = Literal["both", "none"]
Amsgrad: TypeAlias = Literal["raw_maximum", "corrected_maximum", "none"]
Nesterov: TypeAlias = Literal["blend", "none"]
AverageStart: TypeAlias = Literal["first_update", "initial", "none"]
PowerStart: TypeAlias = Literal["one", "beta", "none"]

Given: TypeAlias = Literal["float64", "float32_rates", "float32"]
Scalars: TypeAlias = Literal["float64", "float32", "parameter"]
OneMinusBeta: TypeAlias = Literal["float64", "scalar"]
BetaPower: TypeAlias = Literal["power", "product"]
MultiplyAdd: TypeAlias = Literal["separate", "fused", "fused_blocks", "fused_wide"]
Half: TypeAlias = Literal["float16", "float32"]
Unscale: TypeAlias = Literal["quotient", "reciprocal"]
Surroundings: TypeAlias = Literal["once", "stepwise"]
Decay: TypeAlias = Literal["parameter", "update", "factor"]
Moments: TypeAlias = Literal["difference", "lerp"]
CorrectionPlace: TypeAlias = Literal["step", "root"]

# Each stage, and the hyperparameter that turns it on; None if it needs none.
STAGES: dict[str, str | None] = {
    "deduplicate": None,
    "maximize": "maximize",
    "unscale": "loss_scale",
    "accumulate": "accumulation_steps",
    "l2_decay": "l2_weight_decay",
    "centralize": None,
    "clip_norm": "clip_norm",
    "global_clip_norm": "global_clip_norm",
    "clip_value": "clip_value",
    "absolute_decay": "absolute_weight_decay",
    "decoupled_decay": "decoupled_weight_decay",
    "update": None,
    "average": "use_ema",
}


def words(vocabulary: Any) -> tuple[str, ...]:
    """Return the words of one of the types above.

    >>> words(Epsilon)
    ('hat', 'paper')
    """
    return get_args(vocabulary)

"""Copying and pickling of Keras 3 optimizers, with their state."""

from __future__ import annotations

from typing import Any

import numpy as np


def snapshot(optimizer: Any) -> tuple[dict[str, Any], list[Any], list[int], Any]:
    """Everything that a copy needs: configuration, values, what weight decay leaves out."""
    config = optimizer.get_config()
    rate = optimizer._learning_rate
    if callable(rate):
        # A schedule or function travels as it is; the configuration holds a description of it.
        config["learning_rate"] = rate
    excluded = [
        index
        for index, variable in enumerate(optimizer._trainable_variables)
        if not optimizer._use_weight_decay(variable)
    ]
    values = [np.asarray(variable) for variable in optimizer.variables]
    if optimizer._traced.pending is not None:
        values, excluded = optimizer._traced.pending
    return config, values, excluded, getattr(optimizer, "_exclude_from_weight_decay_pattern", None)


def restored(kind: Any, config: dict[str, Any], values: list[Any], excluded: list[int], pattern: Any) -> Any:
    """An optimizer from its `snapshot`; moments are filled in when its variables are known."""
    optimizer = kind(**config)
    own = optimizer.variables
    for variable, value in zip(own, values, strict=False):
        variable.assign(value)
    if pattern is not None:
        optimizer._exclude_from_weight_decay_pattern = pattern
    if len(values) > len(own):
        optimizer._traced.pending = values, excluded
    return optimizer

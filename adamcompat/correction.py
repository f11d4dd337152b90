"""Define Adam's bias correction, written once for every runtime: numbers, arrays or traced tensors.

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamcompat.mapping.model import Form

# Whatever the operations accept.
Value = Any


def make_correction(form: Form, *, merged: bool = True) -> Callable[..., tuple[Value, ...]]:
    r"""Return the bias correction of `form`.

    .. math::
        \alpha = \eta \sqrt{1 - \beta_2^t} / (1 - \beta_1^t), \qquad
        \hat\epsilon = \epsilon \quad\text{or}\quad
        \hat\epsilon = \epsilon \sqrt{1 - \beta_2^t} \quad\text{(epsilon of the paper)}

    Without bias correction :math:`\alpha = \eta` and :math:`\hat\epsilon = \epsilon`.

    Args:
        form: which epsilon is meant, and whether the moments are corrected.
        merged: whether the corrections of both moments make one step size. Otherwise
            :math:`\alpha = \eta / (1 - \beta_1^t)`, and the root of the second moment is divided by
            :math:`\sqrt{1 - \beta_2^t}` before epsilon is added.

    Returns:
        ``correct(learning_rate, epsilon, power1, power2, one, sqrt)``, which returns the step size, what is added to
        the root of the second moment and, where that is not merged, what divides it. The powers are those of the betas
        at this step.

    Source: Kingma and Ba (2015), Algorithm 1 and the end of Section 2.

    >>> import math
    >>> alpha, epsilon = make_correction(Form("paper", "both"))(0.1, 1e-8, 0.9, 0.99, 1.0, math.sqrt)
    >>> round(alpha, 6), round(epsilon, 12)
    (0.1, 1e-09)
    """
    corrects, scales = form.bias_correction == "both", form.epsilon == "paper"

    def correct(
        learning_rate: Value, epsilon: Value, power1: Value, power2: Value, one: Value, sqrt: Callable[[Value], Value]
    ) -> tuple[Value, ...]:
        if not corrects:
            return (learning_rate, epsilon) if merged else (learning_rate, epsilon, one)
        root = sqrt(one - power2)
        if not merged:
            return learning_rate / (one - power1), epsilon if scales else epsilon / root, root
        if scales:
            epsilon = epsilon * root
        return learning_rate * root / (one - power1), epsilon

    return correct


def epsilon_moves(form: Form, *, merged: bool = True) -> bool:
    """Return whether what is added to the root changes from step to step; see `make_correction`.

    Args:
        form: which epsilon is meant, and whether the moments are corrected.
        merged: whether the corrections of both moments make one step size.
    """
    return form.epsilon == ("paper" if merged else "hat") and form.bias_correction == "both"

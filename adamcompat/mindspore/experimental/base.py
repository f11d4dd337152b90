"""The bases of the drop-ins for mindspore.experimental.optim.

Methods of `HonestAdam` are read by MindSpore's compiler: they are written in the Python that it understands.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import mindspore
from mindspore import Tensor, ops
from mindspore.experimental import optim

from adamcompat.correction import make_correction
from adamcompat.kernel import make_update
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.drop_in import in_place_of
from adamcompat.mindspore.graphs import forget
from adamcompat.mindspore.grouped_drop_in import GroupedDropIn
from adamcompat.mindspore.operations import SEPARATE
from adamcompat.mindspore.overrides import Overrides

_update = make_update(SEPARATE)
_correct = make_correction(MAPPING.dialects["mindspore_experimental"].semantics.form)


class HonestAdam(optim.Adam):  # type: ignore[misc]
    """Do what amsgrad asks for, which the original ignores."""

    # Whether each Parameter keeps the maximum of its second moment; one more than there are.
    _keeps_maxima: tuple[bool, ...] = (False,)

    # The compiler reads super() as the parent of the object's own class, whichever class the method is in.
    _by_operator = inspect.unwrap(optim.Adam.implementation)

    @mindspore.jit  # type: ignore[untyped-decorator]
    def implementation(
        self,
        beta1: Any,
        beta2: Any,
        eps: Any,
        lr: Any,
        start_id: Any,
        end_id: Any,
        gradients: Any,
        maximize: Any,
        weight_decay: Any,
    ) -> Any:
        """Update the Parameters of a group; with amsgrad in float32, rounded back to their dtype.

        Args:
            beta1: decay rate of the first moment, in [0, 1).
            beta2: decay rate of the second moment, in [0, 1).
            eps: epsilon, at least 0, which is added to the root of the second moment.
            lr: the learning rate of the group.
            start_id: place of the group's first Parameter among all of them.
            end_id: place after its last one.
            gradients: one for each Parameter of the optimizer.
            maximize: whether to step along the gradients, not against them.
            weight_decay: the L2 decay, 0 for none.

        Returns:
            True; in a graph it depends on everything that is written.
        """
        if not self._keeps_maxima[start_id]:
            return self._by_operator(beta1, beta2, eps, lr, start_id, end_id, gradients, maximize, weight_decay)
        power1, power2 = self.op_pow(beta1, self.state_step), self.op_pow(beta2, self.state_step)
        found = gradients[start_id:end_id]
        if maximize:
            found = self.map_(ops.neg, found)
        found = self._decay_weight(weight_decay, self.parameters[start_id:end_id], found)
        one = Tensor(1.0, mindspore.float32)
        alpha, epsilon = _correct(lr, eps * one, power1, power2, one, ops.sqrt)
        done: Any = ()
        for i in range(start_id, end_id):
            p, m, v, vhat = self.parameters[i], self.exp_avg[i], self.exp_avg_sq[i], self.max_exp_avg_sq[i]
            new = _update(
                p.astype(mindspore.float32),
                found[i - start_id].astype(mindspore.float32),
                m.astype(mindspore.float32),
                v.astype(mindspore.float32),
                vhat.astype(mindspore.float32),
                alpha,
                one - beta1,
                one - beta2,
                epsilon,
                None,
            )
            done += (
                p.copy_(new[0].astype(p.dtype)),
                m.copy_(new[1].astype(p.dtype)),
                v.copy_(new[2].astype(p.dtype)),
                vhat.copy_(new[3].astype(p.dtype)),
            )
        return ops.depend(True, done)


def _powers(beta1: float, beta2: float, step: int) -> tuple[Any, Any]:
    """Return the powers of the betas by MindSpore's own operator, which does not always round right.

    Args:
        beta1: decay rate of the first moment.
        beta2: decay rate of the second moment.
        step: the exponent, 1 at the first step.
    """
    number = Tensor(step, mindspore.int32)
    one, other = (ops.pow(beta, number).asnumpy()[()] for beta in (beta1, beta2))
    return one, other


class ExperimentalAdam(GroupedDropIn, HonestAdam):
    """Base of the drop-in for experimental.optim.Adam; use `adamcompat.mindspore.experimental.Adam`."""

    _runtime: ClassVar[str] = "mindspore_experimental"
    _powers = staticmethod(_powers)
    _stock = optim.Adam.construct
    construct = in_place_of(_stock)

    def add_param_group(self, param_group: Any) -> None:
        """Add a group; see `GroupedDropIn`."""
        super().add_param_group(param_group)
        self._keeps_maxima = self._asked()

    def _asked(self) -> tuple[bool, ...]:
        """Return `_keeps_maxima` as the groups ask for it now."""
        name = self._named("amsgrad").name
        flags = [bool(group[name]) for group in self.param_groups for _ in group[self._named("parameters").name]]
        return (*flags, False)

    def _by_original(self, gradients: Any) -> Any:
        asked = self._asked()
        if asked != self._keeps_maxima:
            self._keeps_maxima = asked
            # A graph keeps the attributes that it saw first.
            forget(self)
        return super()._by_original(gradients)


class ExperimentalAdamW(GroupedDropIn, optim.AdamW):  # type: ignore[misc]
    """Base of the drop-in for experimental.optim.AdamW; use `adamcompat.mindspore.experimental.AdamW`.

    Its steps are the original's operations, which the kernel does not round like.
    """

    _runtime: ClassVar[str] = "mindspore_experimental"
    _dtypes = ()
    _stock = optim.AdamW.construct
    construct = in_place_of(_stock)


ExperimentalAdam._overrides = Overrides(ExperimentalAdam, "construct", optim.Adam)
ExperimentalAdamW._overrides = Overrides(ExperimentalAdamW, "construct", optim.AdamW)

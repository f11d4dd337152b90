"""nn.AdamWeightDecay's calling convention on MindSpore's Parameters.

Methods of `GraphAdamWeightDecay` are read by MindSpore's compiler: they are written in the Python that it understands.
"""

from __future__ import annotations

import inspect
from typing import Any

import mindspore
from mindspore import Tensor, nn, ops

from adamcompat.kernel import make_update
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.drop_in import DropIn, in_place_of, once
from adamcompat.mindspore.gradients import COMPLEX, Refusals, densified, say_real_part
from adamcompat.mindspore.graph_call import are_dense, may_call
from adamcompat.mindspore.joint_update import Joined
from adamcompat.mindspore.layout import Attributes
from adamcompat.mindspore.notes import say_left_out
from adamcompat.mindspore.operations import SEPARATE, WIDE
from adamcompat.mindspore.overrides import Overrides

_DIALECT = MAPPING.dialects["mindspore_adamweightdecay"]
# The dtypes for which there is an update where nn.AdamWeightDecay has no operator.
_REAL = (mindspore.bfloat16, mindspore.float64)

_update_wide = make_update(WIDE)
_update_separate = make_update(SEPARATE)


@ops.constexpr(check=False)  # type: ignore[untyped-decorator]
def _say_real_part() -> Any:
    """Run while a graph is compiled."""
    say_real_part(_DIALECT)
    return True


# Of rows the operator knows nothing: they become dense gradients.
_fit = ops.MultitypeFuncGraph("fit")


@_fit.register("Tensor", "Tensor")  # type: ignore[untyped-decorator]
def _fit_dense(parameter: Any, gradient: Any) -> Any:
    if gradient.dtype in COMPLEX:
        _say_real_part()
    return gradient


@_fit.register("Tensor", "Number")  # type: ignore[untyped-decorator]
@_fit.register("Tensor", "None")  # type: ignore[untyped-decorator]
def _leave(parameter: Any, gradient: Any) -> Any:
    """Return what is no gradient as it is: the operator refuses it."""
    return gradient


@_fit.register("Tensor", "RowTensor")  # type: ignore[untyped-decorator]
def _fit_rows(parameter: Any, gradient: Any) -> Any:
    return densified(gradient, parameter.shape)


class GraphAdamWeightDecay(Joined, nn.AdamWeightDecay):  # type: ignore[misc]
    """Make the steps of nn.AdamWeightDecay for every real dtype, and for gradients that hold some rows only."""

    # Whether to correct what nn.AdamWeightDecay gets wrong without a word.
    corrections: bool = False
    _operators_only: tuple[Any, ...] = ()
    # A subclass may leave out the __init__ of this class; then everything is nn.AdamWeightDecay's.
    _prepared: bool = False

    _by_operators = inspect.unwrap(nn.AdamWeightDecay.construct)

    def _prepare(self) -> None:
        """Take note of what a step needs; call it when nn.AdamWeightDecay's own __init__ is done."""
        if not self.corrections:
            # It updates these in float32.
            self._operators_only = (mindspore.float64,)
        # What there is no update for is left to the operator to refuse.
        self._has_operator = tuple(p.dtype not in _REAL or p.dtype in self._operators_only for p in self.parameters)
        self._all_by_operator = all(self._has_operator)
        self._dense_for_fused = (True,) * len(self.parameters)
        self._prepared = True

    @mindspore.jit  # type: ignore[untyped-decorator]
    def construct(self, gradients: Any) -> Any:
        """Make one step.

        Args:
            gradients: a tuple with one gradient for each Parameter, dense or a RowTensor.
        """
        if not self._prepared:
            return self._by_operators(gradients)
        if isinstance(gradients, tuple):
            gradients = self.map_(_fit, self._parameters, gradients)
        joint = may_call(self._joint_number) and self.use_fused_opt and isinstance(gradients, tuple)
        if joint and len(gradients) == len(self._parameters):
            numbers = self._numbers(self.get_lr(), self.get_weight_decay())
            given = (*numbers, *self._parameters, *self.moments1, *self.moments2, *gradients)
            if are_dense(given, "Float32") and self._fit(numbers, gradients):
                self.assignadd(self.global_step, self.global_step_increase_tensor)
                called = self._call(self._cell, *given)
                return (ops.depend(True, called), *self._others)
        if self._all_by_operator or not self.use_fused_opt:
            return self._by_operators(gradients)
        decay = self.get_weight_decay()
        lr = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        done: Any = ()
        for i in range(len(gradients)):
            rate, own = self._setting(i, lr, decay)
            if self.optim_filter[i]:
                if self._has_operator[i]:
                    written = self._by_operator(i, rate, own, gradients[i])
                else:
                    written = self._by_update(i, rate, own, gradients[i])
                # A graph whose outputs depend on nothing is not run.
                done += (ops.depend(True, written),)
            else:
                done += (True,)
        return done

    def _setting(self, i: int, lr: Any, decay: Any) -> Any:
        """Return the learning rate and the weight decay of one Parameter in this step.

        Args:
            i: its place among all Parameters.
            lr: the learning rate, or one for each Parameter.
            decay: the weight decay, or one for each Parameter.

        Returns:
            Two numbers; the second is 0 where no decay reaches the Parameter.
        """
        rate, own = lr, decay
        if self.is_group_lr:
            rate = lr[i]
        if self.is_group:
            own = decay[i]
        if not self.decay_flags[i]:
            own = 0.0
        return rate, own

    def _numbers(self, lr: Any, decay: Any) -> Any:
        """Return the numbers of a step in the order of `JointUpdate.call`.

        Args:
            lr: the learning rate in this step, or one for each Parameter.
            decay: the weight decay in this step, or one for each Parameter.
        """
        rates: Any = ()
        decays: Any = ()
        for i in self._firsts:
            rate, own = self._setting(i, lr, decay)
            rates += (rate,)
            decays += (ops.ones_like(self.beta1) * own,)
        return (*rates, *decays, self.beta1, self.beta2, self.eps)

    def _by_operator(self, i: int, rate: Any, decay: Any, gradient: Any) -> Any:
        """Update one Parameter by the operator of nn.AdamWeightDecay.

        Args:
            i: its place among all Parameters.
            rate: its learning rate in this step.
            decay: its weight decay; 0 where none reaches it.
            gradient: a dense Tensor.

        Returns:
            The result of the operator, on which a graph can depend.
        """
        p, m, v = self._parameters[i], self.moments1[i], self.moments2[i]
        return self.fused_opt(p, m, v, rate, self.beta1, self.beta2, self.eps, decay, gradient.astype(p.dtype))

    def _by_update(self, i: int, rate: Any, decay: Any, gradient: Any) -> Any:
        """Update one Parameter by the update of the kernel, traced; in float32 for bfloat16. See `_by_operator`."""
        p, m, v = self._parameters[i], self.moments1[i], self.moments2[i]
        wide, update = mindspore.float32, _update_wide
        if p.dtype == mindspore.float64:
            wide, update = mindspore.float64, _update_separate
        one = Tensor(1.0, wide)
        b1, b2 = self.beta1.reshape(()).astype(wide), self.beta2.reshape(()).astype(wide)
        new = update(
            p.astype(wide),
            # As where there is an operator, in the dtype of the Parameter first.
            gradient.astype(p.dtype).astype(wide).reshape(p.shape),
            m.astype(wide),
            v.astype(wide),
            None,
            one,
            one - b1,
            one - b2,
            self.eps.reshape(()).astype(wide),
            None,
            None,
            rate.reshape(()).astype(wide),
            # A Cell gives an array of one.
            (ops.ones_like(one) * decay).reshape(()),
        )
        return (p.copy_(new[0].astype(p.dtype)), m.copy_(new[1].astype(p.dtype)), v.copy_(new[2].astype(p.dtype)))


class CallAdamWeightDecay(DropIn, GraphAdamWeightDecay):
    """Base of the drop-in for nn.AdamWeightDecay; use `adamcompat.mindspore.AdamWeightDecay`."""

    _attributes = Attributes.of(_DIALECT, ("moments1", "moments2"))
    _refusals = Refusals(no_tuple=TypeError, no_tensor=TypeError, converts=True)
    _stock = GraphAdamWeightDecay.construct
    _construct_once = once(_stock)
    construct = in_place_of(_stock)

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, corrections: bool | None) -> None:
        super().__init__(given, extra, corrections=corrections)
        if all(p.dtype == mindspore.float32 for p in self.parameters):
            self._join(nn.AdamWeightDecay, "construct", slow=True)
        if any(p.dtype in self._operators_only for p in self.parameters):
            say_left_out(self._dialect, "wide_parameters")


CallAdamWeightDecay._overrides = Overrides(
    CallAdamWeightDecay, "construct", nn.AdamWeightDecay, switches=("use_fused_opt", "optim_filter")
)

"""nn.Adam's construct, completed where its operators do not exist on a CPU.

Methods here are read by MindSpore's compiler: they are written in the Python that it understands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore
from mindspore import Tensor, nn, ops
from mindspore.common.sparse_tensor import RowTensorInner
from mindspore.nn.optim.adam import _adam_opt, _lazy_adam_opt
from mindspore.ops import functional as F  # noqa: N812 - its name everywhere

from adamcompat.correction import make_correction
from adamcompat.kernel import make_update
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.gradients import add_decay, centralized, densified
from adamcompat.mindspore.graph_call import are_dense, may_call
from adamcompat.mindspore.joint_update import Joined
from adamcompat.mindspore.notes import say_left_out
from adamcompat.mindspore.operations import SEPARATE

# The dtypes of Parameters that nn.Adam's operators take.
_OF_ADAM = (mindspore.float16, mindspore.float32)
_OF_AMSGRAD = (mindspore.float32, mindspore.float64)
_OF_OFFLOAD = (mindspore.float32,)
# Those that its operators for rows take together.
_OF_ROWS = (mindspore.float32, mindspore.float64)
# The dtypes for which there is an update where nn.Adam has no operator.
_REAL = (mindspore.float16, mindspore.bfloat16, mindspore.float32, mindspore.float64)
_WIDE_INTEGERS = (mindspore.int32, mindspore.int64)
_WIDE = (mindspore.float32, mindspore.float64, mindspore.complex64, mindspore.complex128)


_update = make_update(SEPARATE)
_correct = make_correction(MAPPING.dialects["mindspore"].semantics.form)


# Dispatched by type: a loop over the gradients would cost a tenth of a step of many small Parameters.
_densify = ops.MultitypeFuncGraph("densify")


@_densify.register("Bool", "Tensor", "Tensor")  # type: ignore[untyped-decorator]
def _keep_dense(wanted: Any, parameter: Any, gradient: Any) -> Any:
    return gradient


@_densify.register("Bool", "Tensor", "RowTensor")  # type: ignore[untyped-decorator]
def _make_dense(wanted: Any, parameter: Any, gradient: Any) -> Any:
    if wanted:
        return densified(gradient, parameter.shape)
    return gradient


def in_divisions(shape: Sequence[int]) -> bool:
    """Return whether nn.Adam centralizes gradients of this shape."""
    return len(shape) > 1 and shape[1] % 16 == 0


@ops.constexpr(check=False)  # type: ignore[untyped-decorator]
def _say_integers(mends: Any, exact: Any) -> Any:
    """Run while a graph is compiled: what it leaves as nn.Adam has it is said."""
    if not mends and not exact:
        say_left_out(MAPPING.dialects["mindspore"], "integer_gradients")
    return mends


# Whether to convert truth values, and integers; whether the latter would be the same; the Parameter; its gradient.
_to_real = ops.MultitypeFuncGraph("to_real")


@_to_real.register("Bool", "Bool", "Bool", "Tensor", "Tensor")  # type: ignore[untyped-decorator]
def _convert_dense(truths: Any, integers: Any, exact: Any, parameter: Any, gradient: Any) -> Any:
    if gradient.dtype in _REAL:
        return gradient
    if gradient.dtype == mindspore.bool_:
        mends = _say_integers(truths, False)
    else:
        mends = _say_integers(integers, exact and gradient.dtype in _WIDE_INTEGERS)
    if mends:
        return gradient.astype(parameter.dtype)
    return gradient


@_to_real.register("Bool", "Bool", "Bool", "Tensor", "RowTensor")  # type: ignore[untyped-decorator]
def _convert_rows(truths: Any, integers: Any, exact: Any, parameter: Any, gradient: Any) -> Any:
    values = _convert_dense(truths, integers, exact, parameter, gradient.values)
    return RowTensorInner(gradient.indices, values, gradient.dense_shape)


# For an operator that takes gradients of the Parameter's dtype only: those that lose no digits become that.
_widen = ops.MultitypeFuncGraph("widen")


@_widen.register("Tensor", "Tensor")  # type: ignore[untyped-decorator]
def _widen_dense(parameter: Any, gradient: Any) -> Any:
    if gradient.dtype == parameter.dtype or gradient.dtype in _WIDE:
        return gradient
    return gradient.astype(parameter.dtype)


@_widen.register("Tensor", "RowTensor")  # type: ignore[untyped-decorator]
def _widen_rows(parameter: Any, gradient: Any) -> Any:
    return gradient


class GraphAdam(Joined, nn.Adam):  # type: ignore[misc]
    """Make the steps of nn.Adam for every real dtype, with a centralization that works."""

    # Whether to correct what nn.Adam gets wrong without a word.
    corrections: bool = False
    # A subclass may leave out the __init__ of this class; then everything is nn.Adam's.
    _prepared: bool = False

    # The compiler reads super() as the parent of the object's own class, whichever class the method is in.
    _apply_by_operators = nn.Adam._apply_adam
    _multiply_by_reciprocal = nn.Adam.scale_grad
    _decay_by_operators = nn.Adam.decay_weight
    _centralize_by_operators = nn.Adam.gradients_centralization
    _deduplicate = nn.Adam._grad_sparse_indices_deduplicate

    def _prepare(self) -> None:
        """Take note of what the methods of a step need; call it when nn.Adam's own __init__ is done."""
        taken = _OF_AMSGRAD if self.use_amsgrad else _OF_OFFLOAD if self.use_offload else _OF_ADAM
        dtypes = [p.dtype for p in self.parameters]
        # What there is no update for is left to nn.Adam's operators to refuse. These two take no single numbers.
        refuses_numbers = self.use_offload or self.use_amsgrad
        self._has_operator = tuple(
            p.dtype not in _REAL or (p.dtype in taken and not (refuses_numbers and p.shape == ()))
            for p in self.parameters
        )
        self._all_by_operator = all(self._has_operator)
        # Neither AMSGrad nor offload has anything for rows. With the target "CPU" there is an operator, for float32;
        # it adds memory that it never set to the numerator of Nesterov's form. Otherwise several operators do it.
        never = self.use_amsgrad or self.use_offload
        fused = never or (self.use_nesterov and not self.use_lazy)
        self._dense_for_fused = tuple(fused or dtype != mindspore.float32 for dtype in dtypes)
        self._dense_for_several = tuple(never or dtype not in _OF_ROWS for dtype in dtypes)
        self._in_divisions = tuple(in_divisions(p.shape) for p in self.parameters)
        scale = float(self.reciprocal_scale)
        # What of an integer gradient the loss scale leaves is nothing, or all.
        self._integers_vanish, self._exact_scale = scale < 1, scale.is_integer()
        self._prepared = True

    def _centralizes(self, i: int) -> bool:
        """Return whether the gradient of a Parameter is centralized.

        nn.Adam leaves out second axes that are no multiple of 16, and everything with use_offload. For the rest it has
        no operator on a CPU, so that one that works changes no training.
        """
        if not self.is_group:
            return False
        if not self.grad_centralization_flags[i]:
            return False
        return self.corrections or (self._in_divisions[i] and not self.use_offload)

    def decay_weight(self, gradients: Any) -> Any:
        """Return the gradients; to those of Parameters that decay the L2 decay is added: ``g + weight_decay p``."""
        if not self._prepared or self._all_by_operator or not self.exec_weight_decay:
            return self._decay_by_operators(gradients)
        decay = self.get_weight_decay()
        found: Any = ()
        for i in range(len(gradients)):
            g, p = gradients[i], self._parameters[i]
            if self.decay_flags[i]:
                own = decay
                if self.is_group:
                    own = decay[i]
                own = own.astype(p.dtype)
                if isinstance(g, Tensor):
                    g = add_decay(g, p, own)
                else:
                    values = add_decay(g.values, ops.gather(p, g.indices, 0), own)
                    g = RowTensorInner(g.indices, values, g.dense_shape)
            found += (g,)
        return found

    def gradients_centralization(self, gradients: Any) -> Any:
        """Return the gradients; of those of marked groups the means are subtracted. See `_centralizes`."""
        if not self._prepared:
            return self._centralize_by_operators(gradients)
        return self._centralized(gradients)

    def _centralized(self, gradients: Any) -> Any:
        if not self.is_group or True not in self.grad_centralization_flags:
            return gradients
        found: Any = ()
        for i in range(len(gradients)):
            g = gradients[i]
            if self._centralizes(i):
                if isinstance(g, Tensor):
                    g = centralized(g)
                else:
                    g = RowTensorInner(g.indices, centralized(g.values), g.dense_shape)
            found += (g,)
        return found

    def scale_grad(self, gradients: Any) -> Any:
        """Return the gradients divided by the loss scale; where nn.Adam leaves centralization out, it comes first."""
        if not self._prepared:
            return self._multiply_by_reciprocal(gradients)
        if self.use_offload:
            gradients = self.map_(_widen, self._parameters, self._centralized(gradients))
        if self.need_scale:
            integers = self.corrections or self._integers_vanish
            real = F.partial(_to_real, self.corrections, integers, self._exact_scale)
            gradients = self.map_(real, self._parameters, gradients)
        return self._multiply_by_reciprocal(gradients)

    def _grad_sparse_indices_deduplicate(self, gradients: Any) -> Any:
        if not self._prepared:
            return self._deduplicate(gradients)
        wanted = self._dense_for_fused
        # There is no such attribute with use_offload.
        if not self.use_offload and self._is_device:
            wanted = self._dense_for_several
        if True in wanted:
            gradients = self.map_(_densify, wanted, self._parameters, gradients)
        return self._deduplicate(gradients)

    def _apply_adam(
        self,
        params: Any,
        beta1_power: Any,
        beta2_power: Any,
        moment1: Any,
        moment2: Any,
        lr: Any,
        gradients: Any,
    ) -> Any:
        if may_call(self._joint_number) and len(gradients) == len(params):
            rates: Any = (lr,)
            if self.is_group_lr:
                rates = self._chosen(lr)
            maxima: Any = ()
            if self.use_amsgrad:
                maxima = self.vhat
            numbers = (*rates, beta1_power, beta2_power, self.beta1, self.beta2, self.eps)
            given = (*numbers, *params, *moment1, *moment2, *maxima, *gradients)
            if are_dense(given, "Float32") and self._fit(numbers, gradients):
                done = self._call(self._cell, *given)
                return (ops.depend(True, done), *self._others)
        if not self._prepared or self._all_by_operator:
            return self._apply_by_operators(params, beta1_power, beta2_power, moment1, moment2, lr, gradients)
        success: Any = ()
        for i in range(len(params)):
            rate = lr
            if self.is_group_lr:
                rate = lr[i]
            if not isinstance(gradients[i], Tensor):
                done = self._by_rows(i, beta1_power, beta2_power, rate, gradients[i])
            elif self._has_operator[i]:
                done = self._by_operator(i, beta1_power, beta2_power, rate, gradients[i])
            else:
                done = self._by_update(i, beta1_power, beta2_power, rate, gradients[i])
            # A graph whose outputs depend on nothing is not run.
            success += (ops.depend(True, done),)
        return success

    def _chosen(self, rates: Any) -> Any:
        """Return one learning rate of each kind."""
        found: Any = ()
        for i in self._firsts:
            found += (rates[i],)
        return found

    def _by_operator(self, i: int, beta1_power: Any, beta2_power: Any, rate: Any, gradient: Any) -> Any:
        """Update one Parameter by the operator of nn.Adam.

        Args:
            i: its place among all Parameters.
            beta1_power: ``beta1**step``.
            beta2_power: ``beta2**step``.
            rate: its learning rate in this step.
            gradient: a dense Tensor.

        Returns:
            The result of the operator, on which a graph can depend.
        """
        p, m, v = self._parameters[i], self.moment1[i], self.moment2[i]
        if self.use_amsgrad:
            return self.opt(
                p, m, v, self.vhat[i], beta1_power, beta2_power, rate, self.beta1, self.beta2, self.eps, gradient
            )
        if self.use_offload:
            delta = self.opt(m, v, beta1_power, beta2_power, rate, self.beta1, self.beta2, self.eps, gradient)
            return ops.assign_add(p, delta)
        return self.opt(p, m, v, beta1_power, beta2_power, rate, self.beta1, self.beta2, self.eps, gradient)

    def _by_rows(self, i: int, beta1_power: Any, beta2_power: Any, rate: Any, gradient: Any) -> Any:
        """Update one Parameter by nn.Adam's function for rows; see `_by_operator`."""
        update = _adam_opt
        if self.use_lazy:
            update = _lazy_adam_opt
        return update(
            self.opt,
            self.sparse_opt,
            self.use_locking,
            self.use_nesterov,
            self._is_device,
            beta1_power,
            beta2_power,
            self.beta1,
            self.beta2,
            self.eps,
            rate,
            gradient,
            self._parameters[i],
            self.moment1[i],
            self.moment2[i],
        )

    def _by_update(self, i: int, beta1_power: Any, beta2_power: Any, rate: Any, gradient: Any) -> Any:
        """Update one Parameter by the update of the kernel, traced; see `_by_operator`.

        Dtypes of two bytes are updated in float32.
        """
        p, m, v = self._parameters[i], self.moment1[i], self.moment2[i]
        wide = mindspore.float32
        if p.dtype == mindspore.float64:
            wide = mindspore.float64
        old_vhat = None
        if self.use_amsgrad:
            old_vhat = self.vhat[i].astype(wide)
        look_ahead = None
        if self.use_nesterov and not self.use_amsgrad:
            look_ahead = self.beta1.astype(wide)
        power1, power2 = beta1_power.astype(wide), beta2_power.astype(wide)
        alpha, epsilon = _correct(rate.astype(wide), self.eps.astype(wide), power1, power2, 1.0, ops.sqrt)
        new = _update(
            p.astype(wide),
            gradient.astype(wide),
            m.astype(wide),
            v.astype(wide),
            old_vhat,
            alpha,
            1.0 - self.beta1.astype(wide),
            1.0 - self.beta2.astype(wide),
            epsilon,
            look_ahead,
        )
        done: Any = (p.copy_(new[0].astype(p.dtype)), m.copy_(new[1].astype(p.dtype)), v.copy_(new[2].astype(p.dtype)))
        if self.use_amsgrad:
            done += (self.vhat[i].copy_(new[3].astype(p.dtype)),)
        return done

"""nn.Adam's construct, completed where its operators do not exist on a CPU.

Methods here are read by MindSpore's compiler: they are written in the Python that it understands.
"""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import Tensor, nn, ops
from mindspore.common.sparse_tensor import RowTensorInner

from adamcompat.kernel import make_update, step_size
from adamcompat.mindspore.gradients import add_decay, centralized, densified
from adamcompat.mindspore.operations import SEPARATE

# The dtypes of Parameters that nn.Adam's operators take.
_OF_ADAM = (mindspore.float16, mindspore.float32)
_OF_AMSGRAD = (mindspore.float32, mindspore.float64)


_update = make_update(SEPARATE)


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


class GraphAdam(nn.Adam):  # type: ignore[misc]
    """nn.Adam for every real dtype, with a centralization that works."""

    # The compiler reads super() as the parent of the object's own class, whichever class the method is in.
    _apply_by_operators = nn.Adam._apply_adam
    _multiply_by_reciprocal = nn.Adam.scale_grad
    _decay_by_operators = nn.Adam.decay_weight
    _deduplicate = nn.Adam._grad_sparse_indices_deduplicate

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._operator_dtypes = _OF_AMSGRAD if self.use_amsgrad else _OF_ADAM
        self._all_by_operator = all(p.dtype in self._operator_dtypes for p in self.parameters)
        # nn.Adam's operator for rows is made for float32, adds memory that it never set to the numerator of
        # Nesterov's form, and does not exist for AMSGrad.
        always = self.use_amsgrad or (self.use_nesterov and not self.use_lazy)
        self._rows_become_dense = tuple(always or p.dtype != mindspore.float32 for p in self.parameters)
        self._densifies = any(self._rows_become_dense)
        self._centralizes = self.is_group and any(self.grad_centralization_flags)

    def decay_weight(self, gradients: Any) -> Any:
        """Add the L2 decay to the gradients."""
        if self._all_by_operator or not self.exec_weight_decay:
            return self._decay_by_operators(gradients)
        decay = self.get_weight_decay()
        found: Any = ()
        for i in range(len(gradients)):
            g, p = gradients[i], self._parameters[i]
            if self.decay_flags[i]:
                own = decay
                if self.is_group:
                    own = decay[i]
                g = add_decay(g, p, own.astype(p.dtype))
            found += (g,)
        return found

    def gradients_centralization(self, gradients: Any) -> Any:
        """Subtract from the gradients of marked groups their means; see the class for details."""
        if not self._centralizes:
            return gradients
        found: Any = ()
        for i in range(len(gradients)):
            g = gradients[i]
            if self.grad_centralization_flags[i]:
                if isinstance(g, Tensor):
                    g = centralized(g)
                else:
                    g = RowTensorInner(g.indices, centralized(g.values), g.dense_shape)
            found += (g,)
        return found

    def scale_grad(self, gradients: Any) -> Any:
        """Divide by the loss scale; where nn.Adam leaves centralization out, it comes first."""
        if self.use_offload:
            gradients = self.gradients_centralization(gradients)
        return self._multiply_by_reciprocal(gradients)

    def _grad_sparse_indices_deduplicate(self, gradients: Any) -> Any:
        if self._densifies:
            gradients = self.map_(_densify, self._rows_become_dense, self._parameters, gradients)
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
        if self._all_by_operator:
            return self._apply_by_operators(params, beta1_power, beta2_power, moment1, moment2, lr, gradients)
        success: Any = ()
        for i in range(len(params)):
            rate = lr
            if self.is_group_lr:
                rate = lr[i]
            if params[i].dtype in self._operator_dtypes:
                done = self._by_operator(i, beta1_power, beta2_power, rate, gradients[i])
            else:
                done = self._by_update(i, beta1_power, beta2_power, rate, gradients[i])
            # A graph whose outputs depend on nothing is not run.
            success += (ops.depend(True, done),)
        return success

    def _by_operator(self, i: int, beta1_power: Any, beta2_power: Any, rate: Any, gradient: Any) -> Any:
        """One Parameter by the operator of nn.Adam."""
        p, m, v = self._parameters[i], self.moment1[i], self.moment2[i]
        if self.use_amsgrad:
            return self.opt(
                p, m, v, self.vhat[i], beta1_power, beta2_power, rate, self.beta1, self.beta2, self.eps, gradient
            )
        if self.use_offload:
            delta = self.opt(m, v, beta1_power, beta2_power, rate, self.beta1, self.beta2, self.eps, gradient)
            return ops.assign_add(p, delta)
        return self.opt(p, m, v, beta1_power, beta2_power, rate, self.beta1, self.beta2, self.eps, gradient)

    def _by_update(self, i: int, beta1_power: Any, beta2_power: Any, rate: Any, gradient: Any) -> Any:
        """One Parameter by the update of the kernel, traced; in float32 for dtypes of two bytes."""
        p, m, v = self._parameters[i], self.moment1[i], self.moment2[i]
        wide = mindspore.float32
        if p.dtype == mindspore.float64:
            wide = mindspore.float64
        old_vhat = None
        if self.use_amsgrad:
            old_vhat = self.vhat[i].astype(wide)
        look_ahead = None
        if self.use_nesterov:
            look_ahead = self.beta1.astype(wide)
        new = _update(
            p.astype(wide),
            gradient.astype(wide),
            m.astype(wide),
            v.astype(wide),
            old_vhat,
            step_size(rate.astype(wide), beta1_power.astype(wide), beta2_power.astype(wide), 1.0, ops.sqrt),
            1.0 - self.beta1.astype(wide),
            1.0 - self.beta2.astype(wide),
            self.eps.astype(wide),
            look_ahead,
        )
        done: Any = (p.copy_(new[0].astype(p.dtype)), m.copy_(new[1].astype(p.dtype)), v.copy_(new[2].astype(p.dtype)))
        if self.use_amsgrad:
            done += (self.vhat[i].copy_(new[3].astype(p.dtype)),)
        return done

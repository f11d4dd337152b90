"""A step in TensorFlow's order of stages, in the Python that MindSpore's compiler understands.

What a method reads from `self` is a constant of the compiled graph, except Parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.sparse_tensor import RowTensorInner

from adamcompat import kernel
from adamcompat.executors.contraction import BLOCK, Contraction
from adamcompat.hyperparameters import Hyperparameters
from adamcompat.kernel import Operations, epsilon_moves, given_epsilon, make_correction, make_update
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mindspore.batch import STORAGE
from adamcompat.mindspore.gradients import densified
from adamcompat.mindspore.operations import SEPARATE, same
from adamcompat.stages import (
    average,
    average_weights,
    global_norm_factor,
    make_stages,
    norm_factor,
    stepwise_global_norm_factor,
)

# A loop's turns are calls within calls to MindSpore's compiler, of which it allows 1,000: so many in a function.
_TURNS = 32
_DOUBLE = mindspore.float64
_DTYPES = {
    np.dtype(np.float16): mindspore.float16,
    np.dtype(np.float32): mindspore.float32,
    np.dtype(np.float64): _DOUBLE,
}


def _cast(a: Any, dtype: Any) -> Any:
    # MindSpore's conversion from float64 to float64 goes through float32 unless its compiler leaves it out.
    if a.dtype == dtype:
        return a
    return a.astype(dtype)


def _double(a: Any) -> Any:
    return _cast(a, mindspore.float64)


def _once(a: Any, b: Any, c: Any) -> Any:
    """``a*b + c`` of float32 rounded once: a float32 product is exact in float64."""
    return _cast(_double(a) * _double(b) + _double(c), mindspore.float32)


def _once_blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return _once(a, x, b * y)


def _tail_blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return _once(b, y, a * x)


_update_separate = make_update(SEPARATE)
_update_fused = make_update(Operations(_once, _once_blend, ops.sqrt, ops.maximum, same))
_update_tail = make_update(Operations(_once, _tail_blend, ops.sqrt, ops.maximum, _double))
_multiply, _divide, _, _clip_value, _, _decoupled_decay = make_stages(SEPARATE, ops.minimum)


@dataclass(slots=True)
class State:
    """The Parameters of an optimizer's state; empty tuples where none is kept.

    Attributes:
        iterations: int64, counts the calls.
        rate: the learning rate, float64.
        powers: one Parameter with the running products of both betas.
        m, v, vhat, average, accumulated: one for each variable.
    """

    iterations: Parameter
    rate: Parameter
    powers: tuple[Parameter, ...]
    m: tuple[Parameter, ...]
    v: tuple[Parameter, ...]
    vhat: tuple[Parameter, ...]
    average: tuple[Parameter, ...]
    accumulated: tuple[Parameter, ...]


def own_dtype(dtype: Any) -> np.dtype[Any]:
    """The NumPy dtype that stands for a dtype of MindSpore in questions of rounding."""
    return np.dtype(np.float32) if dtype == mindspore.bfloat16 else STORAGE[dtype].own


class GraphStep(nn.Cell):  # type: ignore[misc]
    """The step of one optimizer as a graph.

    Args:
        dialect: whose order of stages to follow.
        numerics: how to round.
        hyper: the hyperparameters.
        schedule: None for a constant learning rate, a Tensor for a list, else a callable of the step.
        parameters: what is updated.
        decays: whether weight decay reaches each.
        state: of the optimizer.
    """

    def __init__(
        self,
        dialect: Dialect,
        numerics: Numerics,
        hyper: Hyperparameters,
        schedule: Any,
        parameters: Sequence[Any],
        decays: Sequence[bool],
        state: State,
    ) -> None:
        super().__init__(auto_prefix=False)
        beta1, beta2 = (beta.at(0) if hasattr(beta, "at") else beta for beta in (hyper["beta1"], hyper["beta2"]))
        owns = [own_dtype(parameter.dtype) for parameter in parameters]
        kinds = list(dict.fromkeys(owns))
        fixed = [
            kernel.coefficients(
                numerics,
                own,
                learning_rate=0.0,
                beta1=beta1,
                beta2=beta2,
                epsilon=hyper["epsilon"],
                step=1,
                nesterov=False,
                form=dialect.semantics.form,
            )
            for own in kinds
        ]
        declared = RUNTIMES["mindspore"].bases["apply_gradients"].stages
        if missing := [stage for stage in dialect.stages if stage not in declared]:
            raise NotImplementedError(
                f"MindSpore's graph does not execute {', '.join(missing)}; it executes {', '.join(declared)}. Write it "
                f"in GraphStep.construct and declare it in adamcompat/mapping/runtimes.py"
            )
        self.stages = dialect.stages
        self.count = len(parameters)
        places = tuple(range(self.count))
        self.parts = tuple(places[start : start + _TURNS] for start in places[::_TURNS])
        self.shapes = tuple(parameter.shape for parameter in parameters)
        self.kind = tuple(kinds.index(own) for own in owns)
        self.arithmetic = tuple(_DTYPES[kernel.arithmetic_dtype(numerics, own)] for own in kinds)
        self.around = tuple(_DTYPES[kernel.stage_dtype(numerics, own)] for own in kinds)
        self.scalar = tuple(_DTYPES[kernel.scalar_dtype(numerics, own)] for own in kinds)
        reals = [kernel.scalar_dtype(numerics, own).type for own in kinds]
        given = np.float64 if numerics.given == "float64" else np.float32
        self.bases1 = tuple(Tensor(np.float64(real(given(beta1)))) for real in reals)
        self.bases2 = tuple(Tensor(np.float64(real(given(beta2)))) for real in reals)
        self.betas = Tensor(np.array([beta1, beta2], kernel.POWER_DTYPE))
        self.c1 = tuple(Tensor(np.asarray(item.c1)) for item in fixed)
        self.c2 = tuple(Tensor(np.asarray(item.c2)) for item in fixed)
        self.epsilon = tuple(Tensor(np.asarray(item.epsilon)) for item in fixed)
        exact = given_epsilon(numerics, hyper["epsilon"])
        with np.errstate(all="ignore"):
            self.exact_epsilon = tuple(Tensor(np.asarray(real(exact))) for real in reals)
        self.epsilon_moves = epsilon_moves(dialect.semantics.form)
        self.correct = make_correction(dialect.semantics.form)
        contractions = [Contraction.of(numerics, own, amsgrad=hyper["amsgrad"]) for own in kinds]
        self.fused = tuple(item.fused for item in contractions)
        self.tail = tuple(item.tail for item in contractions)
        self.cuts = tuple(int(np.prod(shape)) // BLOCK * BLOCK for shape in self.shapes)
        self.sizes = tuple(int(np.prod(shape)) for shape in self.shapes)
        self.narrow_rate = numerics.given != "float64"
        self.keeps_products = bool(state.powers)
        self.stepwise = numerics.surroundings == "stepwise"
        self.amsgrad = hyper["amsgrad"]
        self.every = hyper["accumulation_steps"] or 0
        self.clip_norm = self._of_kinds(hyper["clip_norm"], kinds, numerics)
        self.global_clip_norm = self._of_kinds(hyper["global_clip_norm"], kinds, numerics)
        self.clip_value = self._of_kinds(hyper["clip_value"], kinds, numerics)
        self.exact_clip_norm = hyper["clip_norm"] or 0.0
        self.exact_global_clip_norm = hyper["global_clip_norm"] or 0.0
        scale = hyper["loss_scale"]
        self.unscales = scale != 1
        self.unscale_by_product = numerics.unscale == "reciprocal"
        self.scale = self._of_kinds(1 / scale if self.unscale_by_product else scale, kinds, numerics)
        # Numbers of Python would enter as float32.
        decay, time_decay = hyper["decoupled_weight_decay"] or 0.0, hyper["inverse_time_decay"] or 0.0
        self.has_decay, self.has_time_decay = decay > 0, time_decay > 0
        self.decay, self.decay32 = Tensor(decay, _DOUBLE), Tensor(decay, mindspore.float32)
        self.time_decay, self.time_decay32 = Tensor(time_decay, _DOUBLE), Tensor(time_decay, mindspore.float32)
        self.decays = tuple(decays)
        self.use_ema = hyper["use_ema"]
        self.starts_with_first_update = dialect.semantics.average_start == "first_update"
        self.overwrite = hyper["ema_overwrite_frequency"] or 0
        weights = [average_weights(hyper["ema_momentum"] or 0.0, numerics, own) for own in kinds]
        self.momentum = tuple(Tensor(np.asarray(weight)) for weight, _ in weights)
        self.complement = tuple(Tensor(np.asarray(complement)) for _, complement in weights)
        self.start = float(dialect.semantics.schedule_start)
        self.is_constant = schedule is None
        self.is_list = isinstance(schedule, Tensor)
        self.length = schedule.shape[0] if self.is_list else 0
        self.is_cell = isinstance(schedule, nn.Cell)
        self.schedule = schedule
        self.iterations, self.rate, self.powers = state.iterations, state.rate, state.powers
        self.m, self.v, self.vhat = state.m, state.v, state.vhat
        self.average, self.accumulated = state.average, state.accumulated

    @staticmethod
    def _of_kinds(value: float | None, kinds: Sequence[np.dtype[Any]], numerics: Numerics) -> tuple[Any, ...]:
        """A scalar in the dtype of the stages of each kind; empty for None."""
        if value is None:
            return ()
        return tuple(Tensor(np.asarray(kernel.stage_dtype(numerics, own).type(value))) for own in kinds)

    def construct(self, gradients: Any, parameters: Any) -> Any:
        """Update `parameters`, which are in the order in which the optimizer was built."""
        calls = _cast(self.iterations, _DOUBLE)
        completes = True
        done = calls
        if self.every > 0:
            done = ops.floor(calls / self.every)
            completes = ops.floor((calls + 1.0) / self.every) > done
        rate = self.rate_of(calls + self.start)
        alphas, epsilons, products = self.scalars_of(rate, done + 1.0)
        gs, ps = self.over(self.taken, gradients, parameters)
        written: Any = ()
        for stage in self.stages:
            if stage == "unscale" and self.unscales:
                gs, _ = self.over(self.unscaled, gs, ps)
            elif stage == "accumulate" and self.every > 0:
                gs, more = self.over(self.gathered, gs, completes)
                written += more
            elif stage == "clip_norm" and len(self.clip_norm) > 0:
                gs, _ = self.over(self.clipped_by_norm, gs, ps)
            elif stage == "global_clip_norm" and len(self.global_clip_norm) > 0:
                gs, _ = self.over(self.clipped_by_global_norm, gs, ps, self.global_norm(gs))
            elif stage == "clip_value" and len(self.clip_value) > 0:
                gs, _ = self.over(self.clipped_by_value, gs, ps)
            elif stage == "decoupled_decay" and self.has_decay:
                ps, _ = self.over(self.decayed, ps, rate)
            elif stage == "update":
                ps, more = self.over(self.updated, gs, ps, parameters, alphas, epsilons, completes)
                written += more
        if self.use_ema:
            ps, more = self.over(self.averaged, ps, parameters, done)
            written += more
        _, more = self.over(self.stored, ps, parameters)
        written += more
        for i in range(len(products)):
            written += (self.powers[i].copy_(self.chosen(completes, products[i], self.powers[i])),)
        written += (ops.assign_add(self.iterations, Tensor(1, mindspore.int64)),)
        return ops.depend(True, written)

    def over(self, function: Any, *given: Any) -> Any:
        """Both results of `function` for all parameters, some at a time: see `_TURNS`."""
        first: Any = ()
        second: Any = ()
        for part in self.parts:
            one, other = function(part, *given)
            first += one
            second += other
        return first, second

    def taken(self, part: Any, gradients: Any, parameters: Any) -> Any:
        """Gradients and parameters in the dtype of the stages."""
        gs: Any = ()
        ps: Any = ()
        for i in part:
            around = self.around[self.kind[i]]
            g = gradients[i]
            if isinstance(g, RowTensorInner):
                g = densified(g, self.shapes[i])
            gs += (_cast(g, around),)
            ps += (_cast(parameters[i], around),)
        return gs, ps

    def stored(self, part: Any, ps: Any, parameters: Any) -> Any:
        """Nothing, and what was written into the parameters."""
        written: Any = ()
        for i in part:
            written += (parameters[i].copy_(_cast(ps[i], parameters[i].dtype)),)
        return (), written

    def chosen(self, completes: Any, new: Any, old: Any) -> Any:
        """`new` where this call makes an update."""
        if self.every > 0:
            return ops.where(completes, new, old)
        return new

    def rate_of(self, step: Any) -> Any:
        """The learning rate of a step, in float64."""
        if self.is_constant:
            rate = self.rate + 0.0
        elif self.is_list:
            # A graph cannot raise; NaN is at least not silent.
            place = _cast(ops.minimum(step, Tensor(self.length - 1.0, _DOUBLE)), mindspore.int32)
            found = ops.gather(self.schedule, place, 0)
            rate = ops.where(step < self.length, found, Tensor(float("nan"), _DOUBLE))
        elif self.is_cell:
            rate = self.schedule(_cast(step, mindspore.int32).reshape((1,))).reshape(())
        else:
            rate = self.schedule(step)
        if not isinstance(rate, Tensor):
            rate = Tensor(rate, _DOUBLE)
        rate = _cast(rate, _DOUBLE)
        if self.has_time_decay:
            if self.stepwise:
                divisor = 1.0 + _cast(step, mindspore.float32) * self.time_decay32
                rate = _cast(_cast(rate, mindspore.float32) / divisor, _DOUBLE)
            else:
                rate = rate / (1.0 + step * self.time_decay)
        return rate

    def scalars_of(self, rate: Any, t: Any) -> Any:
        """Step size and epsilon hat for each dtype, and the running products after this step."""
        products: Any = ()
        if self.keeps_products:
            for i in range(len(self.powers)):
                products += (self.powers[i] * self.betas,)
        if self.narrow_rate:
            rate = _cast(rate, mindspore.float32)
        alphas: Any = ()
        epsilons: Any = ()
        for k in range(len(self.scalar)):
            scalar = self.scalar[k]
            if self.keeps_products:
                power1 = _cast(products[0][0], scalar)
                power2 = _cast(products[0][1], scalar)
            else:
                power1 = _cast(ops.pow(self.bases1[k], t), scalar)
                power2 = _cast(ops.pow(self.bases2[k], t), scalar)
            alpha, epsilon = self.correct(_cast(rate, scalar), self.exact_epsilon[k], power1, power2, 1.0, ops.sqrt)
            alphas += (_cast(alpha, self.arithmetic[k]),)
            if self.epsilon_moves:
                epsilons += (_cast(epsilon, self.arithmetic[k]),)
            else:
                epsilons += (self.epsilon[k],)
        return alphas, epsilons, products

    def unscaled(self, part: Any, gs: Any, ps: Any) -> Any:
        """Gradients without the loss scale."""
        found: Any = ()
        for i in part:
            if self.unscale_by_product:
                found += (_multiply(gs[i], ps[i], self.scale[self.kind[i]]),)
            else:
                found += (_divide(gs[i], ps[i], self.scale[self.kind[i]]),)
        return found, ()

    def gathered(self, part: Any, gs: Any, completes: Any) -> Any:
        """The mean of the gradients so far, and what was written."""
        found: Any = ()
        written: Any = ()
        for i in part:
            around, kept = self.around[self.kind[i]], self.accumulated[i]
            total = gs[i] + _cast(kept, around)
            mean = total / Tensor(self.every, around)
            written += (kept.copy_(_cast(ops.where(completes, ops.zeros_like(total), total), kept.dtype)),)
            found += (_cast(_cast(mean, kept.dtype), around),)
        return found, written

    def squares(self, g: Any) -> Any:
        """The sum of squares in float64."""
        wide = _cast(g, _DOUBLE)
        return (wide * wide).sum()

    def clipped_by_norm(self, part: Any, gs: Any, ps: Any) -> Any:
        """Each gradient with at most the norm allowed."""
        found: Any = ()
        for i in part:
            around, limit = self.around[self.kind[i]], self.clip_norm[self.kind[i]]
            norm = ops.sqrt(self.squares(gs[i]))
            if self.stepwise:
                scaled = _multiply(gs[i], ps[i], limit)
                found += (_divide(scaled, ps[i], ops.maximum(_cast(norm, around), limit)),)
            else:
                factor = norm_factor(norm, Tensor(self.exact_clip_norm, _DOUBLE), ops.maximum)
                found += (_multiply(gs[i], ps[i], _cast(factor, around)),)
        return found, ()

    def global_norm(self, gs: Any) -> Any:
        """The norm of all gradients together, in float64."""
        total = Tensor(0.0, _DOUBLE)
        for part in self.parts:
            total = self.squares_of(part, gs, total)
        return ops.sqrt(total)

    def squares_of(self, part: Any, gs: Any, total: Any) -> Any:
        """`total` and the squares of these gradients."""
        for i in part:
            total = total + self.squares(gs[i])
        return total

    def clipped_by_global_norm(self, part: Any, gs: Any, ps: Any, norm: Any) -> Any:
        """The gradients with at most the norm allowed together."""
        found: Any = ()
        for i in part:
            around, limit = self.around[self.kind[i]], self.global_clip_norm[self.kind[i]]
            if self.stepwise:
                one = Tensor(1.0, around)
                factor = stepwise_global_norm_factor(_cast(norm, around), limit, one, ops.minimum)
            else:
                factor = global_norm_factor(norm, Tensor(self.exact_global_clip_norm, _DOUBLE), ops.maximum)
            found += (_multiply(gs[i], ps[i], _cast(factor, around)),)
        return found, ()

    def clipped_by_value(self, part: Any, gs: Any, ps: Any) -> Any:
        """The gradients with each element clipped."""
        found: Any = ()
        for i in part:
            found += (_clip_value(gs[i], ps[i], self.clip_value[self.kind[i]]),)
        return found, ()

    def decayed(self, part: Any, ps: Any, rate: Any) -> Any:
        """The parameters after decoupled weight decay."""
        found: Any = ()
        for i in part:
            around, p = self.around[self.kind[i]], ps[i]
            if self.decays[i]:
                if self.stepwise:
                    p = _decoupled_decay(p, _cast(self.decay32, around), _cast(_cast(rate, mindspore.float32), around))
                else:
                    p = _decoupled_decay(p, _cast(rate * self.decay, around), Tensor(1.0, around))
            found += (p,)
        return found, ()

    def updated(self, part: Any, gs: Any, ps: Any, parameters: Any, alphas: Any, epsilons: Any, completes: Any) -> Any:
        """The parameters after the update, and what was written."""
        found: Any = ()
        written: Any = ()
        for i in part:
            kind = self.arithmetic[self.kind[i]]
            old_vhat = None
            if self.amsgrad:
                old_vhat = _cast(self.vhat[i], kind)
            p, m, v, vhat = self.update_of(
                i,
                _cast(ps[i], kind),
                _cast(gs[i], kind),
                _cast(self.m[i], kind),
                _cast(self.v[i], kind),
                old_vhat,
                alphas[self.kind[i]],
                epsilons[self.kind[i]],
            )
            dtype = self.m[i].dtype
            around = self.around[self.kind[i]]
            found += (self.chosen(completes, _cast(p, around), _cast(parameters[i], around)),)
            written += (
                self.m[i].copy_(self.chosen(completes, _cast(m, dtype), self.m[i])),
                self.v[i].copy_(self.chosen(completes, _cast(v, dtype), self.v[i])),
            )
            if self.amsgrad:
                written += (self.vhat[i].copy_(self.chosen(completes, _cast(vhat, dtype), self.vhat[i])),)
        return found, written

    def update_of(self, i: int, p: Any, g: Any, m: Any, v: Any, vhat: Any, alpha: Any, epsilon: Any) -> Any:
        """The kernel's update of one parameter."""
        k = self.kind[i]
        c1, c2 = self.c1[k], self.c2[k]
        if not self.fused[k]:
            return _update_separate(p, g, m, v, vhat, alpha, c1, c2, epsilon, None)
        if not self.tail[k] or self.cuts[i] == self.sizes[i]:
            return _update_fused(p, g, m, v, vhat, alpha, c1, c2, epsilon, None)
        p, g, m, v = p.reshape((-1,)), g.reshape((-1,)), m.reshape((-1,)), v.reshape((-1,))
        cut, shape = self.cuts[i], self.shapes[i]
        tail = _update_tail(p[cut:], g[cut:], m[cut:], v[cut:], None, alpha, c1, c2, epsilon, None)
        p1 = _cast(tail[0], mindspore.float32)
        m1 = tail[1]
        v1 = tail[2]
        if cut > 0:
            body = _update_fused(p[:cut], g[:cut], m[:cut], v[:cut], None, alpha, c1, c2, epsilon, None)
            p1 = ops.concat((body[0], p1))
            m1 = ops.concat((body[1], m1))
            v1 = ops.concat((body[2], v1))
        return p1.reshape(shape), m1.reshape(shape), v1.reshape(shape), None

    def averaged(self, part: Any, ps: Any, parameters: Any, done: Any) -> Any:
        """The parameters, overwritten by their averages where it is time to, and what was written."""
        found: Any = ()
        written: Any = ()
        for i in part:
            around, kept = self.around[self.kind[i]], self.average[i]
            weight, complement = self.momentum[self.kind[i]], self.complement[self.kind[i]]
            if self.starts_with_first_update:
                weight = ops.where(done < 0.5, ops.zeros_like(weight), weight)
                complement = ops.where(done < 0.5, ops.ones_like(complement), complement)
            p = _cast(_cast(ps[i], parameters[i].dtype), around)
            mean = _cast(average(_cast(kept, around), p, weight, complement), kept.dtype)
            written += (kept.copy_(mean),)
            if self.overwrite > 0:
                over = ops.floor((done + 1.0) / self.overwrite) * self.overwrite == done + 1.0
                p = ops.where(over, _cast(mean, around), p)
            found += (p,)
        return found, written

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
from mindspore.ops import functional as F  # noqa: N812 - its name everywhere

from adamcompat import kernel
from adamcompat.correction import epsilon_moves, make_correction
from adamcompat.executors.contraction import Contraction
from adamcompat.kernel import given_epsilon, make_update
from adamcompat.mapping.model import Numerics
from adamcompat.mindspore.batch import STORAGE
from adamcompat.mindspore.gradients import densified
from adamcompat.mindspore.graph_stages import TURNS, GraphStages, loaded
from adamcompat.mindspore.operations import FUSED, SEPARATE, WIDE, cast
from adamcompat.program import Average, Program
from adamcompat.stages import average, average_weights, time_decayed

_DOUBLE = mindspore.float64
_DTYPES = {
    np.dtype(np.float16): mindspore.float16,
    np.dtype(np.float32): mindspore.float32,
    np.dtype(np.float64): _DOUBLE,
}


_update_separate = make_update(SEPARATE)
_update_fused = make_update(FUSED)
_update_tail = make_update(WIDE)


@dataclass(slots=True)
class State:
    """Hold the Parameters of an optimizer's state; empty tuples where none is kept.

    Attributes:
        iterations: int64, counts the calls.
        rate: the learning rate, float64.
        powers: one Parameter with the running products of both betas.
        m: the first moments, one for each variable.
        v: the second moments.
        vhat: the maxima of the second moments.
        average: the moving averages of the variables.
        accumulated: the accumulated gradients.
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
    """Return the NumPy dtype that a dtype of MindSpore is rounded like; for bfloat16 it is float32."""
    return np.dtype(np.float32) if dtype == mindspore.bfloat16 else STORAGE[dtype].own


class GraphStep(GraphStages):
    """Make the step of one optimizer as a graph.

    Args:
        program: the compiled step of the optimizer.
        numerics: how to round.
        schedule: None for a constant learning rate, a Tensor for a list, else a callable of the step.
        parameters: the Parameters that are updated.
        decays: whether weight decay reaches each.
        state: the Parameters of the optimizer's state.

    Raises:
        NotImplementedError: the program has a stage or a form of the update that the graph lacks.
    """

    def __init__(
        self,
        program: Program,
        numerics: Numerics,
        schedule: Any,
        parameters: Sequence[Any],
        decays: Sequence[bool],
        state: State,
    ) -> None:
        super().__init__()
        self.check(program)
        update = program.update
        if update.decay is None:
            raise NotImplementedError("GraphStep adds no decay to the update that changes from step to step")
        if update.nesterov:
            raise NotImplementedError("GraphStep has no Nesterov look-ahead: leave it out")
        beta1, beta2 = (beta.at(0) if hasattr(beta, "at") else beta for beta in (update.beta1, update.beta2))
        owns = [own_dtype(parameter.dtype) for parameter in parameters]
        kinds = list(dict.fromkeys(owns))
        fixed = [
            kernel.coefficients(
                numerics,
                own,
                learning_rate=0.0,
                beta1=beta1,
                beta2=beta2,
                epsilon=update.epsilon,
                step=1,
                nesterov=False,
                form=update.form,
            )
            for own in kinds
        ]
        self.each_call, self.each_update = loaded(program.each_call), loaded(program.stages)
        self.count = len(parameters)
        places = tuple(range(self.count))
        self.parts = tuple(places[start : start + TURNS] for start in places[::TURNS])
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
        exact = given_epsilon(numerics, update.epsilon)
        with np.errstate(all="ignore"):
            self.exact_epsilon = tuple(Tensor(np.asarray(real(exact))) for real in reals)
        self.epsilon_moves = epsilon_moves(update.form)
        self.correct = make_correction(update.form)
        contractions = [Contraction.of(numerics, own, amsgrad=update.amsgrad) for own in kinds]
        self.fused = tuple(item.fused for item in contractions)
        self.cuts = tuple(
            contractions[k].cut(int(np.prod(shape))) for k, shape in zip(self.kind, self.shapes, strict=True)
        )
        self.sizes = tuple(int(np.prod(shape)) for shape in self.shapes)
        self.narrow_rate = numerics.given != "float64"
        self.keeps_products = bool(state.powers)
        self.stepwise = program.stepwise
        self.amsgrad, self.lazy = update.amsgrad, update.lazy
        self.every = program.every or 0
        # A number of Python would enter as float32.
        self.has_time_decay = program.rate.time_decay > 0
        self.time_decay = Tensor(program.rate.time_decay, _DOUBLE)
        self.decays = tuple(decays)
        self.adds_decay = update.decays
        arithmetic = [kernel.arithmetic_dtype(numerics, own).type for own in owns]
        self.decay = tuple(
            Tensor(np.asarray(real(update.decay if own and update.decay is not None else 0.0)))
            for real, own in zip(arithmetic, decays, strict=True)
        )
        self.use_ema = program.average is not None
        average_of = program.average or Average(0.0, None, False)
        self.starts_with_first_update = average_of.starts_with_first_update
        self.overwrite = average_of.overwrite or 0
        weights = [average_weights(average_of.momentum, numerics, own) for own in kinds]
        self.momentum = tuple(Tensor(np.asarray(weight)) for weight, _ in weights)
        self.complement = tuple(Tensor(np.asarray(complement)) for _, complement in weights)
        self.start = float(program.rate.start)
        self.is_constant = schedule is None
        self.is_list = isinstance(schedule, Tensor)
        self.length = schedule.shape[0] if self.is_list else 0
        self.is_cell = isinstance(schedule, nn.Cell)
        self.schedule = schedule
        self.iterations, self.rate, self.powers = state.iterations, state.rate, state.powers
        self.m, self.v, self.vhat = state.m, state.v, state.vhat
        self.average, self.accumulated = state.average, state.accumulated

    def construct(self, gradients: Any, parameters: Any) -> Any:
        """Update `parameters`, which are in the order in which the optimizer was built, and count the step.

        Args:
            gradients: one for each, dense or a RowTensor.
            parameters: the Parameters to update.
        """
        written = self.stepped(gradients, parameters, cast(self.iterations, _DOUBLE))
        written += (ops.assign_add(self.iterations, Tensor(1, mindspore.int64)),)
        return ops.depend(True, written)

    def dense(self, part: Any, gradients: Any) -> Any:
        """Return dense gradients in the dtype of the stages.

        Args:
            part: the places of some parameters.
            gradients: all of them, dense or RowTensors.

        Returns:
            Two tuples, for the places in `part`: the gradients, and whether the graph knows the shape of each.

        Raises:
            NotImplementedError: a gradient holds some rows, and updates are lazy.
            ValueError: a gradient has another shape than its parameter.
        """
        gs: Any = ()
        known: Any = ()
        for i in part:
            g = gradients[i]
            if isinstance(g, RowTensorInner):
                if self.lazy:
                    raise NotImplementedError("in a graph, rows cannot be updated lazily: leave lazy updates out")
                g = densified(g, self.shapes[i])
            if F.isconstant(g.shape) and g.shape != self.shapes[i]:
                raise ValueError("in a graph, pass gradients in the order of build(), with their Parameters' shapes")
            gs += (cast(g, self.around[self.kind[i]]),)
            known += (F.isconstant(g.shape),)
        return gs, known

    def stepped(self, gradients: Any, parameters: Any, calls: Any) -> Any:
        """Update `parameters`.

        Args:
            gradients: one for each, dense or a RowTensor.
            parameters: in the order in which the optimizer was built.
            calls: how many there were before, in float64.

        Returns:
            A tuple of all that was written: a graph whose outputs depend on nothing is not run.
        """
        completes = True
        done = calls
        if self.every > 0:
            done = ops.floor(calls / self.every)
            completes = ops.floor((calls + 1.0) / self.every) > done
        rate = self.rate_of(calls + self.start)
        alphas, epsilons, products = self.scalars_of(rate, done + 1.0)
        gs, ps = self.over(self.taken, gradients, parameters)
        written: Any = ()
        if self.every > 0:
            gs, ps, rate = self.run(self.each_call, (gs, ps, rate))
            gs, more = self.over(self.gathered, gs, completes)
            written += more
        gs, ps, rate = self.run(self.each_update, (gs, ps, rate))
        ps, more = self.over(self.updated, gs, ps, parameters, (alphas, epsilons, rate), completes)
        written += more
        if self.use_ema:
            ps, more = self.over(self.averaged, ps, parameters, done)
            written += more
        _, more = self.over(self.stored, ps, parameters)
        written += more
        for i in range(len(products)):
            written += (self.powers[i].copy_(self.chosen(completes, products[i], self.powers[i])),)
        return written

    def taken(self, part: Any, gradients: Any, parameters: Any) -> Any:
        """Return dense gradients and parameters in the dtype of the stages.

        Args:
            part: the places of some parameters.
            gradients: all of them, dense or RowTensors.
            parameters: all of them.

        Returns:
            Two tuples, for the places in `part`.

        Raises:
            NotImplementedError: a gradient holds some rows, and updates are lazy.
            ValueError: a gradient has another shape than its parameter.
        """
        gs, _ = self.dense(part, gradients)
        ps: Any = ()
        for i in part:
            ps += (cast(parameters[i], self.around[self.kind[i]]),)
        return gs, ps

    def stored(self, part: Any, ps: Any, parameters: Any) -> Any:
        """Write new values into parameters, rounded to their dtypes.

        Args:
            part: the places of some parameters.
            ps: all new values, in the dtype of the stages.
            parameters: all of them.

        Returns:
            An empty tuple, and what was written.
        """
        written: Any = ()
        for i in part:
            written += (parameters[i].copy_(cast(ps[i], parameters[i].dtype)),)
        return (), written

    def chosen(self, completes: Any, new: Any, old: Any) -> Any:
        """Return the new value where this call makes an update, else the old one.

        Args:
            completes: whether this call makes an update: a truth value, or a Tensor of one.
            new: the value after the update.
            old: the value before, of the same shape and dtype.

        Returns:
            A Tensor; always `new` where gradients are not accumulated.
        """
        if self.every > 0:
            return ops.where(completes, new, old)
        return new

    def rate_of(self, step: Any) -> Any:
        """Return the learning rate of a step, in float64; NaN where a list has no value for it.

        Args:
            step: the number that a schedule is asked for, a Tensor of float64.
        """
        if self.is_constant:
            rate = self.rate + 0.0
        elif self.is_list:
            # A graph cannot raise; NaN is at least not silent.
            place = cast(ops.minimum(step, Tensor(self.length - 1.0, _DOUBLE)), mindspore.int32)
            found = ops.gather(self.schedule, place, 0)
            rate = ops.where(step < self.length, found, Tensor(float("nan"), _DOUBLE))
        elif self.is_cell:
            rate = self.schedule(cast(step, mindspore.int32).reshape((1,))).reshape(())
        else:
            rate = self.schedule(step)
        if not isinstance(rate, Tensor):
            rate = Tensor(rate, _DOUBLE)
        rate = cast(rate, _DOUBLE)
        if self.has_time_decay:
            real = _DOUBLE
            if self.stepwise:
                real = mindspore.float32
            decay = cast(self.time_decay, real)
            rate = cast(time_decayed(cast(rate, real), cast(step, real), decay, Tensor(1.0, real)), _DOUBLE)
        return rate

    def given(self, rate: Any) -> Any:
        """Return the learning rate as the numerics take it in: rounded to float32, or as it is."""
        if self.narrow_rate:
            rate = cast(rate, mindspore.float32)
        return rate

    def scalars_of(self, rate: Any, t: Any) -> Any:
        """Return the step sizes and epsilons of a step, and the running products of the betas after it.

        Args:
            rate: the learning rate, in float64.
            t: the number of the update, 1 at the first, in float64.

        Returns:
            Three tuples: one step size and one epsilon hat for each kind of dtype, and the products, where they are
            kept.
        """
        products: Any = ()
        if self.keeps_products:
            for i in range(len(self.powers)):
                products += (self.powers[i] * self.betas,)
        rate = self.given(rate)
        alphas: Any = ()
        epsilons: Any = ()
        for k in range(len(self.scalar)):
            scalar = self.scalar[k]
            if self.keeps_products:
                power1 = cast(products[0][0], scalar)
                power2 = cast(products[0][1], scalar)
            else:
                power1 = cast(ops.pow(self.bases1[k], t), scalar)
                power2 = cast(ops.pow(self.bases2[k], t), scalar)
            scaled = cast(rate, scalar)
            if self.adds_decay:
                scaled = ops.ones_like(scaled)
            alpha, epsilon = self.correct(scaled, self.exact_epsilon[k], power1, power2, 1.0, ops.sqrt)
            alphas += (cast(alpha, self.arithmetic[k]),)
            if self.epsilon_moves:
                epsilons += (cast(epsilon, self.arithmetic[k]),)
            else:
                epsilons += (self.epsilon[k],)
        return alphas, epsilons, products

    def gathered(self, part: Any, gs: Any, completes: Any) -> Any:
        """Add gradients to the accumulated ones, and return their means::

            total <- total + g
            mean = total / every

        Where this call makes an update, the accumulated gradients start anew at zero.

        Args:
            part: the places of some parameters.
            gs: all gradients, in the dtype of the stages.
            completes: whether this call makes an update, a Tensor of a truth value.

        Returns:
            The means, which count only where this call makes an update; and what was written.
        """
        found: Any = ()
        written: Any = ()
        for i in part:
            around, kept = self.around[self.kind[i]], self.accumulated[i]
            total = gs[i] + cast(kept, around)
            mean = total / Tensor(self.every, around)
            written += (kept.copy_(cast(ops.where(completes, ops.zeros_like(total), total), kept.dtype)),)
            found += (cast(cast(mean, kept.dtype), around),)
        return found, written

    def updated(self, part: Any, gs: Any, ps: Any, parameters: Any, numbers: Any, completes: Any) -> Any:
        """Return parameters after the update, where this call makes one, and write their moments.

        Args:
            part: the places of some parameters.
            gs: all gradients, in the dtype of the stages.
            ps: all parameters after the stages, in that dtype.
            parameters: all of them as they were.
            numbers: step sizes and epsilons, one for each kind of dtype, and the learning rate.
            completes: whether this call makes an update: a truth value, or a Tensor of one.

        Returns:
            The parameters in the dtype of the stages, as they were where this call makes no update; and what was
            written.
        """
        alphas, epsilons, rate = numbers
        found: Any = ()
        written: Any = ()
        for i in part:
            kind = self.arithmetic[self.kind[i]]
            old_vhat = None
            if self.amsgrad:
                old_vhat = cast(self.vhat[i], kind)
            p, m, v, vhat = self.update_of(
                i,
                cast(ps[i], kind),
                cast(gs[i], kind),
                cast(self.m[i], kind),
                cast(self.v[i], kind),
                old_vhat,
                alphas[self.kind[i]],
                epsilons[self.kind[i]],
                cast(self.given(rate), kind),
            )
            dtype = self.m[i].dtype
            around = self.around[self.kind[i]]
            found += (self.chosen(completes, cast(p, around), cast(parameters[i], around)),)
            written += (
                self.m[i].copy_(self.chosen(completes, cast(m, dtype), self.m[i])),
                self.v[i].copy_(self.chosen(completes, cast(v, dtype), self.v[i])),
            )
            if self.amsgrad:
                written += (self.vhat[i].copy_(self.chosen(completes, cast(vhat, dtype), self.vhat[i])),)
        return found, written

    def update_of(self, i: int, p: Any, g: Any, m: Any, v: Any, vhat: Any, alpha: Any, epsilon: Any, rate: Any) -> Any:
        """Return one parameter and its state after the kernel's update; for the formula see `kernel.make_update`.

        Args:
            i: the place of the parameter.
            p: the parameter, in the dtype of the arithmetic, as is everything else.
            g: its gradient.
            m: its first moment.
            v: its second moment.
            vhat: the maximum of its second moments for AMSGrad, or None.
            alpha: the step size.
            epsilon: epsilon hat.
            rate: the learning rate, which a decay that is added to the update is multiplied by.

        Returns:
            The new parameter, first moment, second moment and maximum, or None in the place of the last.
        """
        k = self.kind[i]
        decay = None
        if self.adds_decay:
            decay = self.decay[i]
        c1, c2 = self.c1[k], self.c2[k]
        if not self.fused[k]:
            return _update_separate(p, g, m, v, vhat, alpha, c1, c2, epsilon, None, None, rate, decay)
        if self.cuts[i] == self.sizes[i]:
            return _update_fused(p, g, m, v, vhat, alpha, c1, c2, epsilon, None, None, rate, decay)
        if self.cuts[i] == 0:
            p, m, v, vhat = _update_tail(p, g, m, v, vhat, alpha, c1, c2, epsilon, None, None, rate, decay)
            return cast(p, mindspore.float32), m, v, vhat
        p, g, m, v = p.reshape((-1,)), g.reshape((-1,)), m.reshape((-1,)), v.reshape((-1,))
        cut, shape = self.cuts[i], self.shapes[i]
        body = _update_fused(p[:cut], g[:cut], m[:cut], v[:cut], None, alpha, c1, c2, epsilon, None, None, rate, decay)
        tail = _update_tail(p[cut:], g[cut:], m[cut:], v[cut:], None, alpha, c1, c2, epsilon, None, None, rate, decay)
        p1 = ops.concat((body[0], cast(tail[0], mindspore.float32)))
        m1, v1 = ops.concat((body[1], tail[1])), ops.concat((body[2], tail[2]))
        return p1.reshape(shape), m1.reshape(shape), v1.reshape(shape), None

    def averaged(self, part: Any, ps: Any, parameters: Any, done: Any) -> Any:
        """Move the averages of parameters, and return the parameters::

            average <- momentum average + (1 - momentum) p

        Every so many updates, where the optimizer is told so, the parameters are overwritten by their averages.

        Args:
            part: the places of some parameters.
            ps: all parameters after the update, in the dtype of the stages.
            parameters: all of them as they were, for their dtypes.
            done: the number of updates before this one, in float64.

        Returns:
            The parameters, in the dtype of the stages; and what was written.
        """
        found: Any = ()
        written: Any = ()
        for i in part:
            around, kept = self.around[self.kind[i]], self.average[i]
            weight, complement = self.momentum[self.kind[i]], self.complement[self.kind[i]]
            if self.starts_with_first_update:
                weight = ops.where(done < 0.5, ops.zeros_like(weight), weight)
                complement = ops.where(done < 0.5, ops.ones_like(complement), complement)
            p = cast(cast(ps[i], parameters[i].dtype), around)
            mean = cast(average(cast(kept, around), p, weight, complement), kept.dtype)
            written += (kept.copy_(mean),)
            if self.overwrite > 0:
                over = ops.floor((done + 1.0) / self.overwrite) * self.overwrite == done + 1.0
                p = ops.where(over, cast(mean, around), p)
            found += (p,)
        return found, written

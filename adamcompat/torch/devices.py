"""Steps by PyTorch's own operations, for tensors that do not lie in main memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from adamcompat.groups import Group
from adamcompat.hyperparameters import Hyperparameters, exception
from adamcompat.interpreter import Interpreter, StepNumbers, bind
from adamcompat.kernel import Operations, make_update, stage_dtype
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.numpy.engine import Engine, Pending
from adamcompat.numpy.slots import Kind
from adamcompat.numpy.step import Step
from adamcompat.program import DIVIDE, MULTIPLY, OF_PARAMETER, SUBTRACT, Scalar
from adamcompat.stages import make_stages
from adamcompat.torch.arrays import zeros_like
from adamcompat.torch.held import key_of

# As arrays of NumPy they would be of these dtypes; half precision is updated in float32.
_ARITHMETIC = {torch.float64: (torch.float64, np.dtype("f8"))}
_OTHERS = torch.float32, np.dtype("f4")


class Many:
    """Hold tensors that share each operation, in as few kernels as PyTorch makes of it.

    Args:
        tensors: of one dtype and device; their shapes may differ.

    >>> (Many([torch.ones(2), torch.ones(3)]) * 2.0 - 1.0).tensors
    [tensor([1., 1.]), tensor([1., 1., 1.])]
    """

    __slots__ = ("tensors",)

    def __init__(self, tensors: Sequence[Any]) -> None:
        self.tensors = list(tensors)

    @staticmethod
    def of(operation: Callable[..., Any], one: Many, other: Any) -> Many:
        """Return the results of an operation on each tensor and another operand.

        Args:
            operation: one of PyTorch's ``torch._foreach_*`` functions of two operands.
            one: the tensors that are its first operand.
            other: `Many` tensors, one for each of `one`, or a number for all of them.

        Returns:
            One tensor for each of `one`.
        """
        return Many(operation(one.tensors, other.tensors if isinstance(other, Many) else float(other)))

    def __add__(self, other: Any) -> Many:
        return Many.of(torch._foreach_add, self, other)

    def __sub__(self, other: Any) -> Many:
        return Many.of(torch._foreach_sub, self, other)

    def __mul__(self, other: Any) -> Many:
        return Many.of(torch._foreach_mul, self, other)

    def __truediv__(self, other: Any) -> Many:
        return Many.of(torch._foreach_div, self, other)

    def __neg__(self) -> Many:
        return Many(torch._foreach_neg(self.tensors))

    def __rmul__(self, other: Any) -> Many:
        return Many.of(torch._foreach_mul, self, other)

    def __rtruediv__(self, other: Any) -> Many:
        return Many([float(other) / tensor for tensor in self.tensors])


def _chosen(kernel: Callable[..., Any], plain: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    """Return the larger or the smaller of two values; NaN wins.

    Args:
        kernel: chooses between tensors, or tensors and a number.
        plain: chooses between two numbers.
        one: `Many` tensors, or a number.
        other: `Many` tensors, or a number.
    """
    if isinstance(other, Many) and not isinstance(one, Many):
        one, other = other, one
    return Many.of(kernel, one, other) if isinstance(one, Many) else plain(one, other)


def _maximum(one: Any, other: Any) -> Any:
    return _chosen(torch._foreach_maximum, np.maximum, one, other)


def _minimum(one: Any, other: Any) -> Any:
    return _chosen(torch._foreach_minimum, np.minimum, one, other)


def _root(value: Any) -> Any:
    return Many(torch._foreach_sqrt(value.tensors)) if isinstance(value, Many) else np.sqrt(value)


_OPERATIONS = Operations(
    fma=lambda a, b, c: a * b + c,
    blend=lambda a, x, b, y: x * a + y * b,
    sqrt=_root,
    maximum=_maximum,
    widen=lambda x: x,
    multiply=lambda a, b: b * a if isinstance(b, Many) else a * b,
)
_update = make_update(_OPERATIONS)
_stages = make_stages(_OPERATIONS, _minimum)


class Lane(NamedTuple):
    """Hold parameters of one kind with their gradients, in the dtype of the arithmetic.

    Attributes:
        kind: what the parameters have in common.
        p: the parameters, as `Many`.
        g: their gradients, as `Many`.
        places: their places among the parameters of the step.
    """

    kind: Kind
    p: Any
    g: Any
    places: list[int]


class _Stages(Interpreter):
    """Take lanes through the stages; see `Interpreter` for the methods.

    Args:
        step: the numbers of the step.
        numerics: how to round.
    """

    def __init__(self, step: Step, numerics: Numerics) -> None:
        self._step = step
        self._numerics = numerics
        self.stepwise = step.program.stepwise

    def elementwise(self, lane: Lane, code: int, a: Scalar, b: Scalar) -> Lane:
        """See `Interpreter`.

        Args:
            lane: the lane.
            code: the stage, one of the constants of `program`.
            a: its first scalar.
            b: its second scalar.
        """
        key = id(lane.kind.group)
        # Without decay the stage is passed over: an infinite parameter times 0 would be NaN.
        numbers = StepNumbers(self._step.rates[key], self._step.decays[key] or None)
        for bound in bind(code, a, b, numbers, decays=lane.kind.decays):
            if code in OF_PARAMETER:
                return lane._replace(p=_stages[code](lane.p, bound.a, bound.b))
            return lane._replace(g=_stages[code](lane.g, lane.p, bound.a))
        return lane

    def multiplied(self, lane: Lane, factor: Any) -> Lane:
        """See `Interpreter`."""
        return lane._replace(g=_stages[MULTIPLY](lane.g, lane.p, factor))

    def divided(self, lane: Lane, divisor: Any) -> Lane:
        """See `Interpreter`."""
        return lane._replace(g=_stages[DIVIDE](lane.g, lane.p, divisor))

    def centralized(self, lane: Lane) -> Lane:
        """See `Interpreter`."""
        if not lane.kind.group.centralize:
            return lane
        means = [g.mean(tuple(range(1, g.ndim)), keepdim=True) if g.ndim > 1 else g * 0 for g in lane.g.tensors]
        return lane._replace(g=_stages[SUBTRACT](lane.g, lane.p, Many(means)))

    def squares(self, lane: Lane) -> Any:
        """See `Interpreter`."""
        return Many([g.double().square().sum() for g in lane.g.tensors])

    def norm_of_all(self, lanes: Sequence[Lane]) -> Any:
        """See `Interpreter`."""
        return np.sqrt(np.float64(sum(square.item() for lane in lanes for square in self.squares(lane).tensors)))

    def narrowed(self, lane: Lane, number: Any) -> Any:
        """See `Interpreter`."""
        if isinstance(number, Many):
            return Many([one.to(g.dtype) for one, g in zip(number.tensors, lane.g.tensors, strict=True)])
        return stage_dtype(self._numerics, lane.kind.dtype).type(number)

    def root(self, number: Any) -> Any:
        """See `Interpreter`."""
        return _root(number)

    def maximum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return _maximum(one, other)

    def minimum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return _minimum(one, other)


class Elsewhere:
    """Update the parameters of one group on any device, as `adamcompat.torch.held.Held` does in main memory.

    Args:
        dialect: the API whose step is made.
        numerics: how to round.
        hyper: the hyperparameters of the group.
        step: how many steps were made, at least 0.
        group: what the parameters have in common beside their hyperparameters; None stands for nothing.

    Raises:
        NotImplementedError: gradients are to be accumulated, parameters to be averaged, or rows to be updated lazily.

    Attributes:
        engine: has the program and the numbers of steps, and no parameters.
        parameters: the tensors.
    """

    def __init__(
        self, dialect: Dialect, numerics: Numerics, hyper: Hyperparameters, step: int, group: Group | None = None
    ) -> None:
        self._wrong = exception(dialect.errors.wrong_gradients)
        self.engine = Engine(dialect, numerics, hyper, np.zeros((), np.int64), self._wrong)
        self.engine.count(step)
        program = self.engine.program
        if program.every is not None or program.average is not None or program.update.lazy:
            raise NotImplementedError(
                "gradients are accumulated, parameters averaged and rows updated lazily in main memory only; leave "
                "these settings out, or train on the CPU"
            )
        self.parameters: list[Any] = []
        self._group = group or Group()
        self._members: dict[int, tuple[dict[str, Any], bool]] = {}

    def add(
        self, parameters: Sequence[Any], states: Sequence[dict[str, Any]], names: Sequence[str], decays: Any
    ) -> None:
        """Take more parameters.

        Args:
            parameters: tensors on any device.
            states: a dictionary for each, with its moments under PyTorch's names. Moments that are missing are put
                there, as zeros.
            names: what to call the parameters in errors.
            decays: takes a name, and returns whether weight decay reaches the parameter.

        Raises:
            ValueError: a moment has another shape than its parameter, or lies on another device.
        """
        roles = ["first_moment", "second_moment"]
        roles += ["maximum_second_moment"] if self.engine.program.update.amsgrad else []
        for parameter, state, name in zip(parameters, states, names, strict=True):
            for role in roles:
                kept = state.setdefault(key_of(role), zeros_like(parameter))
                if kept.shape != parameter.shape or kept.device != parameter.device:
                    raise ValueError(f"{key_of(role)!r} of {name} does not fit the parameter, on {parameter.device}")
            self.parameters.append(parameter)
            self._members[id(parameter)] = state, decays(name)

    def settle(self) -> None:
        """Take note of the state before the next step, which needs nothing here."""

    def stands(self) -> bool:
        """Return whether the next step can be made; see `Held.stands`."""
        return True

    def versioned(self, parameters: Sequence[Any]) -> list[Any]:
        """Return the parameters that a step writes; see `Held.versioned`. PyTorch's operations count the rest."""
        return list(parameters)

    def prepared(self, parameters: Sequence[Any], gradients: Sequence[Any], *, alone: bool) -> Pending:
        """Do all of a step that can fail.

        Args:
            parameters: those that have a gradient.
            gradients: theirs, in the same order: tensors on any device, of any layout.
            alone: makes no difference here.

        Returns:
            The operations that are left, which write.

        Raises:
            ValueError (or what the dialect raises): a gradient is complex, or has another shape than its parameter.
        """
        lanes = self._lanes(parameters, gradients)
        step = Step(self.engine, [lane.kind for lane in lanes])
        with np.errstate(all="ignore"):
            lanes = list(_Stages(step, self.engine.numerics).run(step.program.stages, lanes))
        targets: list[Any] = []
        results: list[Any] = []
        for lane in lanes:
            states = [self._members[id(parameters[place])][0] for place in lane.places]
            m, v, vhat = (self._state(states, role, lane) for role in _ROLES)
            c = step.coefficients(lane.kind)
            new = _update(
                *(lane.p, lane.g, m, v, vhat, c.alpha, c.c1, c.c2, c.epsilon, c.beta1, None, c.rate, c.decay),
                *(c.lerp, c.beta2, c.root),
            )
            columns = [[parameters[place] for place in lane.places]]
            columns += [[state[key_of(role)] for state in states] for role in _ROLES if key_of(role) in states[0]]
            for column, result in zip(columns, new, strict=False):
                targets += column
                results += result.tensors
        after, powers = self.engine.iterations + 1, step.powers

        def write() -> None:
            if targets:
                torch._foreach_copy_(targets, results)

        def count() -> None:
            if self.engine.powers is not None and powers is not None:
                self.engine.powers[:] = powers
            self.engine.iterations[...] = after

        return Pending([write, count], (), None)

    def _lanes(self, parameters: Sequence[Any], gradients: Sequence[Any]) -> list[Lane]:
        places: dict[Any, list[int]] = {}
        for place, parameter in enumerate(parameters):
            key = parameter.device, _ARITHMETIC.get(parameter.dtype, _OTHERS), self._members[id(parameter)][1]
            places.setdefault(key, []).append(place)
        found = []
        for (_, (kind, dtype), decays), own in places.items():
            p = [parameters[place].detach().to(kind) for place in own]
            g = [self._gradient(gradients[place], parameters[place]).to(kind) for place in own]
            found.append(Lane(Kind(self._group, decays, dtype), Many(p), Many(g), own))
        return found

    def _gradient(self, gradient: Any, like: Any) -> Any:
        if gradient.shape != like.shape or gradient.dtype.is_complex:
            raise self._wrong(
                f"a gradient has shape {tuple(gradient.shape)} and {gradient.dtype}, its parameter "
                f"{tuple(like.shape)} and {like.dtype}"
            )
        plain = gradient.detach().to(like.device)
        return plain if plain.layout == torch.strided else plain.to_dense()

    def _state(self, states: Sequence[dict[str, Any]], role: str, lane: Lane) -> Many | None:
        if key_of(role) not in states[0]:
            return None
        kind = lane.p.tensors[0].dtype
        return Many([state[key_of(role)].to(kind) for state in states])


_ROLES = ("first_moment", "second_moment", "maximum_second_moment")

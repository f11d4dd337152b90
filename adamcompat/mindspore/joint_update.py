"""Update all Parameters of a drop-in at once, where a graph asks for it.

The originals' graphs have an operator for each Parameter. Each takes tens of microseconds to start, and a large one is
done piece by piece by threads that wait for one another. Here one operator hands all Parameters to the compiled update.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, ops
from mindspore.ops import functional as F  # noqa: N812 - its name everywhere
from numpy.typing import NDArray

from adamcompat import executors, kernel
from adamcompat.executors.launch import threads_for
from adamcompat.executors.regions import Regions
from adamcompat.mindspore.graph_call import GraphCall, graph_call, numbers_at
from adamcompat.mindspore.layout import Attributes
from adamcompat.mindspore.memory import Forms, view
from adamcompat.mindspore.overrides import parts_of
from adamcompat.mindspore.pynative import PyNativeStep
from adamcompat.mindspore.splitting import TEAM
from adamcompat.program import Stages
from adamcompat.whole import Operation, later, whole

# A call takes as long as this many operators take to start.
FEW = 64
# Above this many elements a Parameter, on average, the start of an operator does not count.
LARGE = 1 << 20
# From this many elements on a call pays even for one Parameter, where the original's operator is slower.
SLOW = 1 << 17

shape_of = ops.MultitypeFuncGraph("shape_of")


@shape_of.register("Tensor")  # type: ignore[untyped-decorator]
def _shape_of(gradient: Any) -> Any:
    return gradient.shape


@ops.constexpr(check=False)  # type: ignore[untyped-decorator]
def have_shapes(shapes: Any, wanted: Any) -> bool:
    """Return whether gradients have the shapes of their Parameters; MindSpore asks while it compiles."""
    return bool(shapes == wanted)


class JointUpdate:
    """Update the Parameters of one optimizer in the memory that a graph names.

    Args:
        optimizer: a drop-in whose Parameters are float32.
        original: its original.
        part: the name of the original's method that this takes the place of.
        slow: whether the original's operator takes longer than the compiled update for large Parameters.

    Attributes:
        firsts: the places of Parameters with different learning rates or decays; one of each.
        shapes: of the Parameters.
        call: the operator for a graph, or None where graphs cannot call it. After `cell` it takes float32 numbers: the
            different learning rates; where the original keeps them, the powers of the betas after this step; where
            decay is added to the update, a decay for each learning rate; the betas and epsilon. Then it takes all
            Parameters, all first and all second moments, for AMSGrad the maxima; and the gradients.
    """

    def __init__(self, optimizer: Any, original: type, part: str, *, slow: bool = False) -> None:
        o, self._optimizer = optimizer, weakref.ref(optimizer)
        self._slow = slow
        self._replaceable = parts_of(original, part)
        self._attributes: Attributes = o._attributes
        self._step: PyNativeStep = o._pynative
        self._decays, self._powers = self._step.program.update.decays, bool(self._attributes.powers)
        self._forms = Forms.of(o.parameters)
        self._kinds = self._step.kinds()[1]
        self._own = list(dict.fromkeys(self._kinds))
        self.firsts = tuple(map(self._kinds.index, self._own))
        self.shapes = tuple(parameter.shape for parameter in o.parameters)
        self._sizes = [parameter.size for parameter in o.parameters]
        self._batch = self._step.batch(self._forms, self._kinds, range(len(self._sizes)), self._own)
        self._bytes = np.array(self._sizes, np.int64) * 4
        self._regions = Regions(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._constants: list[float] = []
        self._scalars: kernel.Scalars | None = None
        self._written = b""
        count, self._columns = len(self._sizes), 1 + len(self._attributes.state(o))
        self._numbers = len(self.firsts) * (2 if self._decays else 1) + (2 if self._powers else 0) + 3
        self.call: GraphCall | None = graph_call(self, self._numbers, self._columns * count, count)

    @staticmethod
    def _asked(optimizer: Any, name: str) -> bool:
        return bool(getattr(optimizer, name, False))

    def ready(self) -> bool:
        """Return whether a graph may call it.

        Nothing that it stands for is replaced, the state has the dtype and the shapes that compiled code takes, and
        there is such code.

        Raises:
            ValueError: the environment asks for no whole number of threads, or for an unknown executor.
            ModuleNotFoundError: it asks for Numba, which is not installed.
        """
        o, part = self._optimizer(), self._replaceable
        if o is None or executors.compiled() is None or not self._pays():
            return False
        if not o._overrides.of(o, o._made).isdisjoint(part.methods | part.attributes):
            return False
        threads_for(sum(self._sizes), TEAM)
        constants = (o.beta1, o.beta2, o.eps)
        state = [o.parameters, *self._attributes.state(o)]
        return (
            not self._asked(o, "use_offload")
            and self._asked(o, "use_amsgrad") == self._step.amsgrad
            and self._step.kinds()[1] == self._kinds
            and not self._asked(o, "use_parallel")
            and not any(getattr(o, "ps_parameters", ()))
            and all(isinstance(c, Tensor) and c.dtype == mindspore.float32 and c.size == 1 for c in constants)
            and all(tuple(p.shape for p in column) == self.shapes for column in state)
            and all(p.dtype == mindspore.float32 for column in state for p in column)
        )

    def _pays(self) -> bool:
        """Return whether a call takes no longer than the original's operators."""
        count, total = len(self._sizes), sum(self._sizes)
        return (self._slow and total >= SLOW) or (count >= FEW and (self._slow or total <= LARGE * count))

    def __call__(self, addresses: NDArray[np.int64]) -> None:
        """Update the Parameters; for the inputs at these addresses see `call`."""
        count, start = len(self._sizes), self._numbers
        written = addresses[start : start + self._columns * count]
        if written.tobytes() != self._written:
            self._written = b""
            self._batch.place(written.reshape(self._columns, count).T)
            self._regions = Regions(written, np.tile(self._bytes, self._columns))
            self._written = written.tobytes()
        gradients = addresses[start + self._columns * count :]
        if self._regions.touch(addresses[:start], np.full(start, 4)).size:
            self._one_by_one(addresses)
        elif self._batch.reads_from(gradients) or not self._batch.read_from(gradients).size:
            whole([self._batch.update(*self._coefficients(addresses))])
        else:
            self._one_by_one(addresses)

    def _one_by_one(self, addresses: NDArray[np.int64]) -> None:
        """Update one Parameter after the other, as the original does, where one reads what another writes."""
        gradients: list[NDArray[np.float32]] = []

        def update(i: int) -> list[Operation]:
            kind = self._own.index(self._kinds[i])
            columns = addresses[self._numbers :].reshape(self._columns + 1, -1)[:, i]
            batch = self._step.batch(self._forms, self._kinds, [i], [self._kinds[i]])
            batch.place(columns[:-1].reshape(1, -1))
            gradients.append(view(int(columns[-1]), (self._sizes[i],), np.dtype(np.float32)).copy())
            batch.read_from(np.array([gradients[-1].ctypes.data], np.int64))
            coefficients, programs = self._coefficients(addresses)
            return [batch.update(coefficients[kind : kind + 1], programs[:1])]

        whole([later(partial(update, i)) for i in range(len(self._sizes))])

    def _coefficients(self, addresses: NDArray[np.int64]) -> tuple[list[kernel.Coefficients], list[Stages]]:
        """Return the scalars of this step for each kind, and the stages before its update, of which there are none."""
        rates = len(self.firsts)
        numbers = numbers_at(addresses[: self._numbers].tolist())
        scalars = self._scalars_of(numbers[-3:])
        powers = (numbers[rates], numbers[rates + 1]) if self._powers else None
        decays = numbers[-3 - rates : -3] if self._decays else [None] * rates
        found = [
            scalars.at(rate, powers=powers, decay=decay) for rate, decay in zip(numbers[:rates], decays, strict=True)
        ]
        return found, [()] * rates

    def _scalars_of(self, constants: list[float]) -> kernel.Scalars:
        """Return the scalars of all steps with these betas and this epsilon."""
        if self._scalars is None or self._constants != constants:
            self._scalars, self._constants = self._step.scalars(mindspore.float32, constants), constants
        return self._scalars


class Joined:
    """Share what drop-ins need to call a `JointUpdate` in a graph; MindSpore's compiler reads `_fit`."""

    map_: Any
    # It updates all Parameters at once; the rest says how a graph calls it.
    _joint: JointUpdate | None = None
    _joint_number: int = 0
    _firsts: tuple[int, ...] = ()
    _shapes: tuple[tuple[int, ...], ...] = ()
    _call: Any = None
    _cell: Any = None
    # The result for every Parameter after the first: made in a graph, it would take long to compile.
    _others: tuple[bool, ...] = ()

    def _join(self, original: type, part: str, *, slow: bool = False) -> None:
        """Take note of how a graph calls what updates all Parameters at once; see `JointUpdate` for the arguments."""
        joint = JointUpdate(self, original, part, slow=slow)
        if joint.call is not None:
            self._joint, self._firsts, self._shapes = joint, joint.firsts, joint.shapes
            self._call, self._cell, self._joint_number = joint.call.operator, joint.call.cell, joint.call.number
            self._others = (True,) * (len(joint.shapes) - 1)

    def _fit(self, numbers: Any, gradients: Any) -> Any:
        """Return whether numbers of a step are single ones, and dense gradients have the shapes of their Parameters."""
        for number in numbers:
            if number.size != 1:
                return False
        shapes = self.map_(shape_of, gradients)
        if F.isconstant(shapes):
            return have_shapes(shapes, self._shapes)
        return False

"""Update all Parameters of a drop-in for nn.Adam at once, where a graph asks for it.

nn.Adam's graph has an operator for each Parameter. Each takes tens of microseconds to start, and a large one is done
piece by piece by threads that wait for one another. Here one operator hands all Parameters to the compiled update.
"""

from __future__ import annotations

import weakref
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops
from numpy.typing import NDArray

from adamcompat import executors, kernel
from adamcompat.executors.launch import threads_for
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.batch import Batch
from adamcompat.mindspore.graph_call import GraphCall, graph_call, numbers_at
from adamcompat.mindspore.memory import view
from adamcompat.mindspore.overrides import parts_of
from adamcompat.whole import whole

_FACTS = MAPPING.dialects["mindspore"]
_NUMERICS = MAPPING.numerics[_FACTS.numerics]
# Of Parameters with more elements than that on average, it does not matter how long an operator takes to start.
LARGE = 1 << 20
# Among the inputs, after the learning rates: the powers of the betas, the betas themselves and epsilon.
_NUMBERS = 5

shape_of = ops.MultitypeFuncGraph("shape_of")


@shape_of.register("Tensor")  # type: ignore[untyped-decorator]
def _shape_of(gradient: Any) -> Any:
    return gradient.shape


@ops.constexpr(check=False)  # type: ignore[untyped-decorator]
def have_shapes(shapes: Any, wanted: Any) -> bool:
    """Return whether gradients have the shapes of their Parameters; MindSpore asks while it compiles."""
    return bool(shapes == wanted)


def _kinds(optimizer: Any) -> list[int]:
    """Return the kind of each Parameter; those of one kind have the same learning rate."""
    o, places = optimizer, dict[int, int]()
    rates = [o.learning_rate[i] if o.is_group_lr else o.learning_rate for i in range(len(o.parameters))]
    return [places.setdefault(id(rate), len(places)) for rate in rates]


class JointUpdate:
    """Update the Parameters of one optimizer in the memory that a graph names.

    Args:
        optimizer: a drop-in for nn.Adam, whose Parameters are float32.

    Attributes:
        firsts: the places of Parameters with different learning rates; one of each.
        shapes: of the Parameters.
        call: the operator for a graph, or None where graphs cannot call it.
    """

    def __init__(self, optimizer: Any) -> None:
        o, self._optimizer = optimizer, weakref.ref(optimizer)
        self._kinds = kinds = _kinds(o)
        self.firsts = tuple(kinds.index(kind) for kind in sorted(set(kinds)))
        self.shapes = tuple(parameter.shape for parameter in o.parameters)
        self._sizes = [parameter.size for parameter in o.parameters]
        self._amsgrad: bool = o.use_amsgrad
        self._nesterov: bool = o.use_nesterov and not o.use_amsgrad
        self._batch = Batch(_NUMERICS, mindspore.float32, self._sizes, kinds, amsgrad=self._amsgrad)
        self._constants: list[float] = []
        self._scalars: kernel.Scalars | None = None
        self._written = b""
        count = len(self._sizes)
        self._columns = 4 if self._amsgrad else 3
        self.call: GraphCall | None = graph_call(self, len(self.firsts) + _NUMBERS, self._columns * count, count)

    def ready(self) -> bool:
        """Return whether a graph may call it: nothing that it stands for is replaced, and there is compiled code.

        Raises:
            ValueError: the environment asks for no whole number of threads.
        """
        o, part = self._optimizer(), parts_of(nn.Adam, "_apply_adam")
        if o is None or executors.compiled() is None or sum(self._sizes) > LARGE * len(self._sizes):
            return False
        if not o._overrides.of(o, o._made).isdisjoint(part.methods | part.attributes):
            return False
        threads_for(sum(self._sizes))
        constants = (o.beta1, o.beta2, o.eps)
        state = [o.parameters, o.moment1, o.moment2, *([o.vhat] if self._amsgrad else [])]
        return (
            not o.use_offload
            and o.use_amsgrad == self._amsgrad
            and _kinds(o) == self._kinds
            and not any(getattr(o, "ps_parameters", ()))
            and all(isinstance(c, Tensor) and c.dtype == mindspore.float32 and c.size == 1 for c in constants)
            and all(tuple(p.shape for p in column) == self.shapes for column in state)
            and all(p.dtype == mindspore.float32 for column in state for p in column)
        )

    def __call__(self, addresses: NDArray[np.int64]) -> None:
        """Update the Parameters.

        Args:
            addresses: of the different learning rates, of the powers of the betas after this step, of the betas and of
                epsilon; of all Parameters, of their first and second moments and, for AMSGrad, of the maxima; and of
                the gradients.
        """
        count, rates = len(self._sizes), len(self.firsts)
        start = rates + _NUMBERS
        numbers = numbers_at(addresses[:start].tolist())
        scalars = self._scalars_of(numbers[rates + 2 :])
        written = addresses[start : start + self._columns * count]
        if written.tobytes() != self._written:
            self._written = b""
            self._batch.place(written.reshape(self._columns, count).T)
            self._written = written.tobytes()
        gradients, copies = addresses[start + self._columns * count :], []
        if not self._batch.reads_from(gradients):
            overlapping = self._batch.read_from(gradients)
            if overlapping.size:
                gradients = gradients.copy()
                for i in overlapping.tolist():
                    copies.append(view(int(gradients[i]), (self._sizes[i],), np.dtype(np.float32)).copy())
                    gradients[i] = copies[-1].ctypes.data
                self._batch.read_from(gradients)
        powers = numbers[rates], numbers[rates + 1]
        coefficients = [scalars.at(rate, powers=powers, decay=None) for rate in numbers[:rates]]
        whole([self._batch.update(coefficients, [()] * rates)])
        del copies

    def _scalars_of(self, constants: list[float]) -> kernel.Scalars:
        """Return the scalars of all steps with these betas and this epsilon."""
        if self._scalars is None or self._constants != constants:
            beta1, beta2, epsilon = constants
            self._scalars = kernel.Scalars(
                _NUMERICS,
                np.dtype(np.float32),
                beta1=beta1,
                beta2=beta2,
                epsilon=epsilon,
                nesterov=self._nesterov,
                form=_FACTS.semantics.form,
            )
            self._constants = constants
        return self._scalars

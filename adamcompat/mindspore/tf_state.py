"""The hyperparameters and the state of the classes with TensorFlow's call on MindSpore's Parameters."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import mindspore
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn
from numpy.typing import NDArray

from adamcompat.hyperparameters import exception, named_numerics, resolve, say_borrowed, unknown_keyword
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.batch import STORAGE, store, widen
from adamcompat.mindspore.engine_call import EngineStep
from adamcompat.mindspore.memory import Views, addresses, settle, view
from adamcompat.mindspore.splitting import TEAM, shares
from adamcompat.mindspore.tf_arguments import SEEN, of_step, plain, raw
from adamcompat.mindspore.tf_graph import State
from adamcompat.numpy.arrays import Parameter as Named
from adamcompat.numpy.engine import Engine
from adamcompat.numpy.trained import Trained


def _key(parameter: Any) -> str:
    """Return the name under which a Cell keeps a Parameter; dots are not allowed there."""
    return str(parameter.name).replace(".", "_")


class TFStyleState(nn.Cell):  # type: ignore[misc]
    """Keep hyperparameters and state, as Parameters whose memory the engine works in."""

    _adapter: ClassVar[str]
    # Names of a slot's arrays by the role that the mapping gives them.
    _ROLES: ClassVar[dict[str, str]] = {
        "first_moment": "m",
        "second_moment": "v",
        "maximum_second_moment": "vhat",
        "average": "average",
        "accumulated_gradient": "accumulated",
    }

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, numerics: str) -> None:
        super().__init__(auto_prefix=False)
        adapter = MAPPING.adapter("mindspore", self._adapter)
        self._dialect: Dialect = MAPPING.dialects[adapter.dialect]
        rates = {fact.name for fact in self._dialect.parameters if fact.type == "learning_rate"}
        rates |= {fact.name for _, fact in MAPPING.borrowed(adapter) if fact.type == "learning_rate"}
        asked = [value for name, value in {**given, **extra}.items() if name in rates and value is not None]
        given, extra = (
            {name: plain(value) if name in rates else value for name, value in arguments.items()}
            for arguments in (given, extra)
        )
        self._numerics = named_numerics(numerics, adapter)
        self._hyper = resolve(adapter, given, extra)
        # An old name that was given wins; without any, `resolve` has raised.
        self._asked: Any = asked[-1]
        self._given = {name: value for name, value in self._hyper.native.items() if name in given or name in extra}
        wrong = self._error("wrong_gradients")
        self._engine = Engine(self._dialect, self._numerics, self._hyper, np.zeros((), np.int64), wrong)
        self._engine.shares, self._engine.write_back = shares, self._write_back
        self._engine.team = TEAM
        self._trained = Trained(self._engine)
        say_borrowed(adapter, extra, 4)
        self._variables: list[Any] = []
        self._named: dict[int, Named] = {}
        self._wide: dict[int, NDArray[np.float32]] = {}
        self._state: State | None = None
        self._found: bytes | None = None
        self._views = Views(SEEN)
        self._graph: Any = None
        self._compiled: Any = None
        self._parameters_of_graph: tuple[Any, ...] = ()
        self._lock = threading.RLock()
        self._is_built = False
        schedule = self._hyper.schedules["learning_rate"]
        singles = {"step": Tensor(0, mindspore.int64)}
        if schedule.constant:
            singles["learning_rate"] = Tensor(schedule.at(0), mindspore.float64)
        made = {
            role: Parameter(value, name=self._dialect.slot(role).template, requires_grad=False)
            for role, value in singles.items()
        }
        self._iterations = made["step"]
        self._rate = made.get("learning_rate")
        self._starting = True

    def __getattr__(self, name: str) -> Any:
        hyper = self.__dict__.get("_hyper")
        if hyper is not None and not name.startswith("_") and name in hyper.native:
            return hyper.native[name]
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or not self.__dict__.get("_starting"):
            super().__setattr__(name, value)
        elif isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        elif name in self._hyper.native:
            raise AttributeError(
                f"{name!r} is part of compiled graphs and cannot change, as learning_rate can; make a new optimizer"
            )
        else:
            if any(dialect.find(name) for dialect in MAPPING.dialects.values()):
                adapter = MAPPING.adapter("mindspore", self._adapter)
                raise AttributeError(f"cannot set {name!r}: {unknown_keyword(name, adapter)}")
            super().__setattr__(name, value)

    # State.

    @property
    def built(self) -> bool:
        """Return whether the optimizer has state, and so knows its variables."""
        return self._is_built

    @property
    def iterations(self) -> int:
        """Number of updates so far; with gradient accumulation, of completed ones."""
        return int(self._iterations.asnumpy()) // (self._engine.program.every or 1)

    @iterations.setter
    def iterations(self, value: int) -> None:
        self._locate()
        self._trained.count(value)

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a float64 Parameter where it is a number, else what was given.

        Assigning a number replaces it from the next step on, in compiled functions too.
        """
        return self._asked if self._rate is None else self._rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if self._rate is None or callable(value) or np.ndim(value):
            raise TypeError(
                "learning_rate was made a schedule, or is to become one, which compiled graphs would not see; make a "
                "new optimizer"
            )
        self._locate()
        self._engine.set_learning_rate(value)

    @property
    def variables(self) -> list[Parameter]:
        """The state in Keras's order: iteration, learning rate (if constant), then the slots."""
        found = [self._iterations] + ([] if self._rate is None else [self._rate])
        state = self._state
        if state is None:
            return found
        found += state.powers
        for block in self._dialect.slots:
            columns = [getattr(state, self._ROLES[slot.role]) for slot in block if slot.role in self._ROLES]
            for entries in zip(*[column for column in columns if column], strict=True):
                found += entries
        return found

    @property
    def trainable_parameters(self) -> ParameterTuple:
        """The Parameters that are updated, for value_and_grad."""
        return ParameterTuple(self._variables)

    def build(self, variables: Iterable[Any]) -> None:
        """Create the state for `variables`; the first `apply_gradients` in PYNATIVE mode does it by itself.

        Args:
            variables: float16, bfloat16, float32 or float64 Parameters.

        Raises:
            TypeError, ValueError: a variable cannot be updated, or is given twice.
        """
        if self._is_built:
            return
        chosen = list(variables)
        for position, variable in enumerate(chosen):
            if not isinstance(variable, Parameter):
                raise self._error("wrong_type")(
                    f"variable {position} must be a mindspore.Parameter, got {type(variable).__name__}; wrap a Tensor "
                    f"as Parameter(tensor, name='...')"
                )
            if variable.dtype not in STORAGE:
                raise self._error("wrong_type")(
                    f"{variable.name!r} is {variable.dtype}, but only {', '.join(map(str, STORAGE))} can be updated"
                )
            if variable.has_init:
                variable.init_data()
        if len({id(variable) for variable in chosen}) < len(chosen):
            raise self._error("repeated_parameter")("a Parameter is given twice; add its gradients up first")
        settle()
        named = [Named(self._array(variable), name=variable.name) for variable in chosen]
        excluded, names = self._excluded
        wanted = {id(variable) for variable in excluded}
        self._trained.exclude(
            [array for array, variable in zip(named, chosen, strict=True) if id(variable) in wanted], names
        )
        self._trained.build(named)
        self._variables = chosen
        self._named = {id(variable): array for variable, array in zip(chosen, named, strict=True)}
        self._create(chosen)
        self._is_built = True

    _excluded: tuple[list[Any], list[str]] = ([], [])

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Name variables that weight decay leaves alone; call it before the first step.

        Args:
            var_list: the Parameters themselves; None stands for none.
            var_names: regular expressions that are searched for in the names of Parameters; None stands for none.

        Raises:
            ValueError: the optimizer is already built.
        """
        if self._is_built:
            raise ValueError("exclude_from_weight_decay() must be called before the first step, or before build()")
        object.__setattr__(self, "_excluded", (list(var_list or ()), list(var_names or ())))

    def _error(self, kind: str) -> type[Exception]:
        return exception(getattr(self._dialect.errors, kind))

    def _array(self, tensor: Any) -> Any:
        """Return the memory of a Tensor as an array; for bfloat16 a copy in float32."""
        if not tensor.is_contiguous():
            tensor.set_data(tensor.contiguous())
        array = raw(tensor)
        if tensor.dtype == mindspore.bfloat16:
            return self._wide.setdefault(id(tensor), widen(array.reshape(-1)).reshape(tensor.shape))
        return array

    def _create(self, variables: Sequence[Any]) -> None:
        """Make the Parameters of the state, and let the engine work in their memory."""
        columns: dict[str, tuple[Parameter, ...]] = {}
        for role, name in self._ROLES.items():
            arrays = [getattr(slot, name) for slot in self._engine.slots]
            columns[name] = tuple(
                Parameter(Tensor(array), name=self._dialect.slot(role).name_for(variable.name), requires_grad=False)
                for array, variable in zip(arrays, variables, strict=True)
                if array is not None
            )
        kept = self._engine.powers
        powers = () if kept is None else (Parameter(Tensor(kept), name="beta_powers", requires_grad=False),)
        rate = self._rate if self._rate is not None else Parameter(Tensor(0.0, mindspore.float64), name="unused")
        state = State(self._iterations, rate, powers, **columns)
        object.__setattr__(self, "_state", state)
        for column in (powers, *columns.values()):
            for parameter in column:
                self.insert_param_to_cell(_key(parameter), parameter)
        schedule = self._hyper.schedules["learning_rate"]
        given: Any = None
        if schedule.listed is not None:
            given = Tensor(np.array(schedule.listed))
        elif not schedule.constant:
            given = of_step(self._asked)
        graph = EngineStep(
            self._engine.program,
            self._numerics,
            given,
            variables,
            [slot.decays for slot in self._engine.slots],
            state,
        )
        graph.connect(self, constant=self._rate is not None)
        # Neither a child nor a list of own Parameters: what is trained belongs to the network.
        parameters = tuple(variables)
        object.__setattr__(self, "_graph", graph)
        object.__setattr__(self, "_parameters_of_graph", parameters)

        # One by one: a tuple of Tensors would be a constant, and every step compiled anew.
        def run(*gradients: Any) -> Any:
            return graph(gradients, parameters)

        self._compiled = mindspore.jit(run)

    def _forget(self) -> None:
        """Undo build(), so that a step that failed does not decide which variables there are."""
        assert self._state is not None
        for parameter in self.variables[1 if self._rate is None else 2 :]:
            self._params.pop(_key(parameter))
        self._trained.forget()
        self._wide.clear()
        self._variables, self._named, self._found, self._shapes, self._is_built = [], {}, None, None, False
        object.__setattr__(self, "_state", None)

    def _locate(self) -> None:
        """Look up where everything lies now: loading a value may move it.

        Raises:
            ValueError: something has another shape or dtype than it had.
        """
        settle()
        state = self._state
        columns = [] if state is None else [getattr(state, name) for name in self._ROLES.values()]
        powers = () if state is None else state.powers
        tensors = self._tensors()
        found = addresses(tensors).tobytes()
        if found != self._found:
            self._check_state(tensors)
            iterations = self._array(self._iterations).reshape(())
            rate = np.zeros(()) if self._rate is None else self._array(self._rate).reshape(())
            self._engine.iterations, self._engine.rate = iterations, rate
            if powers:
                self._engine.powers = self._array(powers[0])
            kept = []
            for i, variable in enumerate(self._variables):
                arrays = {
                    name: self._array(column[i])
                    for name, column in zip(self._ROLES.values(), columns, strict=True)
                    if column
                }
                kept.append({"array": self._array(variable), **arrays})
            self._adopt(kept)
            self._found = addresses(tensors).tobytes()

    def _tensors(self) -> list[Any]:
        """Return all that a step writes, and the learning rate, in the order in which a graph hands them over."""
        singles, state = [self._iterations] + ([] if self._rate is None else [self._rate]), self._state
        if state is None:
            return [*singles, *self._variables]
        columns = [getattr(state, name) for name in self._ROLES.values()]
        return [*singles, *state.powers, *self._variables, *itertools.chain.from_iterable(columns)]

    def _may_be_called(self) -> bool:
        """Return whether a graph may have the engine make its steps; copies, of bfloat16, cannot be placed anew.

        Raises:
            ValueError: something has another shape or dtype than it had.
        """
        self._check_state(self._tensors())
        return self._is_built and not self._wide

    def _place(self, found: NDArray[np.int64]) -> None:
        """Work in the memory at these addresses, which a graph names; MindSpore cannot be asked while a graph runs.

        Args:
            found: one address for each item of `_tensors`.
        """
        if found.tobytes() == self._found:
            return
        engine, left = self._engine, iter(found.tolist())

        def there(array: NDArray[Any]) -> NDArray[Any]:
            return view(next(left), array.shape, array.dtype)

        self._found = None
        engine.iterations = there(engine.iterations)
        if self._rate is not None:
            engine.rate = there(engine.rate)
        if engine.powers is not None:
            engine.powers = there(engine.powers)
        kept: list[dict[str, Any]] = [{"array": there(slot.array)} for slot in engine.slots]
        for name in self._ROLES.values():
            for slot, arrays in zip(engine.slots, kept, strict=True):
                array = getattr(slot, name)
                if array is not None:
                    arrays[name] = there(array)
        self._adopt(kept)
        self._found = found.tobytes()

    def _make(self, gradients: list[NDArray[Any]], rate: float | None) -> None:
        """Make one step in the memory that was named last.

        Args:
            gradients: one array for each variable, in the order of `build`.
            rate: the learning rate; None where the engine knows it.
        """
        self._engine.given_rate = rate
        try:
            self._trained.apply(list(gradients), None, nullcontext)
        finally:
            self._engine.given_rate = None

    def _adopt(self, arrays: Sequence[dict[str, Any]]) -> None:
        """Work on other memory of the same shapes from here on."""
        for slot, variable, kept in zip(self._engine.slots, self._trained.variables, arrays, strict=True):
            for name, array in kept.items():
                setattr(slot, name, array)
            assert isinstance(variable, Named)
            variable.data = slot.array
        self._trained.moved()

    def _check_state(self, tensors: Sequence[Any]) -> None:
        """Refuse state that does not fit: memory is written wherever an address says.

        Raises:
            ValueError: something has another shape or dtype than it had.
        """
        now = [(tensor.shape, tensor.dtype) for tensor in tensors]
        if self._state is None:
            return
        if self._shapes is None or len(self._shapes) != len(now):
            object.__setattr__(self, "_shapes", now)
        for tensor, one, other in zip(tensors, now, self._shapes or now, strict=True):
            if one != other:
                raise ValueError(
                    f"{tensor.name!r} now has shape {one[0]} and dtype {one[1]}, but had {other[0]} and {other[1]} "
                    f"when the optimizer was built; load state of the same network, or make a new optimizer"
                )

    _shapes: list[Any] | None = None

    def _bfloat16(self) -> list[Any]:
        """Return the Parameters that are updated in copies."""
        return [variable for variable in self._variables if variable.dtype == mindspore.bfloat16] if self._wide else []

    def _write_back(self) -> None:
        """Write the copies where they are from."""
        for variable in self._bfloat16():
            store(self._wide[id(variable)].reshape(-1), raw(variable).reshape(-1))

    def get_config(self) -> dict[str, Any]:
        """Return the hyperparameters that were given, the learning rate and the numerics, under their native names.

        `from_config` makes an equal optimizer of them.
        """
        fact = self._dialect.named("learning_rate")
        assert fact is not None
        rate = self._asked if self._rate is None else float(self._rate.asnumpy())
        config = {name: value for name, value in self._hyper.native.items() if name in self._given}
        return config | {fact.name: rate, "numerics": self._numerics.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return an optimizer with the hyperparameters of `get_config`'s dictionary; it starts without state."""
        return cls(**config)

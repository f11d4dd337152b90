"""TensorFlow's calling convention on MindSpore's Parameters: ``apply_gradients(zip(gradients, parameters))``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from mindspore import Parameter, context, ops

from adamcompat.mindspore.batch import widen
from adamcompat.mindspore.memory import settle
from adamcompat.mindspore.tf_arguments import fitting, raw, seen
from adamcompat.mindspore.tf_graph import own_dtype
from adamcompat.mindspore.tf_state import TFStyleState
from adamcompat.numpy.arrays import Parameter as Named
from adamcompat.numpy.arrays import RowSparse
from adamcompat.pairs import split


def _in_graphs(graph: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator: MindSpore compiles the source of `graph` where Python runs the decorated method."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        # The compiler reads source as inspect.getsource does, which looks behind wrappers.
        method.__wrapped__ = graph  # type: ignore[attr-defined]
        return method

    return decorate


class ApplyGradientsAdam(TFStyleState):
    """Base of the adapters that are called as TensorFlow's optimizers are.

    In PYNATIVE mode on a CPU a step runs the compiled update of this package on the Parameters' own
    memory. Functions under ``mindspore.jit`` and Cells in GRAPH mode call it there, or compile its formulas.
    """

    def _apply_gradients_in_graph(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        if not self._is_built:
            raise ValueError("a graph cannot create the state of an optimizer: call build(parameters) before")
        pairs = tuple(grads_and_vars)
        if len(pairs) != self._graph.count:
            raise ValueError("in a graph, pass one gradient for each Parameter of build(), in its order")
        gradients, variables = self._graph.over(self._split_in_graph, pairs)
        self._graph(gradients, variables)
        return self._iterations

    def _split_in_graph(self, part: Any, pairs: Any) -> Any:
        """Return the gradients and the Parameters of some pairs.

        Args:
            part: the places of these pairs.
            pairs: a gradient and a Parameter each, in the order of `build`.

        Raises:
            ValueError: a Parameter has another shape than that of its place, or a gradient is None.
        """
        gradients: Any = ()
        variables: Any = ()
        for i in part:
            if pairs[i][1].shape != self._graph.shapes[i]:
                raise ValueError("in a graph, pass the Parameters in the order of build()")
            if pairs[i][0] is None:
                raise ValueError("in a graph, pass zeros where a Parameter has no gradient")
            gradients += (pairs[i][0],)
            variables += (pairs[i][1],)
        return gradients, variables

    @_in_graphs(_apply_gradients_in_graph)
    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> int:
        """Make one step.

        Args:
            grads_and_vars: pairs of a gradient (Tensor, RowTensor, or None for "has none") and the
                Parameter that it belongs to, which is updated in place. In a compiled function: all
                Parameters, in the order of `build`.

        Returns:
            The number of times that the optimizer has been called.

        Raises:
            ValueError: no gradient at all, an unknown Parameter, or a gradient of the wrong shape. Then
                nothing has changed.
        """
        gradients, variables = split(grads_and_vars, self._error("wrong_gradients"))
        self.apply(gradients, variables)
        return int(self._iterations.asnumpy())

    def _apply_in_graph(self, grads: Any, trainable_variables: Any = None) -> Any:
        if not self._is_built:
            raise ValueError("a graph cannot create the state of an optimizer: call build(parameters) before")
        variables = trainable_variables
        if trainable_variables is None:
            variables = self._parameters_of_graph
        if len(grads) != len(variables):
            raise ValueError("in a graph, pass one gradient for each Parameter of build(), in its order")
        return self._apply_gradients_in_graph(zip(grads, variables))  # noqa: B905 - MindSpore's zip has no strict

    @_in_graphs(_apply_in_graph)
    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Make one step.

        Args:
            grads: one gradient for each variable. An empty list makes no step.
            trainable_variables: the Parameters, in the same order; None stands for those that the optimizer was built
                with.

        Raises:
            ValueError: as `apply_gradients`; or the numbers of gradients and variables differ.
        """
        gradients = list(grads)
        if not gradients:
            return
        if trainable_variables is None and not self._is_built:
            raise self._error("wrong_gradients")(
                "apply() needs the variables until the optimizer is built; pass them, or call build(variables) first"
            )
        variables = self._variables if trainable_variables is None else list(trainable_variables)
        fresh = not self._is_built
        with self._lock:
            self.build(variables)
            try:
                if self._in_memory():
                    self._in_place(gradients, variables)
                else:
                    self._by_graph(gradients, variables)
            except BaseException:
                if fresh:
                    self._forget()
                raise

    def construct(self, grads: Any) -> Any:
        """Make one step in a graph, where the optimizer is called there.

        Args:
            grads: one gradient for each Parameter of `build`, in its order.
        """
        return self._graph(grads, self._parameters_of_graph)

    def __call__(self, grads: Any) -> None:
        """Make one step; the same as `apply`."""
        self.apply(grads)

    def _in_memory(self) -> bool:
        modes = context.get_context("device_target"), context.get_context("mode")
        return bool(modes == ("CPU", context.PYNATIVE_MODE))

    def _in_place(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Make one step in the memory of the Parameters."""
        self._locate()
        arrays = self._views.of(gradients)
        if arrays is None:
            gradients = [self._fitting(gradient, i, variables) for i, gradient in enumerate(gradients)]
            settle()
            arrays = [seen(gradient) for gradient in gradients]
        named = [self._named.get(id(variable)) or self._stranger(variable) for variable in variables]
        for variable in self._bfloat16():
            self._wide[id(variable)].reshape(-1)[:] = widen(raw(variable).reshape(-1))
        self._trained.apply(list(arrays), list(named), nullcontext)

    def _by_graph(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Make one step as a compiled graph.

        Args:
            gradients: one for each variable.
            variables: all Parameters of `build`, in any order.

        Raises:
            ValueError, TypeError (or what the dialect raises): a gradient is missing or does not fit, or a variable is
                unknown.
            RuntimeError: a list of learning rates has no value for this step.
        """
        places = {id(variable): i for i, variable in enumerate(self._variables)}
        ordered: list[Any] = [None] * len(places)
        if len(gradients) != len(variables):
            raise self._error("wrong_gradients")(
                f"got {len(gradients)} gradients for {len(variables)} variables; pass one for each"
            )
        for position, (gradient, variable) in enumerate(zip(gradients, variables, strict=True)):
            place = places.get(id(variable))
            if place is None:
                raise self._error("unknown_parameter")(
                    f"Unknown variable: {self._stranger(variable).name}. The optimizer keeps state for the "
                    f"{len(places)} variables of its first step; make a new optimizer for others"
                )
            fitting = self._fitting(gradient, position, variables)
            if isinstance(fitting, RowSparse):
                raise self._error("wrong_type")("in GRAPH mode rows are passed inside a compiled function only")
            if fitting is not None and fitting.shape != variable.shape:
                raise self._error("wrong_gradients")(
                    f"the gradient of {variable.name} has shape {fitting.shape}, but the parameter has shape "
                    f"{variable.shape}"
                )
            ordered[place] = fitting
        if any(gradient is None for gradient in ordered):
            missing = [v.name for v, gradient in zip(self._variables, ordered, strict=True) if gradient is None]
            raise self._error("wrong_gradients")(f"a graph needs a gradient for every variable; {missing} have none")
        schedule = self._hyper.schedules["learning_rate"]
        if schedule.listed is not None:
            schedule.at(int(self._iterations.asnumpy()) + self._engine.program.rate.start)
        self._compiled(*ordered)

    def _stranger(self, variable: Any) -> Named:
        """Return a stand-in for a Parameter that the engine does not know, so that the engine's error names it.

        Raises:
            TypeError: it is no Parameter.
        """
        if not isinstance(variable, Parameter):
            raise self._error("wrong_type")(f"a variable must be a mindspore.Parameter, got {type(variable).__name__}")
        return Named(np.zeros(variable.shape, own_dtype(variable.dtype)), name=variable.name)

    def _fitting(self, gradient: Any, position: int, variables: Sequence[Any]) -> Any:
        """Return a gradient in a form that can be read; see `fitting`.

        Args:
            gradient: as it was given.
            position: its place among the gradients.
            variables: the Parameters in the same order; there may be fewer.
        """
        name = variables[position].name if position < len(variables) else f"number {position}"
        return fitting(gradient, name, self._error("wrong_type"))

    def finalize_variable_values(self, var_list: Iterable[Any]) -> None:
        """Overwrite variables by their moving averages, as after training; without ``use_ema`` nothing happens.

        Args:
            var_list: the Parameters to overwrite.

        Raises:
            ValueError: a variable is unknown.
        """
        chosen = list(var_list)
        averages = {id(v): a for v, a in zip(self._variables, self._state.average if self._state else (), strict=False)}
        for variable in chosen:
            if id(variable) not in self._named:
                raise self._error("unknown_parameter")(f"Unknown variable: {self._stranger(variable).name}")
        for variable in chosen if averages else ():
            ops.assign(variable, averages[id(variable)].astype(variable.dtype))

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the loss scale, by which a step divides gradients."""
        scale = self._hyper["loss_scale"]
        return loss if scale == 1 else loss * scale

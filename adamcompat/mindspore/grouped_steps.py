"""Make the steps of classes whose groups hold every setting by the kernel, in both of MindSpore's modes.

`construct` is read by MindSpore's compiler: it is written in the Python that it understands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
from mindspore import Tensor, context, ops
from mindspore.experimental import optim

from adamcompat.mindspore.grouped import GroupedStep
from adamcompat.mindspore.grouped_graph import GroupGraph, graphs_of


class GroupedSteps(optim.Optimizer):  # type: ignore[misc]
    """Make the steps of an optimizer by the kernel: on the Parameters' memory, or as a graph."""

    parameters: Any
    _grouped: GroupedStep
    _known_to_graph: Any = None
    # In the order of the groups: their steps, where each begins and ends, and their Parameters.
    _graphs_of_groups: tuple[GroupGraph, ...] = ()
    _ends: tuple[int, ...] = ()
    _by_group: tuple[tuple[Any, ...], ...] = ()
    _compiled: Callable[..., Any] | None = None

    def _make_graphs(self) -> bool:
        """Make the graphs of the groups; anew where a setting has changed.

        Returns:
            Whether they are new.
        """
        settings = self._grouped.settings()
        rates = [group["lr"] for group in self.param_groups]
        known = self._known_to_graph
        if (
            known is not None
            and known[0] == settings
            and all(_same(*pair) for pair in zip(known[1], rates, strict=True))
        ):
            return False
        graphs = graphs_of(self, settings, self._grouped.numerics, self._grouped.before)
        parts = zip(self.group_start_id[:-1], self.group_start_id[1:], strict=True)
        for name, value in {
            # Neither children nor lists of own Parameters: what is trained belongs to the network.
            "_graphs_of_groups": graphs,
            "_ends": tuple(self.group_start_id),
            "_by_group": tuple(tuple(self.parameters[a:b]) for a, b in parts),
            "_known_to_graph": (settings, rates),
            "_compiled": None,
        }.items():
            object.__setattr__(self, name, value)
        return True

    def _construct_in_graph(self, gradients: Any) -> Any:
        """Make one step."""
        done: Any = ()
        for i in range(len(self._graphs_of_groups)):
            part = gradients[self._ends[i] : self._ends[i + 1]]
            done += (self._graphs_of_groups[i](part, self._by_group[i]),)
        done += (ops.assign_add(self.state_step, Tensor(1, self.state_step.dtype)),)
        return ops.depend(True, done)

    def _step_by_graph(self, gradients: Any) -> Any:
        """Make one step as a graph, where Python asks for it."""
        self._make_graphs()
        if self._compiled is None:
            # One by one: a tuple of Tensors would be a constant, and every step compiled anew.
            def run(*gradients: Any) -> Any:
                return self._construct_in_graph(gradients)

            object.__setattr__(self, "_compiled", mindspore.jit(run))
        assert self._compiled is not None
        return self._compiled(*gradients)

    def _follow(self) -> None:
        """Have the step compiled with the settings as they are now; call it before a step in GRAPH mode."""
        if context._get_mode() != context.PYNATIVE_MODE and self._make_graphs():
            self.compile_cache.clear()


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, (int, float)) and one == other)

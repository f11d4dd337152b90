"""The bases of the drop-ins for mindspore.mint.optim, whose originals run on Ascend alone.

Methods that make a step are read by MindSpore's compiler: they are written in the Python that it understands.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from mindspore import Tensor, context, mint

from adamcompat.mindspore import gradients as dense
from adamcompat.mindspore.batch import STORAGE
from adamcompat.mindspore.drop_in import in_place_of
from adamcompat.mindspore.grouped_drop_in import GroupedDropIn
from adamcompat.mindspore.grouped_steps import GroupedSteps
from adamcompat.mindspore.overrides import Overrides

# Where a group keeps the maxima of its second moments, if it was made with amsgrad.
_MAXIMA = "max_exp_avg_sq"


class MintSteps(GroupedDropIn, GroupedSteps):
    """Make the steps where the original's operators do not exist; elsewhere the original makes them."""

    _runtime: ClassVar[str] = "mindspore_mint"
    _dtypes = tuple(STORAGE)
    _of_the_device: ClassVar[Any]
    # Whether this device is one of the original's.
    _original_runs: bool = False

    def __init__(self, given: dict[str, Any], extra: dict[str, Any]) -> None:
        self._original_runs = context.get_context("device_target") in self._dialect().devices
        super().__init__(given, extra)

    def _finish(self) -> None:
        super()._finish()
        if not self._original_runs:
            self._make_graphs()

    def _say_ignored(self, group: Mapping[str, Any]) -> None:
        """Warn of what the original ignores, where it is this class that makes the step."""
        if not self._original_runs:
            super()._say_ignored(group)

    def _compare_settings(self) -> None:
        if self._original_runs:
            super()._compare_settings()
        else:
            self._follow()

    def _construct_anywhere(self, gradients: Any) -> Any:
        """Make one step."""
        if self._original_runs:
            return self._of_the_device(gradients)
        return self._construct_in_graph(gradients)

    def _step(self, gradients: Any) -> Any:
        """Make the step of `construct`, where Python calls it.

        Raises:
            RuntimeError: a part of the original's step is replaced, which does not run on this device.
        """
        if self._original_runs or not self._prepared:
            return self._of_the_device(gradients)
        replaced = sorted(self._overrides.of(self, self._made) - {"construct"})
        if replaced:
            raise RuntimeError(
                f"{', '.join(replaced)} of this {type(self).__name__} is replaced, so that the step is to be that of "
                f"{self._dialect().target}, which runs on {', '.join(self._dialect().devices)} and updates nothing here"
            )
        for group in self.param_groups:
            self._say_ignored(group)
        self._refuse_strangers(gradients)
        with self._lock:
            if self._grouped.ready():
                self._grouped(gradients)
            else:
                numbers = [False] * len(self.parameters)
                dense.check(gradients, self.parameters, self._dialect(), self._refusals, numbers)
                self._step_by_graph(gradients)
        return True

    def _settings(self, number: int) -> dict[str, Any]:
        """Return the settings of a group, without the learning rate.

        Raises:
            ValueError: amsgrad was set after the state was made.
        """
        found, name = super()._settings(number), self._named("amsgrad").name
        if found[name] and _MAXIMA not in self.param_groups[number]:
            raise self._error("out_of_range")(
                f"{name!r} of group {number} was set after its state was made: it decides which state is kept and "
                f"cannot change any more; make a new optimizer with it"
            )
        return found

    def _maxima(self) -> Any:
        """Return the maximum of each second moment; a group without amsgrad has none."""
        found: list[Any] = []
        for group in self.param_groups:
            found += group.get(_MAXIMA, [None] * len(group[self._named("parameters").name]))
        return found

    def _rate(self, number: int) -> float:
        """Return the learning rate of a group: the number or the Tensor that stands there."""
        rate = self.param_groups[number][self._named("learning_rate").name]
        return float(rate.asnumpy() if isinstance(rate, Tensor) else rate)


class MintAdam(MintSteps, mint.optim.Adam):  # type: ignore[misc]
    """Base of the drop-in for mint.optim.Adam; use `adamcompat.mindspore.mint.Adam`."""

    _of_the_device = inspect.unwrap(mint.optim.Adam.construct)
    _stock = mint.optim.Adam.construct
    construct = in_place_of(MintSteps._construct_anywhere)


class MintAdamW(MintSteps, mint.optim.AdamW):  # type: ignore[misc]
    """Base of the drop-in for mint.optim.AdamW; use `adamcompat.mindspore.mint.AdamW`."""

    _of_the_device = inspect.unwrap(mint.optim.AdamW.construct)
    _stock = mint.optim.AdamW.construct
    construct = in_place_of(MintSteps._construct_anywhere)


MintAdam._overrides = Overrides(MintAdam, "construct", mint.optim.Adam)
MintAdamW._overrides = Overrides(MintAdamW, "construct", mint.optim.AdamW)

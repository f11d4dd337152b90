"""Share what drop-ins whose groups hold every setting have in common."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import mindspore
import numpy as np
from mindspore import Tensor, context
from mindspore.experimental import optim

from adamcompat.groups import stray_keys
from adamcompat.hyperparameters import Adapted
from adamcompat.mapping.facts import Fact
from adamcompat.mapping.model import Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.arguments import explained
from adamcompat.mindspore.gradients import Refusals, rows_of
from adamcompat.mindspore.graphs import forget
from adamcompat.mindspore.grouped import GroupedStep
from adamcompat.mindspore.memory import addresses, settle
from adamcompat.mindspore.notes import say_once
from adamcompat.mindspore.overrides import Overrides

# What a step of the drop-in asks the optimizer for, so that it may change.
READ = (
    *("parameters", "param_groups", "group_start_id", "lrs", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    "state_step",
)


class GroupedDropIn(Adapted, optim.Optimizer):  # type: ignore[misc]
    """Share the step among the drop-ins for the classes of mindspore.experimental.optim and mindspore.mint.optim.

    In PYNATIVE mode on a CPU a step runs the compiled update of this package on the Parameters' own memory, where all
    of them have a dtype of `_dtypes` and neither a subclass nor the optimizer itself replaces a part of the step.
    Otherwise, and in a graph, the original makes it.
    """

    _refusals: ClassVar[Refusals] = Refusals(no_tuple=ValueError, no_tensor=ValueError, converts=False)
    # The construct that the compiler reads, and that makes the steps that are not made here.
    _stock: ClassVar[Any]
    _overrides: ClassVar[Overrides]
    # Dtypes of Parameters that are updated here.
    _dtypes: ClassVar[tuple[Any, ...]] = (mindspore.float32,)
    # Of the betas, where the kernel's own would be others.
    _powers: ClassVar[staticmethod[[float, float, int], tuple[Any, Any]] | None] = None
    # A subclass may leave out the __init__ of this class; then everything is the original's.
    _prepared: bool = False
    _made: Mapping[str, Any] = MappingProxyType({})
    _compiled_with: Any = None
    # Where everything lay that the original's last step wrote.
    _written: bytes | None = None

    def __init__(self, given: dict[str, Any], extra: dict[str, Any]) -> None:
        adapter = self._own_adapter()
        try:
            super().__init__(**given, **extra)
        except Exception as error:
            better = explained(error, adapter, given, extra)
            if better is None:
                raise
            raise better from error
        self._finish()

    def _finish(self) -> None:
        """Take note of what a step needs, when the original's own __init__ is done."""
        self._grouped = GroupedStep(
            self,
            self._own_adapter(),
            self._numerics(),
            self._refusals,
            dtypes=self._dtypes,
            powers=type(self)._powers,
        )
        self._lock = threading.RLock()
        self._made = self._overrides.made(self, READ)
        self._prepared = True

    @classmethod
    def _numerics(cls) -> Numerics:
        return MAPPING.numerics[cls._dialect().numerics]

    @classmethod
    def _named(cls, canonical: str) -> Fact:
        """Return the parameter of the class that has a canonical meaning, alone or as a part of a tuple."""
        return next(fact for fact in cls._dialect().parameters if canonical in [part.canonical for part in fact.parts])

    def add_param_group(self, param_group: Any) -> None:
        """Add a group, as the original does.

        Args:
            param_group: its Parameters under ``"params"``, and settings where they are not the optimizer's own.
        """
        number = len(self.param_groups)
        super().add_param_group(param_group)
        group = self.param_groups[number]
        for text in stray_keys(number, group, self._own_adapter()):
            say_once(text)
        # With a whole number of Python among these, or a flag that is neither, the originals update nothing.
        for fact in self._dialect().facts:
            if fact.type == "flag" and fact.name in group:
                group[fact.name] = bool(group[fact.name])
        for name in (self._named("epsilon").name, self._named("beta1").name):
            group[name] = _as_floats(group[name])
        self._say_ignored(group)

    def _say_ignored(self, group: Mapping[str, Any]) -> None:
        """Warn of settings of a group that the original ignores, and this class does not."""
        dialect = self._dialect()
        for name in dialect.ignored:
            if group.get(name):
                say_once(
                    f"{name}={group[name]!r}: {dialect.target} accepts that and ignores it without a word; "
                    f"{self._own_adapter().module}.{self._own_adapter().name} does it, so its numbers differ. "
                    f"Leave it out to get the numbers of {dialect.target}"
                )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make one step.

        Args:
            args: a tuple with one Tensor for each Parameter, in the order of `parameters`; or what an overridden
                construct takes.
            kwargs: the same by name.

        Returns:
            True.

        Raises:
            TypeError: a gradient is no Tensor, or has a dtype that would lose digits.
            ValueError: a gradient is None, or has the wrong shape; or a group's setting is out of range.
            RuntimeError: there are too few gradients. Where nothing of the step is replaced, nothing has changed then.
            The original's exceptions, where it makes the step.
        """
        if self._prepared and context._get_mode() != context.PYNATIVE_MODE:
            self._compare_settings()
        return super().__call__(*args, **kwargs)

    def _compare_settings(self) -> None:
        """Warn of settings that have changed where a graph keeps those that it saw first."""
        now = [
            {name: value for name, value in group.items() if name != self._named("parameters").name}
            for group in self.param_groups
        ]
        seen = [
            {name: value for name, value in group.items() if isinstance(value, (bool, float, tuple))} for group in now
        ]
        if self._compiled_with is None:
            self._compiled_with = seen
        elif self._compiled_with != seen:
            say_once(
                f"{type(self).__name__}: a setting in param_groups has changed, and in GRAPH mode the step keeps those "
                f"that it saw first, as with {self._dialect().target}: change learning rates by "
                f"ops.assign(optimizer.lrs[i], rate), or make a new optimizer"
            )

    def _step(self, gradients: Any) -> Any:
        """Make the step of `construct`, where Python calls it: MindSpore's compiler reads the original's."""
        if context._get_mode() != context.PYNATIVE_MODE or not self._prepared:
            return self._stock(gradients)
        # One may have been set since the group was added.
        for group in self.param_groups:
            self._say_ignored(group)
        # Who overrides construct has called this one.
        replaced = self._overrides.of(self, self._made) - {"construct"}
        self._refuse_strangers(gradients)
        if replaced or not isinstance(gradients, (tuple, list)) or not self._grouped.ready():
            return self._by_original(gradients)
        if len(gradients) > len(self.parameters):
            say_once(
                f"{type(self).__name__}: got {len(gradients)} gradients for {len(self.parameters)} Parameters; the "
                f"last are ignored, as by {self._dialect().target}"
            )
            gradients = gradients[: len(self.parameters)]
        with self._lock:
            self._grouped(gradients)
        return True

    def _by_original(self, gradients: Any) -> Any:
        """Make a step of the original, by graphs that write where everything lies."""
        written = [*self.parameters, *self.exp_avg, *self.exp_avg_sq, *self._maxima(), self.state_step]
        if self._written not in (None, addresses(written).tobytes()):
            forget(self)
        made = self._stock(gradients)
        settle()
        self._written = addresses(written).tobytes()
        return made

    def _refuse_strangers(self, gradients: Any) -> None:
        """Refuse gradients with which the original would make no step, without a word.

        Raises:
            ValueError, TypeError: a gradient is None, or no Tensor.
            RuntimeError: a group was added that there are no moments for.
        """
        if len(self.exp_avg) != len(self.parameters):
            raise RuntimeError(
                f"{self._dialect().target} keeps no moments for groups that are added after it was made, nor "
                f"does this class; make a new optimizer with all groups"
            )
        for parameter, gradient in zip(self.parameters, gradients, strict=False):
            if gradient is None:
                raise self._refusals.no_tensor(
                    f"the gradient of {parameter.name!r} is None; pass ops.zeros_like(parameter) if it has none"
                )
            if not isinstance(gradient, Tensor) and rows_of(gradient) is None:
                raise self._error("wrong_type")(
                    f"the gradient of {parameter.name!r} must be a Tensor, got {type(gradient).__name__}: wrap it in "
                    f"Tensor(...)"
                )

    def _maxima(self) -> Any:
        """Return the maximum of each second moment."""
        return self.max_exp_avg_sq

    def _settings(self, number: int) -> dict[str, Any]:
        """Return the settings of a group, without the learning rate."""
        group, left = self.param_groups[number], ("parameters", "learning_rate")
        facts = [fact for fact in self._dialect().parameters if fact.parts[0].canonical not in left]
        found = {fact.name: group[fact.name] for fact in facts}
        flags = {fact.name for fact in self._dialect().facts if fact.type == "flag"}
        return {name: bool(value) if name in flags else value for name, value in found.items()}

    def _rate(self, number: int) -> float:
        """Return the learning rate of a group: a float in the group counts, and nothing else that was put there."""
        name = self._named("learning_rate").name
        rate, own = self.param_groups[number][name], self.lrs[number]
        if isinstance(rate, float):
            return float(np.float32(rate))
        if rate is not own:
            say_once(
                f"{type(self).__name__}: {name!r} of group {number} was replaced by {rate!r}, which the step does not "
                f"read, as with {self._dialect().target}: assign a float, or use ops.assign(optimizer.lrs[i], rate)"
            )
        return float(own.asnumpy())


def _as_floats(value: Any) -> Any:
    """Return whole numbers of Python as floats, within a tuple too; return everything else as it is."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(_as_floats, value))
    return float(value) if type(value) in (int, bool) else value

"""MindSpore's calling convention on MindSpore's Parameters: ``optimizer(gradients)``."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar

import mindspore
from mindspore import context, nn

from adamcompat.corrections import wanted
from adamcompat.hyperparameters import exception
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.arguments import explained, ignored, listed
from adamcompat.mindspore.gradients import Refusals, check
from adamcompat.mindspore.graphs import Graphs
from adamcompat.mindspore.layout import Attributes
from adamcompat.mindspore.notes import say_left_out, say_once, without_deprecations
from adamcompat.mindspore.overrides import Overrides
from adamcompat.mindspore.pynative import PyNativeStep
from adamcompat.mindspore.schedules import check_length


def once(construct: Any) -> Any:
    """Return a construct under another name, so that compiling it does not compile the construct that overrides it.

    Args:
        construct: the original's, compiled or plain.
    """
    plain = inspect.unwrap(construct)
    named = FunctionType(plain.__code__, plain.__globals__, "_construct_once", plain.__defaults__, plain.__closure__)
    named.__module__ = plain.__module__
    return mindspore.jit(named)


def in_place_of(stock: Any) -> Callable[..., Any]:
    """Return the construct of a drop-in: Python runs ours, and MindSpore's compiler reads the original's.

    Args:
        stock: the original's construct.
    """

    def construct(self: Any, gradients: Any) -> Any:
        return self._step(gradients)

    return functools.wraps(stock)(construct)


class DropIn(nn.Optimizer):  # type: ignore[misc]
    """Share what the drop-ins of MindSpore's optimizers have in common.

    GRAPH mode and functions under ``mindspore.jit`` compile the original's own construct, and call the compiled update
    of this package there where that pays. In PYNATIVE mode on a CPU a
    step runs the compiled update of this package on the Parameters' own memory, unless a subclass or the optimizer
    itself replaces a part of the step; then, and on another device, it runs the original's.

    A drop-in extends this class and one that completes the original where its operators do not exist on a CPU, which
    has `_prepare` and `_prepared`.
    """

    _adapter: ClassVar[str]
    # What of the optimizer its step reads and writes, and what the original refuses as gradients.
    _attributes: ClassVar[Attributes]
    _refusals: ClassVar[Refusals]
    # The construct that the compiler reads, and the same under another name.
    _stock: ClassVar[Any]
    _construct_once: ClassVar[Any]
    # What belongs to a step, seen from the drop-in itself.
    _overrides: ClassVar[Overrides]
    # Dtypes of Parameters that are left to the original's operator in PYNATIVE mode, too.
    _operators_only: tuple[Any, ...] = ()
    # What of the step is replaced; known from the first step on, when the original would be compiled.
    _replaced: frozenset[str] | None = None
    _made: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, corrections: bool | None) -> None:
        adapter = MAPPING.adapter("mindspore", self._adapter)
        dialect = MAPPING.dialects[adapter.dialect]
        self.corrections = wanted(corrections, exception(dialect.errors.wrong_type))
        given = listed(given, dialect)
        try:
            with without_deprecations():
                super().__init__(**given, **extra)
        except Exception as error:
            better = explained(error, adapter, given, extra)
            if better is None:
                raise
            raise better from error
        for text in ignored(adapter, given | extra):
            say_once(text)
        self._prepare()
        self._dialect = dialect
        self._pynative = PyNativeStep(self, dialect, self._attributes, self._refusals)
        self._graphs = Graphs(self, self._attributes, lambda: say_left_out(dialect, "live_values"))
        self._lock = threading.RLock()
        self._made = self._overrides.made(self, self._attributes.read)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make one step.

        Args:
            args: a tuple with one Tensor for each Parameter, in the order of `parameters`; or what an overridden
                construct takes.
            kwargs: the same by name.

        Returns:
            One True for each Parameter.

        Raises:
            TypeError: a gradient is no Tensor, or has a dtype that would lose digits.
            ValueError: the shape of a gradient is wrong.
            RuntimeError: there are too few gradients or too many; or a list of learning rates has no value for this
                step. Where nothing of the step is replaced, nothing has changed then.
            What the original raises, where they are no tuple or one is missing.
        """
        if not self._prepared:
            return super().__call__(*args, **kwargs)
        replaced = self._replaced_names()
        if context._get_mode() == context.PYNATIVE_MODE:
            if "construct" in replaced:
                # It may be compiled as a whole, and never come to `_step`.
                with self._graphs.current():
                    return super().__call__(*args, **kwargs)
            return super().__call__(*args, **kwargs)
        if "construct" in replaced or [*("gradients" for _ in args), *kwargs] != ["gradients"]:
            # What does not fit the signature is MindSpore's to refuse.
            return super().__call__(*args, **kwargs)
        if args and isinstance(args[0], list):
            args = (tuple(args[0]),)
        self._check_rates(replaced, *args, **kwargs)
        try:
            return super().__call__(*args, **kwargs)
        except Exception as error:
            self._explain(error, *args, **kwargs)
            raise

    def _step(self, gradients: Any) -> Any:
        """Make the step of `construct`, where Python calls it: MindSpore's compiler reads the original's."""
        if context._get_mode() != context.PYNATIVE_MODE or not self._prepared:
            return self._stock(gradients)
        replaced = self._replaced_names()
        again = "construct" in replaced
        if len(replaced) == again and (not again or self.corrections) and self._pynative.ready():
            with self._lock:
                try:
                    return self._pynative(gradients)
                except Exception:
                    if self._pynative.failed():
                        self._replaced = None
                    raise
        if isinstance(gradients, list):
            gradients = tuple(gradients)
        self._check_rates(replaced, gradients)
        if again and not self.corrections:
            say_left_out(self._dialect, "construct_once")
        try:
            with self._graphs.current():
                return self._construct_once(gradients) if again and self.corrections else self._stock(gradients)
        except Exception as error:
            self._explain(error, gradients)
            raise

    def _replaced_names(self) -> frozenset[str]:
        """Return the replaced parts of the step, seen at the first step: later the original does not look."""
        if self._replaced is None:
            self._replaced = self._overrides.of(self, self._made)
        return self._replaced

    def _check_rates(self, replaced: frozenset[str], gradients: Any = None) -> None:
        """Refuse a step without a learning rate, which the original's graph would not survive.

        Raises:
            RuntimeError: there is none for this step.
            What is wrong with gradients, which the original finds first, when it compiles.
        """
        if self.dynamic_lr and replaced.isdisjoint(("construct", "get_lr")):
            rates = self.learning_rate if self.is_group_lr else [self.learning_rate]
            try:
                check_length(list(rates), int(self.global_step.asnumpy()[0]))
            except RuntimeError:
                self._check(gradients)
                raise

    def _check(self, gradients: Any) -> None:
        numbers = [self._refusals.converts or self.exec_weight_decay] * len(self.parameters)
        check(gradients, self.parameters, self._dialect, self._refusals, numbers)

    def _explain(self, error: Exception, gradients: Any = None) -> None:
        """Refuse gradients with which something is wrong, if that is why the original raised `error`.

        Args:
            error: the original's exception.
            gradients: as the optimizer was called with.

        Raises:
            An exception of the same type with a better text.
        """
        try:
            self._check(gradients)
        except type(error) as better:
            raise better from error
        except Exception:
            return

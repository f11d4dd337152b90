"""Look at one original from all sides."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from adamcompat.executors import VARIABLE
from adamcompat.mapping.facts import ParameterFact, TupleFact
from adamcompat.mapping.model import Errors
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify import experiment, meanings, models, probes, rounding, signatures
from adamcompat.verify.observation import REQUIRED, Observation, SlotSeen, Taken
from adamcompat.verify.original import Array, NoSuchParameterError, Original, refuses

# Numbers on either side of every limit that optimizers set.
_NUMBERS = (-1.0, -1e-9, 0.0, 1e-9, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 2.0, 1e6)
_INTEGERS = (-2, -1, 0, 1, 2, 3, 5)


@contextmanager
def _without_compiling() -> Iterator[None]:
    """Predict with NumPy: predictions are a few numbers each, and NumPy has them before Numba has compiled its code."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "numpy"
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def observe(original: Original) -> Observation:
    """Measure one original.

    Args:
        original: the class, and what can be done with it.

    Returns:
        What it takes, refuses, does and keeps. What could not be measured is listed with the reason.
    """
    with _without_compiling():
        return _Observer(original).observed()


class _Observer:
    def __init__(self, original: Original) -> None:
        self.original = original
        self.seen = Observation(original.dialect.name, original.framework, original.version)
        self.errors: dict[str, Counter[str]] = {name: Counter() for name in _KINDS}

    def observed(self) -> Observation:
        try:
            self.original.trajectory(self.original.native(experiment.BASE), *experiment.stream())
        except Exception as error:  # it may take other names by now, or not run here at all
            self.seen.failure = _reason(error)
        self._signature()
        if self.seen.failure:
            return self.seen
        self._values()
        self._rates()
        self._schedules()
        self._mistakes()
        self._stages()
        for name, probe in probes.SEMANTICS.items():
            self._measure(f"semantics.{name}", self._semantics, name, probe)
        self._measure("numerics", self._numerics)
        self._measure("slots", self._slots)
        self.seen.errors = {kind: tuple(name for name, _ in found.most_common()) for kind, found in self.errors.items()}
        return self.seen

    def _measure(self, path: str, action: Callable[..., None], *arguments: Any) -> None:
        """Run a probe; what stops it is the reason why a fact is not measured."""
        try:
            action(*arguments)
        except NoSuchParameterError as error:
            self.seen.unmeasured[path] = f"there is no parameter for {error}"
        except Exception as error:  # a framework may fail in any way
            self.seen.unmeasured[path] = _reason(error)

    def _semantics(self, name: str, probe: Callable[[Original], tuple[Any, ...]]) -> None:
        if name == "schedule_start" and "schedule" not in self.seen.rates:
            raise NoSuchParameterError("a schedule")
        self.seen.semantics[name] = probe(self.original)

    def _numerics(self) -> None:
        self.seen.numerics = rounding.numerics(self.original)

    def _signature(self) -> None:
        kind = self.original.kind
        self.seen.parameters, self.seen.kwargs = signatures.parameters(kind)
        self.seen.protocol = _protocol(kind)
        self.seen.keywords = signatures.keywords(kind)
        if not self.seen.failure:
            self.seen.keywords = tuple(taken for taken in self.seen.keywords if self._takes(taken))
        self.seen.groups = self.original.group_keys
        methods = {method.name for dialect in MAPPING.dialects.values() for method in dialect.methods}
        for method in sorted(methods):
            if hasattr(kind, method):
                taken, _ = signatures.parameters(kind, method)
                self.seen.methods[method] = tuple(argument.name for argument in taken)

    def _takes(self, keyword: Taken) -> bool:
        """Return whether a keyword is more than accepted with a warning."""
        weights, gradients = experiment.stream()
        base = self.original.native(experiment.BASE)
        for value in (0.3, experiment.halve, (experiment.halve,), True):
            try:
                with_it = self.original.trajectory(base | {keyword.name: value}, weights, gradients)
            except Exception:
                continue
            return value is True or not np.array_equal(with_it, self.original.trajectory(base, weights, gradients))
        return False

    def _options(self) -> Iterator[tuple[Taken, dict[str, Any]]]:
        """Yield everything that has a default, with what must be given beside it."""
        for taken in (*self.seen.parameters, *self.seen.keywords):
            if taken.default is not REQUIRED:
                fact = self.original.dialect.find(taken.name)
                meant = {part.canonical for part in fact.parts} if fact is not None else set()
                beside = {key: value for name in meant for key, value in experiment.COMPANIONS.get(name, {}).items()}
                own = {key: value for key, value in beside.items() if key not in meant}
                if any(name.startswith("ema_") for name in meant):
                    own |= {"use_ema": True}
                try:
                    yield taken, self.original.native(own)
                except NoSuchParameterError:
                    yield taken, {}

    def _values(self) -> None:
        """Note what kinds of values and which numbers pass, and what each parameter means."""
        for taken, beside in self._options():
            fact = self.original.dialect.find(taken.name)
            if isinstance(fact, TupleFact):
                self.seen.unmeasured[f"parameters.{taken.name}.canonical"] = "a tuple, whose elements are not probed"
                self.seen.unmeasured[f"keywords.{taken.name}.canonical"] = "a tuple, whose elements are not probed"
                continue
            rate = fact is not None and fact.canonical == "learning_rate"
            # One that is neither on nor off by default looks like anything.
            flag = isinstance(taken.default, bool) or (fact is not None and fact.type == "flag")
            kinds: dict[str, tuple[Any, ...]] = {"float": (0.3,), "int": (1, 2), "text": ("label",)}
            kinds |= {"function": (experiment.halve,), "functions": ((experiment.halve,),)}
            if flag:
                kinds = {"flag": (True,)}
            elif rate and self.original.growing is not None:
                kinds["schedule"] = (self.original.growing(0.01),)
            passed = [
                kind
                for kind, values in kinds.items()
                if any(self._refusal(beside | {taken.name: value}) is None for value in values)
            ]
            if flag and not passed:
                why = self._refusal(beside | {taken.name: True})
                for where in ("parameters", "keywords"):
                    path = f"{where}.{taken.name}.canonical"
                    self.seen.unmeasured[path] = f"refused here when it is set ({why})"
                continue
            self.seen.accepts[taken.name] = tuple(passed)
            if "float" in passed or "int" in passed:
                numbers: Iterable[float] = _NUMBERS if "float" in passed else _INTEGERS
                self.seen.refused[taken.name] = self._refused(taken, beside, numbers)
            if not flag and ("float" in passed or "int" in passed):
                self._measure(
                    f"read_as_default.{taken.name}", self._read_as_default, taken, beside, "float" not in passed
                )
            self._wrong_type(taken, beside, rate)
            self.seen.meanings[taken.name] = meanings.meaning(self.original, taken.name, flag)

    def _read_as_default(self, taken: Taken, beside: dict[str, Any], whole: bool) -> None:
        found = meanings.read_as_default(self.original, taken.name, taken.default, beside, 0 if whole else 0.0)
        if found:
            self.seen.read_as_default[taken.name] = found

    def _refused(self, taken: Taken, beside: dict[str, Any], numbers: Iterable[float]) -> dict[float, bool]:
        found = {}
        for number in numbers:
            if number == 0 and taken.default is None:
                continue  # it may be read as "not given"
            error = refuses(self.original.start, beside | {taken.name: number}, [np.ones(2, np.float32)])
            found[number] = error is not None
            if error is not None:
                self.errors["out_of_range"][error] += 1
        return found

    def _wrong_type(self, taken: Taken, beside: dict[str, Any], rate: bool) -> None:
        # Text is a list of characters to those who take lists.
        wrong: Any = 3 if isinstance(taken.default, str) else object() if rate else "label"
        if taken.stands_for is None and not (taken.default is None and self.seen.accepts[taken.name] == ("text",)):
            error = self._refusal(beside | {taken.name: wrong})
            if error is not None:
                self.errors["wrong_type"][error] += 1

    def _refusal(self, native: dict[str, Any]) -> str | None:
        """Return the exception that the original raises when it makes a step with these keywords, by name, or None."""
        return refuses(self.original.once, native)

    def _rates(self) -> None:
        """Note what is taken as a learning rate beside a number."""
        growing = self.original.growing
        values = {"list": [0.1, 0.2], "schedule": growing(0.01) if growing else None, "callable": lambda: 0.1}
        self.seen.rates = tuple(
            kind
            for kind, value in values.items()
            if value is not None and self._refusal(self.original.native({"learning_rate": value})) is None
        )

    def _schedules(self) -> None:
        """Note the arguments of what computes learning rates; a name is only a label."""
        for schedule in MAPPING.schedules.values():
            for dialect, computed in schedule.classes.items():
                if dialect == self.seen.dialect:
                    try:
                        found = self.original.resolve(computed.target)
                    except (AttributeError, ImportError):
                        continue
                    taken, _ = signatures.parameters(found) if isinstance(found, type) else signatures.function(found)
                    self.seen.schedules[computed.target] = tuple(one for one in taken if one.name != "name")

    def _mistakes(self) -> None:
        error = self._refusal({"no_such_keyword": 1})
        if error is not None:
            self.errors["unknown_keyword"][error] += 1
        for kind, ways in self.original.mistakes.items():
            for way in ways:
                error = refuses(way)
                if error is not None:
                    self.errors[kind][error] += 1
        switches = self._switches()
        facts = {name: self.original.dialect.find(name) for name in switches}
        labels = {name for name, fact in facts.items() if fact is not None and MAPPING.scope(fact) == "label"}
        self.seen.conflicts, raised = meanings.conflicts(self.original, switches, labels)
        self.errors["conflict"].update(raised)

    def _switches(self) -> dict[str, Any]:
        """Return the options that can be set beside others, each at a value at which it matters."""
        found: dict[str, Any] = {}
        for taken in (*self.seen.parameters, *self.seen.keywords):
            fact = self.original.dialect.find(taken.name)
            if isinstance(taken.default, bool) or getattr(fact, "type", None) == "flag":
                found[taken.name] = True
            elif isinstance(fact, ParameterFact) and fact.canonical in experiment.ACTIVE:
                found[taken.name] = experiment.ACTIVE[fact.canonical]
        return found

    def _stages(self) -> None:
        meant = {canonical for found in self.seen.meanings.values() if len(found) == 1 for canonical in found}
        if "decouples_decay" in meant:
            meant.add("decoupled_weight_decay")
        present = [stage for stage, canonical in probes.STAGES.items() if canonical in meant]
        if self.original.sparse:
            self._measure(
                "stages.deduplicate",
                lambda: present.insert(0, "deduplicate") if probes.deduplicates(self.original) else None,
            )
        else:
            self.seen.unmeasured["stages.deduplicate"] = "gradients of some rows only cannot be given here"
        if self.original.group_keys:
            self.seen.unmeasured["stages.centralize"] = "a key of a group, and without an operator on a CPU"
        self.seen.stages = (*present, "update")
        self._measure("stages", self._precedence)

    def _precedence(self) -> None:
        self.seen.precedence = probes.precedence(self.original, self.seen.stages)

    def _slots(self) -> None:
        """Note name, order and contents of the state after a few steps with every option that adds to it."""
        options = {"amsgrad": True, "accumulation_steps": 2} | experiment.COMPANIONS["use_ema"]
        del options["ema_overwrite_frequency"]
        # So small a rate leaves the weights where they are: then the average is known however it began.
        given = (
            experiment.BASE
            | {"learning_rate": 1e-6}
            | {name: value for name, value in options.items() if self.original.dialect.named(name) is not None}
        )
        weights, gradients = experiment.stream()
        gradients = gradients[:5]
        names = ("omega1", "omega2")
        driver = self.original.start(self.original.native(given), weights, names, self.original.state_mode)
        dialect = self.original.dialect
        model = models.engine(dialect, MAPPING.numerics[dialect.numerics], given, weights, names)
        for step in gradients:
            driver.step(step)
            model.step(step)
        expected = self._expected(model, given)
        found = []
        for name, value in self.original.state(driver):
            parameter = next((i for i, label in enumerate(names) if label in name), None)
            template = name if parameter is None else name.replace(names[parameter], "{parameter}")
            roles = tuple(role for role, wanted in expected[parameter].items() if _near(value, wanted))
            found.append(SlotSeen(template, parameter, roles))
        self.seen.slots = tuple(found)
        self.seen.slot_names = {
            name: tuple(role for role, wanted in expected[0].items() if _near(value, wanted))
            for name, value in self.original.kinds(driver).items()
        }
        self._power_start(driver, given)

    def _power_start(self, driver: Any, given: dict[str, Any]) -> None:
        """Note whether the product of the betas is multiplied before it is used or after."""
        updates = len(experiment.stream()[1][:5]) // given.get("accumulation_steps", 1)
        starts = {"one": given["beta1"] ** updates, "beta": given["beta1"] ** (updates + 1)}
        held = [slot.name for slot in self.seen.slots if "beta1_power" in slot.roles]
        values = [value for name, value in self.original.state(driver) if name in held]
        found = {start for start, wanted in starts.items() for value in values if _near(value, [wanted])}
        self.seen.semantics["power_start"] = tuple(found) if held else ("none",)

    def _expected(self, model: Any, given: dict[str, Any]) -> dict[int | None, dict[str, list[Any]]]:
        """Return the values that each role can have, for no parameter and for each one."""
        calls = int(model._engine.iterations)
        updates = calls // given.get("accumulation_steps", 1)
        expected: dict[int | None, dict[str, list[Any]]] = {
            None: {
                "step": [calls],
                "learning_rate": [given["learning_rate"]],
                # Before or after this step's multiplication.
                "beta1_power": [given["beta1"] ** updates, given["beta1"] ** (updates + 1)],
                "beta2_power": [given["beta2"] ** updates, given["beta2"] ** (updates + 1)],
            }
        }
        for i, slot in enumerate(model._engine.slots):
            expected[i] = {role: [array] for role, array in slot.kept.items()}
        return expected


def _protocol(kind: type[Any]) -> str:
    """Return the calling convention of a class: that of the method with which it makes a step."""
    return next((name for name in ("apply_gradients", "step") if hasattr(kind, name)), "call")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _near(value: Array, wanted: list[Any]) -> bool:
    return any(
        np.size(value) == np.size(one) and np.allclose(np.ravel(value), np.ravel(one), rtol=1e-3, atol=0.0)
        for one in wanted
    )


_KINDS = tuple(field.name for field in dataclasses.fields(Errors))

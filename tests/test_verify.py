"""Probes that can come out either way, and verdicts on what they found; no framework is needed."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

import adamcompat.cli as cli
from adamcompat.extras import how_to_install
from adamcompat.mapping import runtimes
from adamcompat.mapping.model import Conflict, Dialect, Mapping, Older
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify import meanings, models, probes, rounding, signatures, verification
from adamcompat.verify.judge import AGREES, DIFFERS, STRICTER, UNMEASURED, Verdict, judge
from adamcompat.verify.observation import REQUIRED, Observation, SlotSeen, Taken
from adamcompat.verify.observe import observe
from adamcompat.verify.original import NoSuchParameterError, Original, hushed
from adamcompat.verify.report import as_json, show

Array = NDArray[Any]
KERAS, MINDSPORE = MAPPING.dialects["keras3"], MAPPING.dialects["mindspore"]


@dataclass
class Textbook:
    """Adam in float64 with a choice at every fork, spelled independently of the package."""

    hyper: dict[str, Any]
    weights: list[Array]
    names: Sequence[str] = ()
    order: tuple[str, ...] = ("unscale", "accumulate", "clip", "decay", "update", "average")
    epsilon: str = "hat"
    bias_correction: str = "both"
    amsgrad: str = "raw_maximum"
    nesterov: str = "blend"
    decay_kind: str = "decoupled"
    skips: tuple[str, ...] = ()
    first_step: int = 0
    average_start: str = "first_update"

    def __post_init__(self) -> None:
        self.p = [np.array(w, np.float64) for w in self.weights]
        self.m, self.v, self.top, self.sums = ([np.zeros_like(p) for p in self.p] for _ in range(4))
        self.averages = [p.copy() for p in self.p]
        self.calls = self.t = 0

    def parameters(self) -> list[Array]:
        return [p.copy() for p in self.p]

    def step(self, gradients: Sequence[Any]) -> None:
        h, g = self.hyper, [np.asarray(one, np.float64) for one in gradients]
        rate = h["learning_rate"]
        self.rate = rate(self.calls + self.first_step) if callable(rate) else rate
        self.calls += 1
        every = h.get("accumulation_steps") or 1
        for stage in self.order:
            if stage == "accumulate":
                for total, one in zip(self.sums, g, strict=True):
                    total += one
                if self.calls % every:
                    return
                g = [total / every for total in self.sums]
                for total in self.sums:
                    total[...] = 0
            elif stage == "update":
                self.update(g)
            else:
                g = getattr(self, stage)(g)

    def unscale(self, g: list[Array]) -> list[Array]:
        return [one / self.hyper.get("loss_scale", 1.0) for one in g]

    def clip(self, g: list[Array]) -> list[Array]:
        h = self.hyper
        if h.get("clip_norm"):
            g = [one * min(1.0, h["clip_norm"] / np.linalg.norm(one)) for one in g]
        if h.get("global_clip_norm"):
            norm = np.sqrt(sum((one**2).sum() for one in g))
            g = [one * min(1.0, h["global_clip_norm"] / norm) for one in g]
        if h.get("clip_value"):
            g = [np.clip(one, -h["clip_value"], h["clip_value"]) for one in g]
        return g

    def decay(self, g: list[Array]) -> list[Array]:
        wd = self.hyper.get("decoupled_weight_decay") or self.hyper.get("l2_weight_decay") or 0.0
        for i, p in enumerate(self.p):
            if not (self.names and any(part in self.names[i] for part in self.skips)):
                if self.decay_kind == "decoupled":
                    p *= 1 - self.rate * wd
                elif self.decay_kind == "l2":
                    g = [*g[:i], g[i] + wd * p, *g[i + 1 :]]
        return g

    def update(self, g: list[Array]) -> None:
        h, b1, b2 = self.hyper, self.hyper["beta1"], self.hyper["beta2"]
        self.t += 1
        bias1, bias2 = (1 - b1**self.t, 1 - b2**self.t) if self.bias_correction == "both" else (1.0, 1.0)
        for i, p in enumerate(self.p):
            self.m[i] = b1 * self.m[i] + (1 - b1) * g[i]
            self.v[i] = b2 * self.v[i] + (1 - b2) * g[i] ** 2
            top = self.m[i] / bias1
            if h.get("nesterov"):
                ahead = {"blend": bias1, "dozat": 1 - b1 ** (self.t + 1)}.get(self.nesterov)
                top = b1 * self.m[i] / ahead + (1 - b1) * g[i] / bias1 if ahead else top
            below = self.v[i] / bias2
            if h.get("amsgrad") and self.amsgrad == "raw_maximum":
                self.top[i] = np.maximum(self.top[i], self.v[i])
                below = self.top[i] / bias2
            elif h.get("amsgrad") and self.amsgrad == "corrected_maximum":
                below = self.top[i] = np.maximum(self.top[i], below)
            eps = h["epsilon"] / (np.sqrt(bias2) if self.epsilon == "hat" else 1.0)
            p -= self.rate * top / (np.sqrt(below) + eps)

    def average(self, g: list[Array]) -> list[Array]:
        h = self.hyper
        if h.get("use_ema"):
            first = self.calls == 1 and self.average_start == "first_update"
            momentum = 0.0 if first else h.get("ema_momentum", 0.99)
            for kept, p in zip(self.averages, self.p, strict=True):
                kept[...] = momentum * kept + (1 - momentum) * p
                if self.calls % operator.index(h.get("ema_overwrite_frequency", 1000)) == 0:
                    p[...] = kept
        return g


@dataclass(frozen=True)
class Imitation(Original):
    """An original whose steps are made by whatever `build` returns."""

    build: Callable[[dict[str, Any], list[Array], Sequence[str]], Any] = Textbook

    def start(self, native: Any, weights: Any, names: Sequence[str] = (), mode: str = "") -> Any:
        facts = {fact.name: fact.canonical for fact in self.dialect.facts}
        return self.build({facts[name]: value for name, value in native.items()}, list(weights), names)


def imitate(dialect: Dialect, build: Callable[..., Any] = Textbook, **changes: Any) -> Imitation:
    def built(hyper: dict[str, Any], weights: list[Array], names: Sequence[str]) -> Any:
        return build(hyper, weights, names, **changes)

    return Imitation(
        entry="",
        dialect=dialect,
        framework="Imitation",
        version="1.0",
        kind=object,
        growing=lambda factor: lambda step: factor * (step + 1),
        once=lambda native: None,
        mistakes={},
        state=lambda driver: [],
        resolve=lambda target: None,
        kinds=lambda driver: {},
        build=built,
    )


# Semantics: each probe can answer each value.


@pytest.mark.parametrize(
    ("key", "dialect", "changes", "value"),
    [
        ("epsilon", KERAS, {"epsilon": "hat"}, "hat"),
        ("epsilon", KERAS, {"epsilon": "paper"}, "paper"),
        ("bias_correction", KERAS, {}, "both"),
        ("bias_correction", KERAS, {"epsilon": "paper"}, "both"),
        ("bias_correction", KERAS, {"bias_correction": "none"}, "none"),
        ("decay_skips", KERAS, {}, ()),
        ("decay_skips", KERAS, {"skips": ("bias", "norm")}, ("bias", "norm")),
        ("decay_skips", MINDSPORE, {"decay_kind": "l2", "skips": ("beta", "gamma")}, ("beta", "gamma")),
        ("amsgrad", KERAS, {"amsgrad": "raw_maximum"}, "raw_maximum"),
        ("amsgrad", KERAS, {"amsgrad": "corrected_maximum"}, "corrected_maximum"),
        ("amsgrad", KERAS, {"amsgrad": "none"}, "none"),
        ("nesterov", MINDSPORE, {"nesterov": "blend"}, "blend"),
        ("nesterov", MINDSPORE, {"nesterov": "dozat"}, "dozat"),
        ("nesterov", MINDSPORE, {"nesterov": "none"}, "none"),
        ("schedule_start", KERAS, {"first_step": 0}, 0),
        ("schedule_start", KERAS, {"first_step": 1}, 1),
        ("average_start", KERAS, {"average_start": "first_update"}, "first_update"),
        ("average_start", KERAS, {"average_start": "initial"}, "initial"),
    ],
)
def test_a_semantic_can_come_out_as_each_value(key: str, dialect: Dialect, changes: dict[str, Any], value: Any) -> None:
    assert probes.SEMANTICS[key](imitate(dialect, **changes)) == (value,)


class Odd(Textbook):
    """Does what no alternative does."""

    def update(self, g: list[Array]) -> None:
        super().update([1.5 * one for one in g])


def test_what_no_alternative_explains_has_no_value() -> None:
    assert probes.epsilon(imitate(KERAS, Odd)) == ()
    assert probes.nesterov(imitate(MINDSPORE, Odd)) == ()


def test_a_probe_without_its_parameter_says_so() -> None:
    original = dataclasses.replace(imitate(KERAS), growing=None)
    with pytest.raises(NoSuchParameterError, match="a schedule"):
        probes.schedule_start(original)


def test_the_known_cases() -> None:
    given = {"learning_rate": 1.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-5}
    first = {
        (form.epsilon, form.bias_correction): float(
            models.formula(given, [np.zeros(1)], [[np.full(1, 1e-5)]], form=form)[0]
        )
        for form in models.FORMS
    }
    assert first["hat", "both"] == pytest.approx(-0.0307, abs=5e-5)
    assert first["paper", "both"] == pytest.approx(-0.5)
    assert first["hat", "none"] == pytest.approx(-0.0969, abs=5e-5)
    rates = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    ones, stream = [np.ones(1)], [[np.full(1, 0.1)]] * 100
    for kind, weight in (("l2_weight_decay", 0.900154), ("decoupled_weight_decay", 0.899050)):
        decayed = models.predicted(meanings._FULL, models.CANONICAL, rates | {kind: 0.01}, ones, stream)
        assert float(decayed[-1]) == pytest.approx(weight, abs=5e-7)


# Parameters: what they mean, which exclude each other, in which order they act.

SWAPPED = {"clip_value": "clip_norm", "clip_norm": "global_clip_norm"}


def swapped(hyper: dict[str, Any], weights: list[Array], names: Sequence[str]) -> Textbook:
    return Textbook({SWAPPED.get(name, name): value for name, value in hyper.items()}, weights, names)


def l2_decayed(hyper: dict[str, Any], weights: list[Array], names: Sequence[str]) -> Textbook:
    return Textbook(hyper, weights, names, decay_kind="l2")


@pytest.mark.parametrize(
    ("name", "right", "wrong", "build"),
    [
        ("clipvalue", "clip_value", "clip_norm", swapped),
        ("clipnorm", "clip_norm", "global_clip_norm", swapped),
        ("weight_decay", "decoupled_weight_decay", "l2_weight_decay", l2_decayed),
    ],
)
def test_a_parameter_means_what_it_does(name: str, right: str, wrong: str, build: Callable[..., Any]) -> None:
    assert meanings.meaning(imitate(KERAS), name, flag=False) == (right,)
    assert meanings.meaning(imitate(KERAS, build), name, flag=False) == (wrong,)


@pytest.mark.parametrize("name", ["use_ema", "ema_momentum", "ema_overwrite_frequency", "amsgrad", "weight_decay"])
def test_a_meaning_is_found_beside_what_it_needs(name: str) -> None:
    fact = next(fact for fact in KERAS.facts if fact.name == name)
    assert meanings.meaning(imitate(KERAS), name, flag=fact.type == "flag") == (fact.canonical,)


def test_flags_without_effect_cannot_be_told_apart() -> None:
    assert "use_locking" in meanings.meaning(imitate(MINDSPORE, decay_kind="l2"), "use_locking", flag=True)


def test_conflicts_are_found_with_what_becomes_of_them() -> None:
    class Picky(Textbook):
        def __post_init__(self) -> None:
            super().__post_init__()
            if self.hyper.get("clip_norm") and self.hyper.get("clip_value"):
                raise OverflowError
            if self.hyper.get("amsgrad"):
                self.hyper.pop("decoupled_weight_decay", None)

    switches = {"clipnorm": 0.7, "clipvalue": 0.5, "amsgrad": True, "weight_decay": 0.3}
    assert meanings.conflicts(imitate(KERAS), switches) == ({}, [])
    found, raised = meanings.conflicts(imitate(KERAS, Picky), switches)
    assert found == {("clipnorm", "clipvalue"): "raises", ("amsgrad", "weight_decay"): "ignores"}
    assert raised == ["OverflowError"]


STAGES = ("unscale", "accumulate", "clip_norm", "decoupled_decay", "average", "update")


@pytest.mark.parametrize(
    ("order", "pair"),
    [
        (("unscale", "accumulate", "clip", "decay", "update", "average"), ("unscale", "clip_norm")),
        (("accumulate", "clip", "unscale", "decay", "update", "average"), ("clip_norm", "unscale")),
        (("unscale", "accumulate", "clip", "decay", "update", "average"), ("accumulate", "clip_norm")),
        (("unscale", "clip", "accumulate", "decay", "update", "average"), ("clip_norm", "accumulate")),
        (("unscale", "accumulate", "clip", "decay", "update", "average"), ("decoupled_decay", "update")),
        (("unscale", "accumulate", "clip", "update", "decay", "average"), ("update", "decoupled_decay")),
        (("unscale", "accumulate", "clip", "decay", "update", "average"), ("update", "average")),
        (("unscale", "accumulate", "average", "clip", "decay", "update"), ("average", "update")),
    ],
)
def test_the_order_of_stages_is_found(order: tuple[str, ...], pair: tuple[str, str]) -> None:
    found = probes.precedence(imitate(KERAS, order=order), STAGES)
    assert pair in found
    assert pair[::-1] not in found


def test_of_stages_that_commute_neither_comes_first() -> None:
    found = probes.precedence(imitate(KERAS), ("unscale", "accumulate"))
    assert not {("unscale", "accumulate"), ("accumulate", "unscale")} & found
    assert ("unscale", "update") in found


@pytest.mark.parametrize("order", [("l2_decay", "unscale"), ("unscale", "l2_decay")])
def test_stages_that_differ_in_their_rounding_only_are_ordered_by_their_bits(order: tuple[str, ...]) -> None:
    def rounded(hyper: dict[str, Any], weights: list[Array], names: Sequence[str]) -> Any:
        dialect = dataclasses.replace(MINDSPORE, stages=(*order, "update"))
        return models.engine(dialect, MAPPING.numerics["mindspore"], hyper, weights, names)

    assert probes.precedence(imitate(MINDSPORE, rounded), ("l2_decay", "unscale")) >= {order}


# Numerics: what rounds in another way is told apart, wherever any number shows it.

SHOWN = [
    (name, key, value)
    for name in ("keras3", "tf26", "tf1", "mindspore")
    for key, values in rounding.ROUNDING.items()
    for value in values
]


@pytest.mark.parametrize(("name", "key", "value"), SHOWN)
def test_each_rounding_is_recognized(name: str, key: str, value: Any) -> None:
    dialect, mapped = MAPPING.dialects[name], MAPPING.numerics[name]

    def rounded(hyper: dict[str, Any], weights: list[Array], names: Sequence[str]) -> Any:
        return models.engine(dialect, dataclasses.replace(mapped, **{key: value}), hyper, weights, names)

    found = rounding.numerics(imitate(dialect, rounded))[key]
    assert value in found
    if value != getattr(mapped, key) and getattr(mapped, key) in found:
        # Then this key shows nowhere in this dialect.
        assert (name, key) in HIDDEN, (found, mapped)


def test_a_rounding_that_nothing_explains_fits_no_value() -> None:
    assert set(rounding.numerics(imitate(KERAS, Odd)).values()) == {()}


# Without an option for it nothing is unscaled; without decay or a second stage nothing is merged.
HIDDEN: set[tuple[str, str]] = {
    *(("tf26", "unscale"), ("tf1", "unscale"), ("tf1", "surroundings")),
    *((name, "decay") for name in ("tf26", "tf1", "mindspore")),
}


# Signatures.


def hiding(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    return wrapper


class Base:
    def __init__(self, **kwargs: Any) -> None:
        self.decay = kwargs.pop("decay", 0.5)


class Shown(Base):
    def __init__(self, rate: float, beta: float = 0.9, *, name: str | None = None, **kwargs: Any) -> None:
        self.rate = kwargs.get("lr", rate)
        super().__init__(**kwargs)


class Hidden(Base):
    @hiding
    def __init__(self, rate: float, beta: float = 0.9, **kwargs: Any) -> None:
        self.rate = kwargs.get("lr", rate)


class Closed:
    def __init__(self, rate: float = 1e-3) -> None:
        self.rate = rate


def test_signatures_are_read_through_decorators() -> None:
    rate, beta = Taken("rate", REQUIRED), Taken("beta", 0.9)
    assert signatures.parameters(Shown) == ((rate, beta, Taken("name", None)), True)
    assert signatures.parameters(Hidden) == ((rate, beta), True)
    assert signatures.parameters(Closed) == ((Taken("rate", 1e-3),), False)


@pytest.mark.parametrize("kind", [Shown, Hidden])
def test_keywords_are_read_from_the_class_and_its_bases(kind: type) -> None:
    assert signatures.keywords(kind) == (Taken("lr", None, "rate"), Taken("decay", 0.5))
    assert signatures.keywords(Closed) == ()


# Verdicts.


def seen(**facts: Any) -> Observation:
    return Observation("keras3", "Keras", "3.15.1", **facts)


def verdict(observation: Observation, path: str, mapping: Mapping = MAPPING) -> Verdict:
    return next(one for one in judge(mapping, [observation]) if one.path == f"dialects.keras3.{path}")


def with_dialect(**changes: Any) -> Mapping:
    return dataclasses.replace(MAPPING, dialects={**MAPPING.dialects, "keras3": dataclasses.replace(KERAS, **changes)})


@pytest.mark.parametrize(
    ("name", "refused", "state"),
    [
        ("beta_1", {-1.0: False, 0.0: False, 0.5: False, 1.0: False}, STRICTER),
        ("beta_1", {-1.0: True, 0.0: False, 0.5: False, 1.0: True}, AGREES),
        ("beta_1", {-1.0: True, 0.0: True, 0.5: False, 1.0: True}, DIFFERS),
        ("beta_1", {-1.0: True, -0.1: False, 0.5: False, 1.0: True}, DIFFERS),
        ("beta_1", {-1.0: True, 0.0: False, 0.5: False, 1.0: False, 2.0: True}, DIFFERS),
        ("beta_1", {-1.0: False, 0.0: False, 0.5: False, 1.0: True}, STRICTER),
        ("learning_rate", {-1.0: False, 1.0: False}, AGREES),
        ("learning_rate", {-1.0: True, 1.0: False}, DIFFERS),
    ],
)
def test_limits_of_the_original_must_be_those_of_the_mapping(name: str, refused: dict[float, bool], state: str) -> None:
    found = seen(parameters=(Taken(name, 0.9),), refused={name: refused})
    assert verdict(found, f"parameters.{name}.range").state == state


def test_a_default_is_compared_with_its_type() -> None:
    for default, state in ((False, AGREES), (0, DIFFERS), (None, DIFFERS), (REQUIRED, DIFFERS)):
        assert verdict(seen(parameters=(Taken("amsgrad", default),)), "parameters.amsgrad.default").state == state


def test_an_error_that_the_original_does_not_raise_is_stricter() -> None:
    assert verdict(seen(errors={"conflict": ()}), "errors.conflict").state == STRICTER
    assert verdict(seen(errors={"conflict": ("TypeError", "ValueError")}), "errors.conflict").state == AGREES
    assert verdict(seen(errors={"conflict": ("TypeError",)}), "errors.conflict").state == DIFFERS


def test_what_could_not_be_measured_is_said_with_the_reason() -> None:
    found = verdict(seen(unmeasured={"semantics.epsilon": "RuntimeError: no device"}), "semantics.epsilon")
    assert (found.state, found.observed) == (UNMEASURED, "RuntimeError: no device")
    assert verdict(seen(semantics={"epsilon": ()}), "semantics.epsilon").state == DIFFERS


@pytest.mark.parametrize(("version", "was", "state"), [
    ("3.9.2", "adam", AGREES), ("3.9.2", None, DIFFERS), ("3.15", None, AGREES),
    ("3.15.0", None, AGREES), ("3.15.0", "adam", DIFFERS),
])  # fmt: skip
def test_older_versions_are_judged_by_what_held_for_them(version: str, was: str | None, state: str) -> None:
    mapping = with_dialect(older=(Older("parameters.name.default", "Keras", "3.15", "'adam'"),))
    found = Observation("keras3", "Keras", version, parameters=(Taken("name", was),))
    assert verdict(found, "parameters.name.default", mapping).state == state
    other = Observation("keras3", "TensorFlow", "2.16", parameters=(Taken("name", None),))
    assert verdict(other, "parameters.name.default", mapping).state == AGREES


def test_conflicts_are_the_same_in_either_order() -> None:
    found = seen(conflicts={("clipvalue", "clipnorm"): "raises", ("amsgrad", "use_ema"): "ignores"})
    one = with_dialect(conflicts=(Conflict(("clipnorm", "clipvalue"), "raises"),))
    assert verdict(found, "conflicts.[clipnorm, clipvalue]", one).state == AGREES
    extra = verdict(found, "conflicts.[amsgrad, use_ema]", one)
    assert (extra.mapping, extra.observed, extra.state) == ("none", "ignores", DIFFERS)


def test_slots_that_alternate_by_parameter_are_one_block() -> None:
    def slot(name: str, parameter: int | None, role: str) -> SlotSeen:
        return SlotSeen(name, parameter, (role,))

    moments = [("{parameter}_momentum", "first_moment"), ("{parameter}_velocity", "second_moment")]
    together = [slot(name, i, role) for i in (0, 1) for name, role in moments]
    apart = [slot(name, i, role) for name, role in moments for i in (0, 1)]
    step = slot("iteration", None, "step")
    assert verdict(seen(slots=(step, *together)), "slots").observed == (
        "[iteration] [{parameter}_momentum, {parameter}_velocity]"
    )
    assert verdict(seen(slots=(step, *apart)), "slots").observed == (
        "[iteration] [{parameter}_momentum] [{parameter}_velocity]"
    )


def test_a_dialect_that_the_mapping_lacks_differs() -> None:
    left = {name: dialect for name, dialect in MAPPING.dialects.items() if name != "keras3"}
    found = judge(dataclasses.replace(MAPPING, dialects=left), [seen()])
    assert [(one.path, one.state) for one in found] == [("dialects.keras3", DIFFERS)]


def test_an_original_that_makes_no_step_differs_and_its_signature_is_still_judged() -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("no device")

    found = observe(dataclasses.replace(imitate(KERAS, broken), kind=Closed))
    assert verdict(found, "parameters.amsgrad").state == DIFFERS
    last = judge(MAPPING, [found])[-1]
    assert (last.path, last.observed, last.state) == ("dialects.keras3", "RuntimeError: no device", DIFFERS)


# The report.

VERDICTS = [
    Verdict("dialects.keras3.semantics.epsilon", "keras3", "hat", "paper", "Keras", "9.9", DIFFERS),
    Verdict("dialects.keras3.conflicts.[a, b]", "keras3", "raises", "raises", "Keras", "9.9", AGREES),
    Verdict("numerics.mindspore.given", "mindspore", "float32", "float32", "MindSpore", "8.8", AGREES),
]


@pytest.mark.parametrize("width", [40, 60, 80, 150])
def test_every_fact_is_shown_whole_at_every_width(width: int) -> None:
    out = io.StringIO()
    console = Console(width=width, file=out)
    show(console, VERDICTS, {"tensorflow": "keras not installed: pip install 'adamcompat[tensorflow]'"})
    # A command stays whole, so that it can be copied.
    assert max(len(line) for line in out.getvalue().splitlines() if "pip install" not in line) <= width
    text = " ".join(out.getvalue().split())
    for part in ("semantics.epsilon", "conflicts.[a, b]", "numerics.mindspore.given", "Keras 9.9", "MindSpore 8.8",
                 "differs dialects.keras3.semantics.epsilon: the mapping has hat; Keras 9.9 has paper",
                 "Keras 9.9: 2 facts: 1 agrees, 1 differs", "pip install 'adamcompat[tensorflow]'"):  # fmt: skip
        assert part in text


def test_the_verdict_stands_first_and_again_below_the_facts() -> None:
    out = io.StringIO()
    more = [dataclasses.replace(VERDICTS[2], state=UNMEASURED), dataclasses.replace(VERDICTS[2], state=STRICTER)]
    show(Console(width=80, file=out), [*VERDICTS, *more], {})
    lines = out.getvalue().splitlines()
    assert lines[0] == lines[-1] == "4 of 5 facts measured: 2 agree, 1 stricter, 1 differs."
    assert lines[1] == "differs dialects.keras3.semantics.epsilon: the mapping has hat; Keras 9.9 has"
    assert lines[2] == "    paper"
    out = io.StringIO()
    show(Console(width=80, file=out), VERDICTS[1:], {})
    assert out.getvalue().startswith("2 of 2 facts measured: 2 agree, none differs.\n")


def test_json_holds_every_fact() -> None:
    found = json.loads(as_json(VERDICTS, {"tensorflow": "absent"}))
    assert found["versions"] == {"Keras": "9.9", "MindSpore": "8.8"}
    assert found["differs"] == ["dialects.keras3.semantics.epsilon"]
    assert found["absent"] == {"tensorflow": "absent"}
    assert [fact["path"] for fact in found["facts"]] == [one.path for one in VERDICTS]


# The command, where no framework is installed.


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (verification, runtimes):
        monkeypatch.setattr(module, "find_spec", lambda name: None)


def test_absent_frameworks_are_named_and_are_no_failure(
    bare: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert cli.main(["verify"]) == 0
    out = capsys.readouterr().out
    assert f"tensorflow and keras and tf_keras not installed: {how_to_install('tensorflow')}" in out
    assert how_to_install("mindspore") in out
    assert "No framework is installed here, so nothing was verified." in out


def test_a_framework_that_is_asked_for_must_be_there(bare: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--runtime", "mindspore"]) == 2
    assert how_to_install("mindspore") in capsys.readouterr().out


def test_a_mapping_needs_pyyaml(bare: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--mapping", "mapping.yaml"]) == 2
    assert how_to_install("files") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("canonical: [\n", "mapping.yaml:"),
        ("", "the file is empty"),
        (b"\xff\xfe", "mapping.yaml"),
    ],
)
def test_a_mapping_that_cannot_be_read_is_an_error(
    content: str | bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "mapping.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cli.main(["verify", "--mapping", str(path)]) == 2
    assert message in capsys.readouterr().out


def test_what_is_provoked_on_purpose_is_hushed_and_nothing_after_it() -> None:
    before = logging.root.manager.disable
    with hushed() as caught:
        assert not logging.getLogger("anybody").isEnabledFor(logging.ERROR)
        warnings.warn("provoked", UserWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["provoked"]
    assert logging.root.manager.disable == before

"""Arguments of the wrong kind: what was wrong, what was expected, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamcompat import Parameter, TFStyleAdam, compare, migrate, record, table, translate, verify
from adamcompat.comparison import load_stream, random_stream
from adamcompat.drive import find, open_driver, prepare
from adamcompat.migrate import find as find_files
from adamcompat.migrate import migrate_file, migrate_files, migrate_text, write
from adamcompat.recording import read
from adamcompat.state import AdamState, StateError, files
from adamcompat.state.matching import match

TWO = ("float64", "float64:mindspore")
CALL = "keras.optimizers.Adam()"
MOMENTS = {"w": np.zeros(3)}


def optimizer() -> TFStyleAdam:
    weight, made = Parameter(np.ones(3), "w"), TFStyleAdam(0.1)
    made.apply_gradients([(np.ones(3), weight)])
    return made


def state(**changed: Any) -> AdamState:
    return AdamState(**{"step": 0, "first_moment": MOMENTS, "second_moment": MOMENTS, **changed})


def two(**changed: Any) -> object:
    return compare(*TWO, **{"steps": 3, **changed})


def given(**changed: Any) -> object:
    return compare(*TWO, **{"gradients": [np.ones((3, 2))], "weights": [np.ones(2)], **changed})


def anything(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function with what its annotations rule out."""
    return function(*arguments, **keywords)


COMPARE: list[tuple[Callable[[], Any], str]] = [
    (lambda: anything(compare, ["keras", "mindspore"]), "got ['keras', 'mindspore'] (list): give several one by one"),
    (lambda: anything(compare, ("keras", "mindspore")), "as in compare('keras', 'mindspore'), or put a * before them"),
    (lambda: anything(compare, {"keras": {}, "mindspore": {}}), "got {'keras': {}, 'mindspore': {}} (dict): give"),
    (lambda: anything(compare, "float64", ("float64",)), "or a pair such as ('keras', {'epsilon': 1e-8}); got ("),
    (lambda: anything(compare, "float64", (3, {})), "got (3, {}) (tuple)"),
    (lambda: anything(compare, "float64", None), "got None: compare makes its optimizers itself"),
    (lambda: anything(compare, "float64", optimizer()), "adamcompat.record writes to a file, and compare('recorded'"),
    (lambda: anything(compare, "float64", ("float64", {3: 1})), "of 'float64' must have names as keys; got 3 (int)"),
    (lambda: two(hyperparameters="epsilon=1"), "hyperparameters must be a dictionary, such as {'epsilon': 1e-8}; got"),
    (lambda: two(hyperparameters={3: 1}), "hyperparameters must have names as keys; got 3 (int)"),
    (lambda: two(steps="10"), "steps must be a whole number; got '10' (str)"),
    (lambda: two(steps=1.5), "steps must be a whole number; got 1.5 (float)"),
    (lambda: two(steps=True), "steps must be a whole number; got True (bool)"),
    (lambda: two(seed=None), "seed must be a whole number; got None"),
    (lambda: two(shapes=3), "shapes must be a list with one shape a parameter; got 3 (int)"),
    (lambda: two(shapes="64x32"), "got '64x32' (str), instead of one such as [(64, 32), (10,)]"),
    (lambda: two(shapes=(64, 32)), "got (64, 32) (tuple): for one parameter, [(64, 32)]"),
    (lambda: two(shapes=[("a",)]), "an axis of a shape must be a whole number; got 'a' (str)"),
    (lambda: two(shapes=[3, "a"]), "a shape must be a tuple of whole numbers, such as (64, 32); got 3 (int)"),
    (lambda: two(tolerance="2"), "tolerance must be a number of spacings; got '2' (str)"),
    (lambda: two(advance=3), "advance must be a function of the steps done and their total; got 3 (int)"),
    (lambda: given(gradients=3), "gradients must be a file that adamcompat.record wrote, or a list"),
    (lambda: given(weights={"w": np.ones(2)}), "weights must be a list with one array a parameter; got a dictionary"),
    (lambda: given(names="a"), "names must be a list with one name a parameter; got 'a' (str)"),
    (lambda: given(names=[3]), "names must be a list with one name a parameter; got [3] (list)"),
    (lambda: anything(random_stream, [3], 3), "for one parameter, [(3,)]"),
    (lambda: anything(load_stream, "x", steps="2"), "steps must be a whole number; got '2' (str)"),
    (
        lambda: anything(find, None),
        "an optimizer is driven by its name, such as 'keras' or 'mindspore:graph'; got None",
    ),
    (lambda: anything(prepare, "float64", "x"), "hyperparameters must be a dictionary, such as"),
    (lambda: anything(open_driver, "float64", 3), "weights must be a list of arrays; got 3 (int)"),
]

OTHERS: list[tuple[Callable[[], Any], str]] = [
    (lambda: anything(translate, None, "mindspore"), "source must be the text of a call, such as 'keras.opt"),
    (lambda: anything(translate, TFStyleAdam(), "mindspore"), "(TFStyleAdam)"),
    (lambda: anything(translate, CALL, ["mindspore"]), "to must be the name of a dialect, such as 'keras3' or"),
    (lambda: anything(translate, CALL, "mindspore", from_=3), "from_ must be the name of a dialect"),
    (lambda: anything(translate, CALL, "mindspore", shim="yes"), "shim must be True or False; got 'yes' (str)"),
    (lambda: anything(translate, CALL, "mindspore", aliases=3), "aliases must be the name of a file, as text or"),
    (lambda: anything(table, None), "from_ must be the name of a dialect"),
    (lambda: anything(table, "tf26", 3), "to must be the name of a dialect"),
    (lambda: anything(verify, 3), "runtime must be one of tensorflow, mindspore, torch, or None for all; got 3 (int)"),
    (lambda: anything(verify, mapping=3), "mapping must be the name of a file"),
    (lambda: anything(migrate, 3, "shim"), "a path must be the name of a file, as text or a pathlib.Path; got 3 (int)"),
    (
        lambda: anything(migrate, b"a.py", "shim"),
        "a path must be the name of a file, as text or a pathlib.Path; got b'a",
    ),
    (lambda: anything(table().render, ["csv"]), "form must be one of markdown, json, csv, html; got ['csv'] (list)"),
    (lambda: anything(migrate, ["a.py", 3], "shim"), "a path must be the name of a file"),
    (lambda: anything(migrate, "a.py", None), "to must be one of shim, tensorflow, mindspore; got None"),
    (lambda: anything(migrate, "a.py", "shim", write="yes"), "write must be True or False; got 'yes' (str)"),
    (lambda: anything(migrate_text, None, "shim"), "text must be Python source; got None"),
    (lambda: anything(migrate_file, 3, "shim"), "path must be the name of a file"),
    (lambda: anything(migrate_files, [3], "shim"), "a path must be the name of a file"),
    (lambda: anything(find_files, 3), "a path must be the name of a file"),
    (lambda: anything(write, "x.py"), "outcome must be what migrate_file returns; got 'x.py' (str)"),
    (lambda: anything(files.read, 3), "path must be the name of a file"),
    (lambda: anything(files.open_document, None), "path must be the name of a file"),
    (lambda: anything(files.write, 3, state()), "path must be the name of a file"),
    (lambda: anything(files.write, "a.safetensors", optimizer()), "state must be an AdamState, as AdamState.of(optim"),
    (lambda: anything(files.write, "a.ckpt", state(), like="b.ckpt"), "like must be what open_document(path) returns"),
    (lambda: anything(files.convert, "a.keras", "b.ckpt"), "source must be what open_document(path) returns; got 'a"),
    (lambda: anything(files.convert, None, "b.ckpt"), "source must be what open_document(path) returns; got None"),
]

STATES: list[tuple[Callable[[], Any], str]] = [
    (lambda: state(step="x"), "step must be a whole number of at least 0, got 'x'"),
    (lambda: state(step=None), "step must be a whole number of at least 0, got None"),
    (lambda: state(first_moment=[np.zeros(3)]), "first_moment must be a dictionary from names of parameters to arrays"),
    (lambda: state(second_moment=None), "second_moment must be a dictionary from names of parameters to arrays; got N"),
    (lambda: state(average={3: np.zeros(3)}), "average must have names as keys; got 3 (int)"),
    (lambda: state(first_moment={"w": [0, 0]}), "first_moment of 'w' must be an array; got [0, 0] (list): numpy.asarr"),
    (lambda: state(hyperparameters=[1]), "hyperparameters must be a dictionary; got [1] (list)"),
    (lambda: state(accumulation_steps="2"), "accumulation_steps must be a whole number; got '2' (str)"),
    (lambda: state(accumulated_calls=None), "accumulated_calls must be a whole number; got None"),
    (lambda: state(dialect=["keras3"]), "dialect must be one of keras3"),
    (lambda: AdamState.of("keras"), "or a class of adamcompat; got builtins.str"),
    (lambda: anything(AdamState.of, optimizer(), step="3"), "step must be a whole number, or None; got '3' (str)"),
    (lambda: AdamState.of(optimizer(), 3), "parameters must be the variables that the optimizer updates, or a dict"),
    (lambda: state().match(state()), "target must be an optimizer, or names and shapes: of a state, pass state.shapes"),
    (lambda: state().match({"w": 3}), "target: the shape of 'w' must be a tuple such as (64, 10); got 3 (int)"),
    (lambda: anything(state().match, optimizer(), alone=3), "alone must be a list of names of parameters, got 3"),
    (lambda: anything(state().load_into, optimizer(), "order"), "matching must be what match() returned; got 'order'"),
    (lambda: anything(match, 3, {}), "source must be a dictionary from names of parameters to shapes; got 3 (int)"),
    (lambda: anything(match, {}, {3: (1,)}), "target must have names as keys; got 3 (int)"),
]


def texts(cases: list[tuple[Callable[[], Any], str]]) -> list[str]:
    return [f"{number}-{text[:40]}" for number, (_, text) in enumerate(cases)]


@pytest.mark.parametrize(("call", "text"), COMPARE, ids=texts(COMPARE))
def test_of_comparisons(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        call()


@pytest.mark.parametrize(("call", "text"), OTHERS, ids=texts(OTHERS))
def test_of_tools(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        call()


@pytest.mark.parametrize(("call", "text"), STATES, ids=texts(STATES))
def test_of_states(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(StateError, match=re.escape(text)):
        call()


@pytest.mark.skipif(find_spec("safetensors") is None, reason="needs safetensors")
@pytest.mark.parametrize("path", [None, 3, TFStyleAdam], ids=["none", "number", "class"])
def test_of_recordings(path: Any) -> None:
    for call in (lambda: record(optimizer(), path), lambda: read(path)):
        with pytest.raises(TypeError, match=r"path must be the name of a file, as text or a pathlib\.Path; got"):
            call()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: table("minspore"), "unknown dialect 'minspore'; did you mean 'mindspore'? known: keras3"),
        (lambda: table().render("rich"), "unknown form 'rich'; known: markdown, json, csv, html"),
        (lambda: verify("numpy"), "unknown runtime 'numpy'; known: tensorflow, mindspore, torch"),
        (lambda: migrate("a.py", "pytorch"), "unknown target 'pytorch'; known: shim, tensorflow, mindspore"),
        (lambda: migrate_text("x = 1", "pytorch"), "unknown target 'pytorch'"),
        (lambda: migrate_files(["a.py"], "pytorch"), "unknown target 'pytorch'"),
        (lambda: migrate_file(Path("a.py"), "pytorch"), "unknown target 'pytorch'"),
        (lambda: two(shapes=[(-1,)]), "an axis of a shape must be at least 0, got (-1,)"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "call",
)
def test_values_that_are_unknown(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        call()


def test_a_path_may_be_text_and_stand_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\n", encoding="utf-8")
    assert [*find_files(str(tmp_path))] == [*find_files([str(file)])] == [file]
    assert [outcome.path for outcome in migrate_files(str(file), "shim")] == [file]
    assert migrate_file(str(file), "shim").findings == ()

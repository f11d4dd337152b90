"""mapping.yaml: what the loader refuses, and what follows from the facts."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest
import yaml

from adamcompat.differences import OTHER_MEANING, Row, rows
from adamcompat.mapping import parameter_reader, vocabulary
from adamcompat.mapping.facts import Interval
from adamcompat.mapping.loader import MappingError, load
from adamcompat.mapping.model import Mapping
from adamcompat.mapping.tables import MAPPING
from adamcompat.render import RENDERERS

ROOT = Path(__file__).parent.parent
PAIRS = list(product(MAPPING.dialects, repeat=2))
TEXT = (ROOT / "mapping.yaml").read_text(encoding="utf-8")


def changed(tmp_path: Path, old: str, new: str) -> tuple[Path, int]:
    """A copy of mapping.yaml with one replacement, and the line where it stands."""
    assert old in TEXT, old
    start = TEXT.index(old)
    path = tmp_path / "mapping.yaml"
    path.write_text(TEXT[:start] + new + TEXT[start + len(old) :], encoding="utf-8")
    return path, TEXT.count("\n", 0, start) + 1


EPSILON = "{name: epsilon, canonical: epsilon, type: number, default: 1.0e-7,"
MISTAKES = {
    "repeated key": ("    about: Exponential decay rate of the first moment.\n", "    about: a\n    about: b\n", 1,
                     "the key 'about' is already given in line"),
    "unknown key": ("    title: Keras 3\n", "    title: Keras 3\n    colour: red\n", 1, "unknown key 'colour'"),
    "missing key": ("    title: Keras 3\n", "", -1, "the key 'title' is missing"),
    "dangling canonical name": ("canonical: beta1, type: beta", "canonical: beta9, type: beta", 0,
                                "the canonical name 'beta9' is not defined"),
    "default of another type": ("{name: amsgrad, canonical: amsgrad, type: flag, default: false",
                                "{name: amsgrad, canonical: amsgrad, type: flag, default: 0", 0,
                                "the default 0 (int) is not of the type 'flag'"),
    "a flag as a number": (EPSILON, EPSILON.replace("1.0e-7", "true"), 0, "the default True (bool) is not of"),
    "a number read as text": (EPSILON, EPSILON.replace("1.0e-7", "1e-7"), 0,
                              "YAML reads 1e-7 as text, not as a number; write 1.0e-7"),
    "a number in quotes": (EPSILON, EPSILON.replace("1.0e-7", "'1.0e-7'"), 0, "the default '1.0e-7' (str)"),
    "a truth value of old YAML": ("type: flag, default: false", "type: flag, default: no", 0, "write true or false"),
    "default out of range": (EPSILON, EPSILON.replace("1.0e-7", "-1.0"), 0, "outside its range"),
    "no interval": ('default: 0.9, range: "[0, 1)"', 'default: 0.9, range: "0 to 1"', 0, "is not an interval"),
    "text read as the default": ("read_as_default: [null, 0.0]", "read_as_default: [none, 0.0]", 0,
                                 "expected null and numbers, got 'none'"),
    "the default read as itself": ("read_as_default: [0.0]", "read_as_default: [0.0, null]", 0,
                                   "None is the default of 'clipnorm' and need not be read as it"),
    "unknown numerics": ("    numerics: tf1\n", "    numerics: tf9\n", 0, "'tf9' is not one of canonical, keras3"),
    "unknown stage": ("stages: [deduplicate, update]", "stages: [deduplicate, dance, update]", 0, "'dance' is not"),
    "no update": ("stages: [deduplicate, update]", "stages: [deduplicate]", 0, "the stage 'update' is missing"),
    "unknown correction": ("      - name: live_values", "      - name: live_value", 0, "'live_value' is not one of"),
    "correction twice": ("      - name: live_values", "      - name: centralization", None, "is listed twice"),
    "unknown exception": ("unknown_keyword: KeyError", "unknown_keyword: KeyMistake", 0, "not a built-in exception"),
    "parameter twice": ("      - {name: beta_2,", "      - {name: beta_1,", 0, "'beta_1' is listed twice"),
    "conflict without parameter": ("pair: [clipnorm, clipvalue]", "pair: [clipnorm, clipnone]", None,
                                   "a conflict names 'clipnone'"),
    "keywords without kwargs": ("    kwargs: true\n    parameters:\n      - {name: params",
                                "    kwargs: false\n    parameters:\n      - {name: params", None, "takes no **kwargs"),
    "alias of nothing": ("alias_of: learning_rate", "alias_of: rate", None, "an alias of 'rate'"),
    "adapter of no dialect": ("    dialect: keras3\n", "    dialect: keras4\n", 0, "'keras4' is not one of"),
    "schedule of no dialect": ("      tf1:\n        target: tf.compat", "      tf9:\n        target: tf.compat", None,
                               "the dialect 'tf9' is not defined"),
    "unknown role": ("role: initial}", "role: first}", 0, "'first' is not one of initial, final"),
    "unknown rates": ("rates: [callable]", "rates: [tensor]", 0, "'tensor' is not one of list, schedule"),
    "other gates": ("mindspore torch: [r, z, h]", "mindspore torch: [r, z, n]", None,
                    "are not the same gates, each once"),
    "gates without axis": ("    cell: simple_rnn_cell\n", "    cell: x\n    gates: {tensorflow mindspore torch: [a]}\n",
                           None, "gates and an axis g belong together"),
    "a framework twice": ("mindspore torch: [r, z, h]", "mindspore torch: [r, z, h], torch: [r, z, h]", 0,
                          "unknown key 'torch'"),
    "a key for no framework": ("mindspore torch: [r, z, h]", "mindspore torch jax: [r, z, h]", None,
                               "the key 'mindspore' is missing"),
    "no part": ("part: [0, 2]", "part: [2, 2]", 0, "expected [i, n] with i from 0 to n - 1, got [2, 2]"),
    "one way": ("ways: {tensorflow: [forward_*, backward_*]", "ways: {tensorflow: [forward_*]", None,
                "expected what says forwards and what says backwards"),
    "other axes": ('{name: query/kernel, axes: "d h k"}', '{name: query/kernel, axes: "d h x"}', 0,
                   "do not name the same axes"),
    "an unknown key of a weight": ("addend: true}", "added: true}", 0, "unknown key 'added'"),
    "not YAML": ("canonical:\n", "canonical: [\n", None, "mapping.yaml:"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_with_file_and_line(mistake: str, tmp_path: Path) -> None:
    old, new, offset, message = MISTAKES[mistake]
    path, line = changed(tmp_path, old, new)
    with pytest.raises(MappingError) as caught:
        load(path)
    text = str(caught.value)
    assert message in text
    found = re.match(r"mapping\.yaml:(\d+): ", text)
    assert found, text
    if offset is not None and offset >= 0:
        assert int(found[1]) == line + offset


def _blocks(node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.MappingNode]]:
    """Every block of keys and values below a node, itself included."""
    if isinstance(node, yaml.MappingNode):
        yield path, node
        for key, value in node.value:
            yield from _blocks(value, f"{path}.{key.value}")
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _blocks(item, f"{path}[]")


def test_no_block_takes_an_unknown_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is spelled wrong would otherwise be a fact that nobody reads."""
    tree = yaml.compose(TEXT, Loader=yaml.SafeLoader)
    assert tree is not None
    # Reading the text takes longer than what is tested.
    monkeypatch.setattr(yaml, "compose", lambda text, Loader: tree)
    assert load(ROOT / "mapping.yaml") == MAPPING
    kinds = {
        (path.split(".")[:2][-1], path.rpartition(".")[2], *(key.value for key, _ in block.value)): (path, block)
        for path, block in _blocks(tree, "")
    }
    taken = []
    for path, block in kinds.values():
        word = [yaml.ScalarNode("tag:yaml.org,2002:str", text, block.start_mark) for text in ("colour", "red")]
        block.value.append(tuple(word))
        try:
            load(ROOT / "mapping.yaml")
            taken.append(path)
        except MappingError as error:
            assert "colour" in str(error), path
        block.value.pop()
    assert taken == [".modules"]


def test_a_correction_that_the_mapping_does_not_name_is_an_error(tmp_path: Path) -> None:
    """A drop-in would make it, and nobody could read of it."""
    path = tmp_path / "mapping.yaml"
    named = r"      - name: construct_once\n(?:        .*\n)+"
    path.write_text(re.sub(named, "", TEXT), encoding="utf-8")
    with pytest.raises(MappingError, match="no dialect has the correction construct_once"):
        load(path)


def test_a_dialect_without_slots_is_an_error(tmp_path: Path) -> None:
    start = TEXT.index("    slots:\n      - {beta1_power")
    end = TEXT.index("  mindspore:\n    title")
    path, _ = changed(tmp_path, TEXT[start:end], "\n")
    with pytest.raises(MappingError, match=r"mapping\.yaml:\d+: dialects\.tf1: the key 'slots' is missing"):
        load(path)
    path, _ = changed(tmp_path, TEXT[start:end], "    slots:\n      - {beta1_power: beta1_power}\n\n")
    with pytest.raises(MappingError, match="slots lacks first_moment, second_moment"):
        load(path)


def test_a_slot_without_a_name_is_an_error(tmp_path: Path) -> None:
    names = "slot_names: {first_moment: m, second_moment: v, maximum_second_moment: vhat}"
    path, _ = changed(tmp_path, names, names.replace(" second_moment: v,", ""))
    with pytest.raises(MappingError, match="stands for the name of 'second_moment', which slot_names does not give"):
        load(path)
    path, _ = changed(tmp_path, names, names.replace("second_moment: v", "second: v", 1))
    with pytest.raises(MappingError, match="unknown slot 'second'"):
        load(path)


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(MappingError, match=r"empty\.yaml:1"):
        load(tmp_path / "empty.yaml")


def test_the_committed_tables_are_the_file() -> None:
    assert load(ROOT / "mapping.yaml") == MAPPING


# The page that the project starts from, row by row: its TensorFlow name, its MindSpore name, and what
# the relation really is. (The page calls weight_decay unknown to TensorFlow.)
PAGE = [
    ("learning_rate", "learning_rate", "same"),
    ("beta_1", "beta1", "renamed"),
    ("beta_2", "beta2", "renamed"),
    ("epsilon", "eps", "renamed, other default"),
    ("amsgrad", "use_amsgrad", "renamed"),
    ("name", None, "only in {}"),
    ("**kwargs", "**kwargs", "same"),
    (None, "params", "only in MindSpore"),
    (None, "use_locking", "only in MindSpore"),
    (None, "use_nesterov", "only in MindSpore"),
    (None, "loss_scale", "only in MindSpore"),
]


@pytest.mark.parametrize(("dialect", "title"), [("tf26", "TensorFlow 2.6"), ("keras3", "Keras 3")])
def test_every_row_of_the_page_is_there_and_right(dialect: str, title: str) -> None:
    found = {(row.source, row.target): row.category for row in rows(MAPPING, dialect, "mindspore")}
    for source, target, category in PAGE:
        if dialect == "keras3" and target == "loss_scale":
            source, category = "loss_scale_factor", "renamed"
        assert found[source, target] == category.format(title)
    calls = [(s, t) for s, t in found if s and s.startswith("apply_gradients")]
    assert calls == [("apply_gradients(grads_and_vars)", "construct(gradients)")]
    if dialect == "tf26":
        assert found[None, "weight_decay"] == "only in MindSpore"


def by_source(a: str, b: str) -> dict[str | None, Row]:
    return {row.source: row for row in rows(MAPPING, a, b)}


def test_weight_decay_has_the_same_name_and_another_meaning() -> None:
    row = by_source("keras3", "mindspore")["weight_decay"]
    assert (row.target, row.category) == ("weight_decay", OTHER_MEANING)
    assert "Decoupled" in row.note
    assert "L2" in row.note


def test_defaults_are_compared_by_what_they_do() -> None:
    table = by_source("tf26", "mindspore")
    assert table["epsilon"].category == "renamed, other default"
    assert by_source("tf1", "mindspore")["epsilon"].category == "renamed"
    assert by_source("tf1", "tf26")["epsilon"].category == "other default"
    # None and 1.0 both mean that nothing is scaled.
    assert by_source("keras3", "mindspore")["loss_scale_factor"].category == "renamed"


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_no_parameter_is_lost_in_any_table(a: str, b: str) -> None:
    table = rows(MAPPING, a, b)
    for name, side in ((a, "source"), (b, "target")):
        shown = [getattr(row, side) for row in table if row.kind in ("parameter", "keyword") and getattr(row, side)]
        expected = [fact.name for fact in MAPPING.dialects[name].facts]
        expected += ["**kwargs"] if MAPPING.dialects[name].kwargs else []
        assert sorted(shown) == sorted(expected)
    if a == b:
        assert {row.category for row in table} == {"same"}


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_tables_are_the_same_read_from_either_side(a: str, b: str) -> None:
    def key(mapping: Mapping, source: str, target: str) -> set[tuple[str | None, str | None, str]]:
        return {(row.source, row.target, row.category) for row in rows(mapping, source, target)}

    assert key(MAPPING, a, b) == {(s, t, category) for t, s, category in key(MAPPING, b, a)}


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"


def test_every_format_holds_every_row() -> None:
    table = rows(MAPPING, "tf26", "mindspore")
    text = {name: render(MAPPING, "tf26", "mindspore", table) for name, render in RENDERERS.items()}
    assert len(text["markdown"].splitlines()) == len(table) + 2
    assert len(json.loads(text["json"])["rows"]) == len(table)
    parsed = list(csv.DictReader(io.StringIO(text["csv"])))
    assert [line["tf26"] for line in parsed] == [row.source or "" for row in table]
    cells = _Cells()
    cells.feed(text["html"])
    assert cells.rows == len(table) + 1


@pytest.mark.parametrize("text", ["", "[0, 1", "0, 1", "[1, 0]", "[0]", "[a, b]", "(1, 1)"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(ValueError):
        Interval.parse(text)


def test_intervals_hold_no_nan_and_no_infinity() -> None:
    assert not Interval.parse("[0, inf)").contains(float("nan"))
    assert not Interval.parse("[0, inf]").contains(float("inf"))
    assert str(Interval.parse("(0, 1]")) == "(0, 1]"


def test_every_type_of_a_parameter_has_values_for_a_default() -> None:
    assert set(parameter_reader._TYPES) == set(vocabulary.words(vocabulary.Type))


def test_the_grammar_names_every_word() -> None:
    grammar = TEXT.partition("\ncanonical:\n")[0]
    kinds = [kind for kind in vars(vocabulary).values() if vocabulary.words(kind)]
    assert len(kinds) > 20
    for word in itertools.chain.from_iterable(vocabulary.words(kind) for kind in kinds):
        assert re.search(rf"\b{re.escape(word)}\b", grammar), f"the head of mapping.yaml does not say {word!r}"

"""Results show themselves: as HTML in a notebook, and as text in a plain console."""

from __future__ import annotations

import copy
import pickle
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import adamcompat
import adamcompat.comparison.notebook as notebook
import adamcompat.comparison.plot as plot
from adamcompat.comparison import Comparison, Pair, Point
from adamcompat.installation import Replaced, Report
from adamcompat.migrate import Finding, Migration, Outcome
from adamcompat.state import AdamState, Matching
from adamcompat.translation import Message, Severity, Translation
from adamcompat.verify import Verification
from adamcompat.verify.judge import AGREES, DIFFERS, Verdict

# What would be another element, if it were not escaped.
EVIL = "<b>&\"'"


def comparison() -> Comparison:
    pair = Pair(EVIL, "b", 9.0, 0.5, 9.0, 1, None, False, [Point(1, 9.0, 0.5), Point(2, 9.0, 0.5)], None, 1.0)
    return Comparison(f"2 steps {EVIL}", 2, 2.0, [], [pair])


def verification() -> Verification:
    facts = [("right", AGREES), (EVIL, DIFFERS)]
    return Verification(tuple(Verdict(path, "d", "1", "2", "Keras", "3", s) for path, s in facts), {"torch": EVIL})


def migration() -> Migration:
    finding = Finding(Message("odd", Severity.ERROR, EVIL), 1, 2)
    return Migration("shim", False, 3, (Outcome(Path("a.py"), (finding,), "old\n", f"{EVIL}\n"),))


def state() -> AdamState:
    moments = {EVIL: np.zeros((2, 3), np.float32)}
    return AdamState(step=7, first_moment=moments, second_moment=moments, hyperparameters={"beta1": 0.9})


def matching() -> Matching:
    found = state().match({EVIL: (2, 3), "new": (1,)}, alone=["new"])
    return Matching(found.pairs, found.source_alone, found.target_alone, (f"note {EVIL}",))


def report() -> Report:
    return Report(True, (Replaced(EVIL, "ours", 3, 1, True),), ("mindspore",), {"torch": EVIL})


def translation() -> Translation:
    return Translation("keras3", "torch", f"Adam('{EVIL}')", ("import torch",), (Message("odd", Severity.INFO, EVIL),))


SHOWN: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "table": (adamcompat.table, ["keras.optimizers.Adam to mindspore.nn.Adam", "same name, other meaning"]),
    "comparison": (comparison, ["1 of 1 pairs differ by more than 2 spacings.", f"2 steps {EVIL}", "at the end"]),
    "verification": (
        verification,
        ["2 of 2 facts measured: 1 agrees, 1 differs.", "Keras 3: 2 facts: 1 agrees, 1 differs", f"torch: {EVIL}"],
    ),
    "translation": (translation, [f"Adam('{EVIL}')", "import torch", f"INFO odd: {EVIL}"]),
    "migration": (migration, ["3 files looked at, 1 to change, 1 to look at", f"+{EVIL}", f"ERROR odd: {EVIL}"]),
    "state": (state, ["AdamState(step 7, 1 parameter, 6 elements, float32)"]),
    "matching": (matching, [f"{EVIL} (2, 3)", "new (1,)", "moments of zero", f"note {EVIL}"]),
    "report": (report, ["adamcompat: installed, in use", f"torch keeps its own Adam: {EVIL}", "mindspore is not"]),
    "installed": (adamcompat.installed, ["adamcompat: not installed, not in use"]),
}


@pytest.mark.parametrize(("make", "texts"), SHOWN.values(), ids=SHOWN)
def test_what_is_shown_is_whole_and_escaped(make: Callable[[], Any], texts: list[str]) -> None:
    found = make()._repr_html_()
    # Parsing it is what tells whether all is escaped and closed.
    root = ElementTree.fromstring(found)
    assert root.tag == "div"
    assert root.attrib == {"class": "adamcompat"}
    assert not [element for element in root.iter() if element.tag == "b"]
    words = "\n".join(root.itertext())
    assert [text for text in texts if text not in words] == []


@pytest.mark.parametrize(("make", "texts"), SHOWN.values(), ids=SHOWN)
def test_what_is_shown_needs_no_net_and_has_the_colours_of_the_notebook(
    make: Callable[[], Any], texts: list[str]
) -> None:
    found = make()._repr_html_()
    # A namespace is a name, and nothing that is fetched.
    assert not re.search(r"(?<!xmlns=\")(?<!xmlns:xlink=\")https?:|<script|@import|url\((?!#)|src=", found)
    assert set(re.findall(r"background[^:;]*:([^;}]*)", found)) == {"transparent"}
    assert not re.search(r"#fff\b|#ffffff|#000\b|#000000|\bwhite\b(?!-)|\bblack\b", found)


@pytest.mark.parametrize(("make", "texts"), SHOWN.values(), ids=SHOWN)
def test_a_plain_console_shows_it_too(make: Callable[[], Any], texts: list[str]) -> None:
    shown = repr(make())
    assert texts[0] in shown
    assert " object at 0x" not in shown


def test_what_agrees_says_so() -> None:
    agreed = Verification(verification().verdicts[:1], {})
    assert agreed.agrees
    assert 'class="yes"' in agreed._repr_html_()
    assert 'class="yes"' in Comparison("about", 1, 2.0, [], [])._repr_html_()
    assert not Verification((), {}).agrees
    assert "Nothing was measured." in Verification((), {})._repr_html_()
    assert repr(Matching(())) == "Matching of nothing"


def test_a_translation_that_there_is_not_says_so() -> None:
    found = adamcompat.translate("nn.Adam(net.trainable_params(), use_nesterov=True)", "tf1")
    assert "There is no translation." in found._repr_html_()
    assert repr(found).startswith("no translation:\n")
    assert "\nERROR no-counterpart: " in repr(found)


def test_of_many_parameters_some_are_listed() -> None:
    moments = {f"w{number}": np.zeros(1) for number in range(60)}
    found = AdamState(step=0, first_moment=moments, second_moment=moments)._repr_html_()
    assert "w49" in found
    assert "w50" not in found
    assert "and 10 more" in found


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
def test_a_comparison_is_drawn_in_the_ink_of_the_notebook() -> None:
    found = comparison()._repr_html_()
    assert found == comparison()._repr_html_()
    assert "<svg" in found
    assert 'fill="currentColor"' in found
    assert plot._INK not in found


def test_a_comparison_is_shown_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = comparison()._repr_html_()
    assert "<svg" not in found
    assert "The drawing needs matplotlib: pip install" in found


@pytest.mark.skipif(find_spec("libcst") is None, reason="needs libcst")
def test_files_are_migrated_when_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("import keras\nopt = keras.optimizers.Adam()\n", encoding="utf-8")
    before = file.read_text(encoding="utf-8")
    found = adamcompat.migrate(tmp_path, "shim")
    assert (found.looked_at, len(found.changed), found.failed, found.written) == (1, 1, False, False)
    assert file.read_text(encoding="utf-8") == before
    assert adamcompat.migrate([file], "shim", write=True).written
    assert "adamcompat.tensorflow.Adam()" in file.read_text(encoding="utf-8")
    assert repr(adamcompat.migrate(str(file), "shim")).endswith("1 file looked at, none to change")


def test_a_table_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    import adamcompat.cli as cli

    for form in ("markdown", "json", "csv", "html"):
        assert cli.main(["table", "--from", "tf26", "--to", "torch", "--format", form]) == 0
        assert adamcompat.table("tf26", "torch").render(form) == capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(SHOWN) - {"installed"}))
def test_results_can_be_pickled_and_copied(name: str) -> None:
    result = SHOWN[name][0]()
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert (type(other), str(other), other._repr_html_()) == (type(result), str(result), result._repr_html_())


def test_of_a_large_migration_a_notebook_shows_the_gravest_findings() -> None:
    findings = [Finding(Message("odd", Severity.INFO, "said"), line, 1) for line in range(1, 5000)]
    findings.append(Finding(Message("grave", Severity.ERROR, "failed"), 5000, 1))
    many = Migration("shim", False, 1, (Outcome(Path("a.py"), tuple(findings), "old\n" * 9000, "new\n" * 9000),))
    found = many._repr_html_()
    assert len(found) < 100_000
    assert "ERROR grave: failed" in found
    assert "and 4800 more findings" in found
    assert "and 17003 more lines of changes" in found
    assert str(many).count("\n") > 20_000


def test_a_state_of_many_parameters_is_made_in_time_that_grows_with_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[AdamState] = []

    def shapes(state: AdamState) -> dict[str, tuple[int, ...]]:
        asked.append(state)
        return {name: tuple(tensor.shape) for name, tensor in state.first_moment.items()}

    monkeypatch.setattr(AdamState, "shapes", property(shapes))
    moments = {str(number): np.zeros(1, np.float32) for number in range(50)}
    AdamState(step=1, first_moment=moments, second_moment=moments)
    assert len(asked) < 5

"""Every two dialects have a page: the call, both formulas, what differs, and, where both run, how far they drift."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from itertools import permutations
from pathlib import Path
from types import ModuleType

import pytest

from adamcompat.differences import SAME, rows
from adamcompat.mapping.formulas import STEP_SIZES
from adamcompat.mapping.tables import MAPPING

ROOT = Path(__file__).resolve().parents[1]
FIGURES = json.loads((ROOT / "docs/figures/pairs.json").read_text(encoding="utf-8"))


def script(name: str) -> ModuleType:
    """Import one of the scripts."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


PAGES = script("pair_pages")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages as they are written, by name."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "of-no-pair.md").write_text("old", encoding="utf-8")
    PAGES.write(folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_ordered_pair_has_a_page_and_no_other_is_left(written: dict[str, str]) -> None:
    wanted = {PAGES.file_of(*names) for names in permutations(MAPPING.dialects, 2)}
    assert set(written) == wanted | {"index.md"}
    assert len(wanted) == len(MAPPING.dialects) * (len(MAPPING.dialects) - 1)
    linked = re.findall(r"^- \[to .*\]\((.*)\)$", written["index.md"], re.MULTILINE)
    assert sorted(linked) == sorted(wanted)


def test_each_page_has_call_formulas_table_and_drift(written: dict[str, str]) -> None:
    measured = FIGURES["settings"]["defaults"]["moved"]
    assert {"keras3", "tf26", "mindspore", "torch", "mint_adamw"} <= set(measured)
    for source, target in permutations(MAPPING.dialects.values(), 2):
        text = written[PAGES.file_of(source.name, target.name)]
        parts = text.split("\n## ")
        assert [part.partition("\n")[0] for part in parts[1:]] == [
            "The call",
            "The formulas",
            "What differs",
            "How far they drift apart",
        ]
        assert f"```python\n{source.target}(" in parts[1]
        assert f"\n{target.target}(" in parts[1] or "<li>ERROR: " in parts[1], text
        for dialect in (source, target):
            form = STEP_SIZES[dialect.semantics.form].removeprefix("learning_rate").removesuffix(")").strip()
            assert form in parts[2], (dialect.name, text)
        differing = [row for row in rows(MAPPING, source.name, target.name) if row.category != SAME]
        assert parts[3].count("<tr><td>") == len(differing)
        if {source.name, target.name} <= set(measured):
            assert "<tr><td>each one's defaults</td>" in parts[4]
        else:
            assert "facts alone" in parts[4] and "<td>" not in parts[4]


def test_titles_are_what_people_look_for(written: dict[str, str]) -> None:
    text = written["keras3-to-mindspore.md"].replace("<wbr>", "")
    assert "\n# tf.keras.optimizers.Adam to mindspore.nn.Adam\n" in text
    titles = [re.search(r"^# (.*)$", page, re.MULTILINE) for page in written.values()]
    assert len({title[1] for title in titles if title is not None}) == len(written)


def test_a_drift_is_a_fraction_of_the_sources_movement(written: dict[str, str]) -> None:
    found = FIGURES["settings"]["defaults"]
    apart = found["apart"]["keras3 mindspore_adamweightdecay"][0]
    for names in (("keras3", "mindspore_adamweightdecay"), ("mindspore_adamweightdecay", "keras3")):
        wanted = PAGES.shown(apart / found["moved"][names[0]][0])
        assert f"<tr><td>each one's defaults</td><td>{wanted}</td>" in written[PAGES.file_of(*names)]


def test_the_figures_are_those_that_the_script_measures() -> None:
    steps = tuple(FIGURES["steps"][:2])
    again = script("drift").measure(steps)
    for name, setting in FIGURES["settings"].items():
        for kind in ("moved", "apart"):
            assert set(setting[kind]) == set(again["settings"][name][kind])
            for key, values in setting[kind].items():
                assert again["settings"][name][kind][key] == pytest.approx(values[:2], rel=1e-3, abs=1e-6), key
    assert again["about"] == FIGURES["about"]

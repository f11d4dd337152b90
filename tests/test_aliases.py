"""Classes of other libraries, which a file of one's own describes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")
pytest.importorskip("yaml", reason="needs PyYAML: pip install PyYAML")

from adamcompat import cli, translate
from adamcompat.migrate import migrate_file, migrate_text
from adamcompat.translation.aliases import known

EXAMPLE = Path(__file__).parent.parent / "docs" / "aliases.yaml"
OWN = """\
dialects:
  mine:
    extends: keras3_adamw
    title: Mine
    target: mine.optim.Own
    aliases: [mine.Own]
    versions: all
    defaults: {weight_decay: 0.01}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("source", "to", "call", "codes"),
    [
        ("mindcv.optim.AdamW(p)", "mindformers_adamw", "mindformers.core.optim.AdamW(p)", []),
        ("from mindcv.optim import AdamW\nAdamW(p, 1e-3, 0.9, 0.95)", "mindformers_adamw",
         "mindformers.core.optim.AdamW(p, learning_rate=1e-3, betas=(0.9, 0.95))", []),
        ("mindcv.optim.AdamW(p, loss_scale=8.0)", "keras3",
         "keras.optimizers.Adam(epsilon=1e-08, loss_scale_factor=8.0)", ["other-epsilon"]),
        ("mindformers.core.AdamW(p, weight_decay=0.1)", "keras3_adamw",
         "keras.optimizers.AdamW(weight_decay=0.1, epsilon=1e-08)", ["other-epsilon"]),
        ("keras.optimizers.AdamW()", "mindcv_adamw", "mindcv.optim.AdamW(params, eps=1e-07, weight_decay=0.004)",
         ["other-epsilon", "other-skips"]),
        ("from models.training import Adam\nAdam(lr=0.1, decay=0.5)", "mindspore", None, []),
        ("from models.optim import AdamWeightDecay as A\nA(p, 1e-3)", "mindspore_adamweightdecay",
         "mindspore.nn.AdamWeightDecay(p, learning_rate=1e-3)", []),
        ("mindcv.optim.AdamW(p)", "mindspore_adamweightdecay", None, []),
        ("mindcv.optim.AdamW(p, clip=True)", "keras3", None, ["other-epsilon"]),
    ],
)  # fmt: skip
def test_the_example_describes_classes_that_translate(source: str, to: str, call: str | None, codes: list[str]) -> None:
    found = translate(source, to, aliases=EXAMPLE)
    assert found.call == call
    assert bool(found.errors) == (call is None)
    assert call is None or [message.code for message in found.warnings] == codes


@pytest.mark.parametrize(
    ("epsilon", "counts", "severity"), [("1e-8", "3.16e-10", "WARNING"), ("1e-3", "3.16e-05", "ERROR")]
)
def test_another_place_of_epsilon_is_said_with_its_size(epsilon: str, counts: str, severity: str) -> None:
    messages = translate(f"mindformers.core.AdamW(p, eps={epsilon})", "keras3", aliases=EXAMPLE).messages
    (found,) = (message for message in messages if message.severity.value != "INFO")
    assert found.severity.value == severity
    assert "keras.optimizers.Adam adds epsilon to sqrt(v)" in found.text
    assert f"{counts} at t = 1 and" in found.text
    # In 100 steps with gradients of 0.1 no digit of six shows the one, and every reader the other.
    assert ("a weight of 1 after 100 steps" in found.text) == (epsilon == "1e-3")


def test_a_file_of_ones_own_is_read_anew_where_it_changed(own: Path) -> None:
    assert str(translate("mine.Own()", "keras3", aliases=own)) == "keras.optimizers.Adam(weight_decay=0.01)"
    own.write_text(OWN.replace("0.01", "0.125"), encoding="utf-8")
    assert str(translate("mine.Own()", "keras3", aliases=own)) == "keras.optimizers.Adam(weight_decay=0.125)"
    assert "mine.Own" not in known(None).classes


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ValueError, match=f"{path.name}: (No such file|Is a directory)"):
            translate("keras.optimizers.Adam()", "mindspore", aliases=path)


def test_migrate_rewrites_a_class_of_ones_own(own: Path) -> None:
    text = "from mine import Own\nimport keras\nopt = Own(1e-3)\n"
    assert migrate_text(text, "tensorflow") == (text, [])
    new, found = migrate_text(text, "tensorflow", aliases=own)
    assert new == "import keras\nopt = keras.optimizers.Adam(learning_rate=1e-3, weight_decay=0.01)\n"
    assert [item.message.code for item in found] == ["call-rewritten"]
    new, found = migrate_text(text, "shim", aliases=own)
    assert (new, [item.message.code for item in found]) == (text, ["no-drop-in"])
    # Nothing in the file looks like an Adam but the name that is described.
    path = own.parent / "train.py"
    path.write_text(text, encoding="utf-8")
    assert migrate_file(path, "tensorflow", own).changed
    assert not migrate_file(path, "tensorflow").findings


def test_a_further_name_of_a_known_class_is_replaced_as_that() -> None:
    new, _ = migrate_text("from models.optim import AdamWeightDecay\nopt = AdamWeightDecay(p)\n", "shim", EXAMPLE)
    assert new == "from adamcompat.mindspore import AdamWeightDecay\nopt = AdamWeightDecay(p)\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("keras3_adamw", "keras4", "own.yaml:3: dialects.mine.extends: unknown dialect 'keras4'"),
        ("  mine:", "  keras3:", "own.yaml:3: dialects.keras3: adamcompat has a dialect 'keras3' already"),
        ("mine.optim.Own", "ms.nn.Adam", "own.yaml:5: dialects.mine.target: 'ms.nn.Adam' is a name of 'mindspore'"),
        ("mine.optim.Own", "Own", "own.yaml:5: dialects.mine.target: 'Own' is no dotted name"),
        ("[mine.Own]", "[nn.Adam]", "own.yaml:6: dialects.mine.aliases: 'nn.Adam' is a name of 'mindspore' already"),
        ("weight_decay: 0.01", "weight_decay: 1e-2", "own.yaml:8: dialects.mine.defaults.weight_decay: YAML reads"),
        ("weight_decay: 0.01", "decay: 0.01", "own.yaml:8: dialects.mine.defaults.decay: 'keras3_adamw' has no"),
        ("    title: Mine\n", "", "own.yaml:3: dialects.mine: the key 'title' is missing"),
        ("dialects:", "dialect:", "own.yaml:2: dialect: unknown key 'dialect'; known here: aliases, dialects"),
        ("dialects:", "aliases: {keras4: [a.B]}\ndialects:", "own.yaml:1: aliases.keras4: the dialect 'keras4' is not"),
        ("    versions: all\n", "    versions: all\n    without: [repeated_rows]\n    stages: [update]\n",
         "own.yaml:9: dialects.mine.stages: nothing executes the parameter"),
        ("dialects:", "dialects: [", "own.yaml:"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_and_line(own: Path, old: str, new: str, said: str) -> None:
    own.write_text(OWN.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        known(own)
    assert said in str(caught.value)


def test_the_commands_take_a_file(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["translate", "mine.Own(1e-3)", "--from", "mine", "--to", "mine.Own", "--aliases", str(own)]
    assert cli.main(asked) == 0
    assert capsys.readouterr().out == "import mine\nmine.optim.Own(learning_rate=1e-3)\n"
    path = own.parent / "train.py"
    path.write_text("import mine\nopt = mine.Own(1e-3)\n", encoding="utf-8")
    assert cli.main(["migrate", str(path), "--to", "tensorflow", "--write", "--aliases", str(own)]) == 0
    assert "keras.optimizers.Adam(learning_rate=1e-3, weight_decay=0.01)" in path.read_text(encoding="utf-8")
    own.write_text("dialects: 3\n", encoding="utf-8")
    for command in (asked, ["migrate", str(path), "--to", "shim", "--aliases", str(own)]):
        capsys.readouterr()
        assert cli.main(command) == 2
        assert "own.yaml:1: dialects: expected a block" in capsys.readouterr().err
    assert cli.main(["migrate", str(path), "--to", "shim", "--aliases", str(own.parent / "missing")]) == 2
    assert "missing: No such file" in capsys.readouterr().err

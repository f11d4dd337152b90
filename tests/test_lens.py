"""Native names and values become canonical ones and native again, and mapping.yaml's tuples are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamcompat.differences import rows
from adamcompat.mapping import lens
from adamcompat.mapping.facts import Fact, TupleFact
from adamcompat.mapping.loader import MappingError, load
from adamcompat.mapping.model import Mapping
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify import probes
from adamcompat.verify.judge import judge
from adamcompat.verify.observe import observe
from tests.test_verify import Imitation, imitate
from tests.tuples import TWIN, with_twins

NAMES = [*MAPPING.dialects, "twin", "swapped"]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Mapping:
    return load(with_twins(tmp_path_factory.mktemp("twins") / "mapping.yaml"), executed=True)


def value_of(fact: Fact) -> st.SearchStrategy[Any]:
    values = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=3), st.integers())
    return st.tuples(*(values for _ in fact.parts)) if isinstance(fact, TupleFact) else values


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_native_names_come_back(twins: Mapping, name: str, data: st.DataObject) -> None:
    dialect = twins.dialects[name]
    facts = [fact for fact in dialect.accepted if fact.alias_of is None]
    chosen = data.draw(st.lists(st.sampled_from(facts), unique_by=lambda fact: fact.name))
    native = {fact.name: data.draw(value_of(fact)) for fact in chosen}
    canonical = lens.to_canonical(dialect, native)
    assert canonical.keys() == {part.canonical for fact in chosen for part in fact.parts}
    assert lens.to_native(dialect, canonical) == native
    assert lens.settled(dialect, native) == native


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_canonical_names_come_back(twins: Mapping, name: str, data: st.DataObject) -> None:
    dialect = twins.dialects[name]
    required = {part.canonical for part in dialect.facts if part.required}
    chosen = data.draw(st.lists(st.sampled_from([part.canonical for part in dialect.facts]), unique=True))
    canonical = {part: data.draw(st.floats(0, 1)) for part in dict.fromkeys([*chosen, *sorted(required)])}
    back = lens.to_canonical(dialect, lens.to_native(dialect, canonical))
    assert {part: back[part] for part in canonical} == canonical
    # Beside an element of a tuple stand the defaults of the others, and nothing else.
    defaults = {part.canonical: part.default for part in dialect.facts}
    assert {part: value for part, value in back.items() if part not in canonical}.items() <= defaults.items()


def test_an_alias_wins_over_what_it_stands_for_unless_it_is_none() -> None:
    dialect = MAPPING.dialects["tf26"]
    assert lens.to_canonical(dialect, {"lr": 0.1, "learning_rate": 0.2}) == {"learning_rate": 0.1}
    assert lens.to_canonical(dialect, {"lr": None, "learning_rate": 0.2}) == {"learning_rate": 0.2}
    assert lens.settled(dialect, {"lr": 0.1, "decay": 0.2}) == {"learning_rate": 0.1, "decay": 0.2}
    assert lens.settled(dialect, {"lr": None, "learning_rate": 0.2}) == {"lr": None, "learning_rate": 0.2}


def test_what_a_borrowed_parameter_says_stands_under_the_own_name(twins: Mapping) -> None:
    keras, twin = twins.dialects["keras3"], twins.dialects["twin"]
    betas, beta_1 = twin.find("betas"), keras.find("beta_1")
    assert betas is not None
    assert beta_1 is not None
    assert lens.settled(keras, {"beta_2": 0.5, "betas": [0.1, 0.2]}, [betas]) == {"beta_2": 0.2, "beta_1": 0.1}
    assert lens.settled(twin, {"beta_1": 0.1, "betas": [0.5, 0.2]}, [beta_1]) == {"betas": (0.1, 0.2)}
    assert lens.settled(twin, {"beta_1": 0.1}, [beta_1]) == {"betas": (0.1, 0.99)}
    # An own parameter wins over a borrowed one of the same meaning.
    assert lens.to_native(twin, {"beta1": 0.1}, [beta_1]) == {"betas": (0.1, 0.99)}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((0.1,), "betas must be a tuple of 2 values (beta1, beta2), got 1: (0.1,)"),
        ((0.1, 0.2, 0.3), "betas must be a tuple of 2 values (beta1, beta2), got 3: (0.1, 0.2, 0.3)"),
        (0.1, "betas must be a tuple of 2 values (beta1, beta2), got 0.1 (float)"),
        ("ab", "betas must be a tuple of 2 values (beta1, beta2), got 'ab' (str)"),
        (None, "betas must be a tuple of 2 values (beta1, beta2), got None (NoneType)"),
    ],
)
def test_what_is_no_such_tuple_is_refused_with_the_dialects_exceptions(
    twins: Mapping, tmp_path: Path, value: Any, said: str
) -> None:
    path = with_twins(tmp_path / "mapping.yaml", TWIN.replace("    conflicts: []\n", ERRORS, 1))
    for dialect, kinds in ((twins.dialects["twin"], (ValueError,) * 2), (load(path).dialects["twin"], OWN)):
        kind = kinds[isinstance(value, tuple)]
        with pytest.raises(kind) as caught:
            lens.to_canonical(dialect, {"betas": value})
        assert (type(caught.value), caught.value.args) == (kind, (said,))


OWN = (KeyError, RuntimeError)
ERRORS = """    conflicts: []
    errors: {unknown_keyword: IndexError, wrong_type: KeyError, out_of_range: RuntimeError, conflict: ValueError,
             unknown_parameter: ValueError, repeated_parameter: ValueError, wrong_gradients: ValueError}
"""


def test_unknown_names_are_refused_with_the_dialects_exceptions(twins: Mapping) -> None:
    dialect = twins.dialects["mindspore"]
    with pytest.raises(KeyError, match="MindSpore has no parameter 'betas'; known: params, learning_rate"):
        lens.to_canonical(dialect, {"betas": (0.1, 0.2)})
    with pytest.raises(KeyError, match="MindSpore has no counterpart of 'clip_norm'"):
        lens.to_native(dialect, {"clip_norm": 1.0})
    with pytest.raises(ValueError, match="terms of Swapped needs 'epsilon' too, which has no default"):
        lens.to_native(twins.dialects["swapped"], {"beta2": 1.0})


def test_a_function_is_applied_to_each_element(twins: Mapping) -> None:
    dialect = twins.dialects["twin"]
    assert lens.each(dialect.find("betas"), [1, 2], float) == (1.0, 2.0)
    assert lens.each(dialect.find("betas"), 3, float) == 3
    assert lens.each(dialect.find("eps"), 1, float) == 1.0
    assert lens.each(None, 1, float) == 1.0


def test_a_table_shows_each_element(twins: Mapping) -> None:
    found = {row.source: row for row in rows(twins, "twin", "keras3")}
    one, other = found["betas[0]"], found["betas[1]"]
    assert (one.source_default, one.target, one.target_default, one.category) == ("0.9", "beta_1", "0.9", "renamed")
    assert (other.target, other.category) == ("beta_2", "renamed, other default")
    back = {row.source: row.target for row in rows(twins, "keras3", "swapped")}
    assert (back["beta_2"], back["epsilon"], back["beta_1"]) == ("terms[0]", "terms[1]", "momentum")


def test_a_tuple_may_come_through_keywords(tmp_path: Path) -> None:
    clips = "{name: clips, canonical: [clip_norm, clip_value], type: number, default: [null, null], absent: refuse}"
    text = TWIN.replace("    kwargs: false\n", f"    kwargs: true\n    keywords: [{clips}]\n", 1)
    found = load(with_twins(tmp_path / "mapping.yaml", text), executed=True)
    dialect = found.dialects["twin"]
    assert lens.to_native(dialect, {"clip_value": 0.5}) == {"clips": (None, 0.5)}
    kinds = {row.source: (row.kind, row.target) for row in rows(found, "twin", "keras3")}
    assert (kinds["clips[0]"], kinds["betas[0]"]) == (("keyword", "clipnorm"), ("parameter", "beta_1"))
    assert {row.source: row.kind for row in rows(found, "keras3", "twin")}["clipvalue"] == "keyword"


def test_a_default_of_an_extended_tuple_is_the_whole_list(tmp_path: Path) -> None:
    more = """
  other:
    extends: twin
    title: Other
    target: example.other.Adam
    aliases: []
    versions: example
    defaults: {betas: [0.5, 0.25], eps: 0.5}
    without: [amsgrad]

adapters:
"""
    found = load(with_twins(tmp_path / "mapping.yaml", TWIN.replace("\nadapters:\n", more))).dialects
    assert [fact.default for fact in found["other"].parameters] == [0.001, (0.5, 0.25), 0.5]
    assert found["other"].facts[1:3] != found["twin"].facts[1:3]
    assert found["other"].facts[1].range == found["twin"].facts[1].range
    without = more.replace("defaults: {betas: [0.5, 0.25], eps: 0.5}", "defaults: {}")
    switched = without.replace("twin", "swapped").replace("[amsgrad]", "[switches]")
    found = load(with_twins(tmp_path / "mapping.yaml", TWIN.replace("\nadapters:\n", switched))).dialects
    # The form of AMSGrad goes with the tuple that asks for it.
    assert found["other"].semantics.amsgrad == "none"
    assert found["swapped"].semantics.amsgrad == "raw_maximum"


BETAS = "canonical: [beta1, beta2]\n        type: beta\n        default: [0.9, 0.99]\n"
TERMS = "canonical: [beta2, epsilon], type: number,"
MISTAKES = [
    ("default: [0.9, 0.99]", "default: [0.9]", "the default of 'betas' must be a list of 2, one each of beta1, beta2"),
    ("default: [0.9, 0.99]", "default: 0.9", "the default of 'betas' must be a list of 2"),
    ("default: [0.9, 0.99]", "default: null", "the default of 'betas' must be a list of 2"),
    ("default: [0.9, 0.99]", "default: [0.9, 1.0]", "the default 1.0 of 'betas[1]' is outside its range [0, 1)"),
    ("default: [0.9, 0.99]", "default: [0.9, true]", "the default True (bool) is not of the type 'beta'"),
    ("default: [0.9, 0.99]", "default: [0.9, 1e-3]", "YAML reads 1e-3 as text"),
    ("default: 1.0e-8", "default: [1.0e-8]", "expected a single value"),
    ("[beta1, beta2]", "[beta1, beta9]", "the canonical name 'beta9' is not defined under 'canonical'"),
    ("[beta1, beta2]", "[beta1, beta1]", "the canonical name 'beta1' is listed twice"),
    ("[beta1, beta2]", "[beta1]", "a tuple has two elements or more"),
    ("[beta1, beta2]", "[]", "a tuple has two elements or more"),
    ("[beta1, beta2]", "[beta1, name]", "a tuple cannot hold 'name'; it needs a parameter of its own"),
    ("[beta1, beta2]", "[beta1, learning_rate]", "a tuple cannot hold 'learning_rate'"),
    ("[beta1, beta2]", "[beta1, epsilon]", "'betas[1]' and 'eps' both mean 'epsilon'"),
    ("canonical: epsilon", "canonical: beta2", "'betas[1]' and 'eps' both mean 'beta2'"),
    ("type: beta", "type: decay", "'decay' is not one of number, float, integer, flag, text, beta"),
    (BETAS, BETAS + "        alias_of: eps\n", "'betas' is a tuple, which has no alias_of"),
    (BETAS, BETAS + "        read_as_default: [null]\n", "'betas' is a tuple, which has no read_as_default"),
    ("canonical: amsgrad, type: flag, default: false,", "canonical: amsgrad, type: flag, default: false, "
     "alias_of: betas,", "'amsgrad' is an alias of 'betas', a tuple, which nothing stands in for"),
    ("    conflicts: []\n", "    conflicts: [{pair: [betas, eps], original: raises}]\n",
     "a conflict names 'betas', a tuple, which is never left out"),
    ("    conflicts: []\n", "    conflicts: []\n    groups: [{name: gs, canonical: [beta1, beta2], type: beta, "
     "absent: refuse}]\n", "the key 'gs' of a group is a tuple; a key of a group has one meaning"),
    ("keras3: [beta_1]", "swapped: [terms]", None),
    ("dialect: keras3, borrows: {twin: [betas]}", "dialect: mindspore, borrows: {swapped: [switches]}",
     "'switches' of 'swapped' cannot be borrowed: 'mindspore' has amsgrad itself, and not the rest of it"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_a_mistake_in_a_tuple_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str | None) -> None:
    assert old in TWIN
    path = with_twins(tmp_path / "mapping.yaml", TWIN.replace(old, new, 1))
    if said is None:
        load(path)
        return
    with pytest.raises(MappingError) as caught:
        load(path)
    assert said in str(caught.value)
    where, line = str(caught.value).split(":")[:2]
    assert where == "mapping.yaml"
    begin = path.read_text(encoding="utf-8").split(TWIN[:9])[0].count("\n")
    last = begin + TWIN[: TWIN.index(old)].count("\n") + new.count("\n") + 1
    assert begin < int(line) <= last


def test_a_mistake_in_an_extended_default_is_named_with_its_line(tmp_path: Path) -> None:
    more = """
  other:
    extends: twin
    title: Other
    defaults:
      betas: [0.5]

adapters:
"""
    path = with_twins(tmp_path / "mapping.yaml", TWIN.replace("\nadapters:\n", more))
    line = path.read_text(encoding="utf-8").splitlines().index("      betas: [0.5]") + 1
    with pytest.raises(MappingError, match=f":{line}: .*'betas' must be a list of 2, one each of beta1, beta2"):
        load(path)


@pytest.mark.parametrize(("module", "runtime"), [("adamcompat.tensorflow", "tensorflow")])
def test_the_base_of_an_original_takes_no_tuples(tmp_path: Path, module: str, runtime: str) -> None:
    old = "{name: Twin, module: adamcompat.mindspore, runtime: mindspore,"
    assert old in TWIN
    new = f"{{name: Twin, module: {module}, runtime: {runtime},"
    text = TWIN.replace(old, new).replace("target: example.twin.Adam", "target: keras.optimizers.Adam")
    path = with_twins(tmp_path / "mapping.yaml", text)
    with pytest.raises(MappingError, match="reads each setting under a name of its own; it takes no tuple such as 'be"):
        load(path, executed=True)


class Original:
    """What the signature of an original with a tuple looks like."""

    def __init__(
        self, lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.99), eps: float = 1e-8, amsgrad: bool = False
    ) -> None: ...


class WithTuple(Imitation):
    """An original whose call has a tuple, spelled as one."""

    def start(self, native: Any, weights: Any, names: Sequence[str] = (), mode: str = "") -> Any:
        own = {"lr": "learning_rate", "eps": "epsilon", "amsgrad": "amsgrad"}
        (beta1, beta2), rest = native.get("betas", (0.9, 0.99)), {own[key]: native[key] for key in native if key in own}
        return self.build(
            {"learning_rate": 0.001, "epsilon": 1e-8, **rest, "beta1": beta1, "beta2": beta2}, weights, ()
        )


def test_an_original_with_a_tuple_is_verified_but_for_its_elements(twins: Mapping) -> None:
    plain = imitate(twins.dialects["twin"])
    fields = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
    original = WithTuple(**{**fields, "kind": Original})
    assert probes.epsilon(original) == ("hat",)
    seen = observe(original)
    found = {verdict.path: verdict for verdict in judge(twins, [seen])}
    assert not seen.failure
    assert found["dialects.twin.parameters.eps.canonical"].state == "agrees"
    assert found["dialects.twin.parameters.betas.default"].state == "agrees"
    betas = found["dialects.twin.parameters.betas.canonical"]
    assert (betas.state, betas.mapping, betas.observed) == (
        "not measured", "beta1, beta2", "a tuple, whose elements are not probed"
    )  # fmt: skip

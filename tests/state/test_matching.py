"""Who belongs to whom: right, or an error that lists the candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcompat.mapping.tables import MAPPING
from adamcompat.state import Matching, StateError
from adamcompat.state.layout import Transform, of_layer, same
from adamcompat.state.matching import match

KERAS = {
    "net/conv2d/kernel": (3, 3, 1, 8),
    "net/conv2d/bias": (8,),
    "net/dense/kernel": (8, 16),
    "net/dense/bias": (16,),
    "net/dense_1/kernel": (16, 16),
    "net/dense_1/bias": (16,),
}
MINDSPORE = {
    "conv.weight": (8, 1, 3, 3),
    "conv.bias": (8,),
    "fc1.weight": (16, 8),
    "fc1.bias": (16,),
    "fc2.weight": (16, 16),
    "fc2.bias": (16,),
}


def pairs(matching: Matching) -> dict[str, str]:
    return {pair.source: pair.target for pair in matching.pairs}


def test_shapes_and_the_names_of_weights_decide() -> None:
    found = match(KERAS, MINDSPORE)
    assert pairs(found) == dict(zip(KERAS, MINDSPORE, strict=True))
    layouts = {pair.target: str(pair.transform) for pair in found.pairs}
    assert layouts["conv.weight"] == "conv (3,2,0,1)"
    assert layouts["fc1.weight"] == layouts["fc2.weight"] == "dense (1,0)"
    assert layouts["fc2.bias"] == "same"


def test_the_table_shows_everything() -> None:
    lines = str(match(KERAS, MINDSPORE)).splitlines()
    assert len(lines) == 6
    assert " ".join(lines[2].split()) == "net/dense/kernel (8, 16) -> fc1.weight (16, 8) dense (1,0) by shape"
    assert str(Matching(())) == ""


def test_the_way_back_is_the_inverse() -> None:
    found, back = match(KERAS, MINDSPORE), match(MINDSPORE, KERAS)
    assert pairs(found.inverse) == pairs(back)
    effects = {pair.target: pair.transform.effect for pair in back.pairs}
    assert {pair.target: pair.transform.effect for pair in found.inverse.pairs} == effects


def test_layers_of_one_name_belong_together() -> None:
    source = {"net/b/kernel": (4, 4), "net/a/kernel": (4, 4)}
    assert pairs(match(source, {"a.weight": (4, 4), "b.weight": (4, 4)})) == {
        "net/a/kernel": "a.weight",
        "net/b/kernel": "b.weight",
    }


def test_numbers_that_were_counted_on_say_nothing() -> None:
    """The second model of a process has dense_1 where the first has dense."""
    source = {"dense_1/kernel": (4, 4), "dense_2/kernel": (4, 4)}
    for target in (
        {"dense/kernel": (4, 4), "dense_1/kernel": (4, 4)},
        {"dense.weight": (4, 4), "dense_1.weight": (4, 4)},
        {"net.dense_2.weight": (4, 4), "net.dense_3.weight": (4, 4)},
    ):
        with pytest.raises(StateError, match="leave open"):
            match(source, target)
        assert [pair.target for pair in match(source, target, rename="order").pairs] == list(target)
    assert pairs(match(source, {"dense_2.weight": (4, 4), "dense_1.weight": (4, 4)})) == {
        "dense_1/kernel": "dense_1.weight",
        "dense_2/kernel": "dense_2.weight",
    }
    with pytest.raises(StateError, match="leave open"):
        match({"0.weight": (4, 4), "2.weight": (4, 4)}, {"1.weight": (4, 4), "2.weight": (4, 4)})
    with pytest.raises(StateError, match="leave open"):
        match({"variable_1": (4,), "variable_2": (4,)}, {"variable": (4,), "variable_1": (4,)})


def test_what_is_open_is_an_error_with_the_candidates() -> None:
    with pytest.raises(StateError) as caught:
        match({"a/kernel": (4, 4), "b/kernel": (4, 4)}, {"x.weight": (4, 4), "y.weight": (4, 4)})
    text = str(caught.value)
    assert "a/kernel (4, 4) may be x.weight (4, 4), y.weight (4, 4)" in text
    assert "rename='order'" in text


def test_a_dictionary_settles_what_is_open() -> None:
    source = {"a/kernel": (4, 4), "b/kernel": (4, 4)}
    target = {"x.weight": (4, 4), "y.weight": (4, 4)}
    assert pairs(match(source, target, rename={"a/kernel": "y.weight"})) == {
        "a/kernel": "y.weight",
        "b/kernel": "x.weight",
    }
    assert pairs(match(source, target, rename="order")) == {"a/kernel": "x.weight", "b/kernel": "y.weight"}


def test_regular_expressions() -> None:
    source = {"net/layer1/kernel": (4, 4), "net/layer2/kernel": (4, 4)}
    target = {"2.weight": (4, 4), "1.weight": (4, 4)}
    rules = [(r"net/layer(\d)/", r"\1."), ("kernel", "weight")]
    assert pairs(match(source, target, rename=rules)) == {
        "net/layer1/kernel": "1.weight",
        "net/layer2/kernel": "2.weight",
    }
    single = match({"net/w": (3,)}, {"w": (3,)}, rename=("^net/", ""))
    assert [(pair.target, pair.evidence) for pair in single.pairs] == [("w", "rename")]


@pytest.mark.parametrize(
    ("source", "target", "options", "said"),
    [
        ({"a": (3,), "b": (2,)}, {"a": (3,)}, {}, "b (2,) of the state has none"),
        ({"a": (3,)}, {"a": (3,), "b": (2,)}, {}, "b (2,) of the target has none"),
        ({"a": (3,)}, {"a": (4,)}, {}, "do not fit"),
        ({"d/kernel": (3, 4)}, {"d.weight": (3, 4)}, {}, "do not fit in any layout that their names allow"),
        ({"d/kernel": (4, 4)}, {"w": (4, 4)}, {"target_convention": "mindspore"}, "'same' or 'dense'"),
        ({"w": (4, 4)}, {"w": (4, 4)}, {"target_convention": "mindspore"}, "'same' or 'dense'"),
        ({"n/gamma": (4,)}, {"n.beta": (4,)}, {}, "n/gamma (4,) of the state has none"),
        ({"n/gamma": (4,)}, {"n.beta": (4,)}, {"rename": "order"}, "different weights of a layer"),
        ({"a": (3,)}, {"a": (3,), "b": (2,)}, {"rename": "order"}, "1 parameters and the target 2"),
        ({"a": (3,)}, {"b": (3,)}, {"rename": {"c": "b"}}, "the state has no parameter 'c'"),
        ({"a": (3,)}, {"b": (3,)}, {"rename": {"a": "c"}}, "becomes 'c', which the target does not have"),
        ({"a": (3,), "b": (3,)}, {"c": (3,), "d": (3,)}, {"rename": {"a": "c", "b": "c"}}, "a, b all become 'c'"),
        ({"a": (3,)}, {"b": (3,)}, {"rename": ("x", "b")}, "no pattern occurs"),
        ({"a": (3,)}, {"b": (3,)}, {"rename": ("(", "b")}, "rename: '('"),
        ({"a": (3,)}, {"b": (3,)}, {"rename": "a"}, "rename must be a dictionary"),
        ({"a": (3,)}, {"a": (3,)}, {"layout": {"b": "same"}}, "there is no parameter 'b'"),
        ({"a": (3,)}, {"a": (3,)}, {"layout": "HWIO"}, "'HWIO' is none of same, dense"),
        ({"a": (3,)}, {"a": (3,)}, {"layout": "h w -> w"}, "write both sides with the same letters"),
        ({"a": (3,)}, {"a": (3,)}, {"layout": "h h -> h h"}, "a letter twice"),
        ({"a": (6,)}, {"a": (6,)}, {"layout": {"a": "(h w) -> (w h)"}}, "do not fit in the layout"),
        ({"a": (3,)}, {"a": (3,)}, {"layout": (1, 1)}, "is no permutation"),
        ({"a": (3,)}, {"a": (3,)}, {"layout": 3}, "layout must be a name"),
        ({"a": (3,)}, {"a": (3,)}, {"layout": (1, 0)}, "fits no parameter"),
        ({"a/kernel": (3, 3)}, {"a/kernel": (3, 3)}, {"layout": "dense"}, "fits no parameter"),
        ({"a/kernel": (3, 3)}, {"a/kernel": (3, 3)}, {"layout": {"a/kernel": "dense"}}, "they are tensorflow's"),
        ({"l/recurrent_kernel": (4, 16)}, {"l.weight_hh_l0": (16, 4)}, {}, "do not fit"),
        ({"Variable#0": (3,), "Variable#1": (3,)}, {"Variable#0": (3,), "Variable#1": (3,)}, {}, "leave open"),
    ],
)
def test_refusals(source: Any, target: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(StateError) as caught:
        match(source, target, **options)
    assert said in str(caught.value)


def test_a_layout_settles_what_is_open() -> None:
    source, target = {"d/kernel": (4, 4), "e/embeddings": (5, 5)}, {"w": (4, 4), "table": (5, 5)}
    for layout in ("dense", (1, 0), {"d/kernel": "dense", "e/embeddings": "same"}, {"w": (1, 0), "table": (0, 1)}):
        found = match(source, target, target_convention="mindspore", layout=layout)
        table = found.by_target["table"].transform
        assert not found.by_target["w"].transform.keeps_order
        # A layout that is given for all reaches everything with as many axes.
        assert table.keeps_order == isinstance(layout, dict)
    unchanged = match(source, target, target_convention="mindspore", layout="same")
    assert all(pair.transform.keeps_order for pair in unchanged.pairs)


def test_names_outrank_a_layout_that_is_given_for_all() -> None:
    found = match(
        {"d/kernel": (4, 4), "e/embeddings": (4, 4)}, {"d.weight": (4, 4), "e.embedding_table": (4, 4)}, layout="dense"
    )
    assert [str(pair.transform) for pair in found.pairs] == ["dense (1,0)", "same"]


CONV = {"net/conv/kernel": (3, 3, 2, 4), "net/conv/bias": (4,), "net/dense/kernel": (36, 5)}
MS_CONV = {"conv.weight": (4, 2, 3, 3), "conv.bias": (4,), "fc.weight": (5, 36)}


def test_a_flattened_map_must_be_told() -> None:
    """The shapes fit, and all elements would be in the wrong places."""
    there, back = "(h=3 w=3 c) o -> o (c h w)", "o (c h=3 w=3) -> (h w c) o"
    with pytest.raises(StateError, match="flattened map of 9 places") as caught:
        match(CONV, MS_CONV)
    assert there in str(caught.value)
    with pytest.raises(StateError, match="flattened map of 9 places") as caught:
        match(MS_CONV, CONV)
    assert back in str(caught.value)
    found = match(CONV, MS_CONV, layout={"net/dense/kernel": there})
    other = match(MS_CONV, CONV, layout={"fc.weight": back})
    assert found.inverse.by_target["net/dense/kernel"].transform.effect == (
        other.by_target["net/dense/kernel"].transform.effect
    )
    kernel = np.arange(36 * 5).reshape(3, 3, 4, 5)
    moved = found.by_target["fc.weight"].transform.apply(kernel.reshape(36, 5)).reshape(5, 4, 3, 3)
    np.testing.assert_array_equal(moved, kernel.transpose(3, 2, 0, 1))
    # What comes after the dense layer is no matter.
    match({**CONV, "e/kernel": (8, 2)}, {**MS_CONV, "e.weight": (2, 8)}, layout={"net/dense/kernel": there})
    plain = match(CONV, MS_CONV, layout={"net/dense/kernel": "dense"})
    assert str(plain.by_target["fc.weight"].transform) == "dense (1,0)"
    line = {"c/kernel": (3, 2, 4), "d/kernel": (20, 5)}
    with pytest.raises(StateError, match=r"\(w=5 c\) o -> o \(c w\)"):
        match(line, {"c.weight": (4, 2, 1, 3), "d.weight": (5, 20)})
    with pytest.raises(StateError, match=r"\(h=\? w=\? c\)"):
        match({**CONV, "net/dense/kernel": (24, 5)}, {**MS_CONV, "fc.weight": (5, 24)})


def test_pooled_features_and_later_layers_are_no_flattened_map() -> None:
    source = {"c/kernel": (3, 3, 2, 4), "d/kernel": (4, 8), "e/kernel": (8, 16)}
    match(source, {"c.weight": (4, 2, 3, 3), "d.weight": (8, 4), "e.weight": (16, 8)})


def test_many_parameters_take_no_time() -> None:
    source = {f"a{i}/kernel": (i + 2, 3) for i in range(300)}
    target = {f"b{i}.weight": (3, i + 2) for i in reversed(range(300))}
    found = pairs(match(source, target))
    assert all(one[1:].split("/")[0] == other[1:].split(".")[0] for one, other in found.items())


# Never a wrong match without an error.

KINDS: dict[str, tuple[list[str], list[str]]] = {
    "dense": (["kernel", "bias"], ["weight", "bias"]),
    "conv": (["kernel", "bias"], ["weight", "bias"]),
    "depthwise": (["depthwise_kernel"], ["weight"]),
    "embedding": (["embeddings"], ["embedding_table"]),
    "norm": (["gamma", "beta"], ["gamma", "beta"]),
}
small = st.integers(1, 3)


def true_transforms(kind: str, draw: Any) -> list[Transform]:
    """The weights of one layer, and how each really goes from Keras to MindSpore."""
    n = draw(small)
    if kind in ("embedding", "norm"):
        shapes = [(draw(small), n)] if kind == "embedding" else [(n,), (n,)]
        return [transform for shape in shapes if (transform := same(shape, shape)) is not None]
    i, h = draw(small), draw(small)
    source = {"dense": (i, n), "conv": (h, h, i, n), "depthwise": (h, h, i, n)}[kind]
    target = {"dense": (n, i), "conv": (n, i, h, h), "depthwise": (i * n, 1, h, h)}[kind]
    first = of_layer(MAPPING.layers[kind], source, target, of="tensorflow", to="mindspore")
    bias = same((n,), (n,))
    assert first is not None
    assert bias is not None
    return [first, bias][: len(KINDS[kind][0])]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_match_is_right_or_refused(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    style = data.draw(st.sampled_from(["same layers", "other layers", "counted on", "no names", "one side without"]))
    known = data.draw(st.booleans())
    truth: dict[str, tuple[str, Transform]] = {}
    for number, kind in enumerate(kinds):
        other = {"same layers": number, "counted on": number + 1}.get(style, 100 - number)
        for part, transform in enumerate(true_transforms(kind, data.draw)):
            weight, ms_weight = (side[part] for side in KINDS[kind])
            source, target = f"net/layer{number}/{weight}", f"layer{other}.{ms_weight}"
            if style == "no names":
                source = f"w{len(truth)}"
            if style in ("no names", "one side without"):
                target = f"p{50 - len(truth)}"
            truth[source] = target, transform
    target_shapes = {target: transform.shape for target, transform in truth.values()}
    order = data.draw(st.permutations(list(target_shapes)))
    try:
        found = match(
            {source: transform.source for source, (_, transform) in truth.items()},
            {target: target_shapes[target] for target in order},
            source_convention="tensorflow" if known else None,
            target_convention="mindspore",
        )
    except StateError as error:
        # These names leave nothing open but what was flattened.
        assert style != "same layers" or "flattened map" in str(error)
        return
    for pair in found.pairs:
        target, transform = truth[pair.source]
        assert pair.target == target
        assert pair.transform.effect == transform.effect

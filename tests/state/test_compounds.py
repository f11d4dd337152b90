"""Layers whose weights are matched together: found by names and shapes, right in every number, or refused with why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adamcompat.mapping.tables import MAPPING
from adamcompat.state import AdamState, Matching, StateError
from adamcompat.state.matching import match
from adamcompat.state.pairing import put_together

Shapes = dict[str, tuple[int, ...]]


def keras_recurrent(layer: str, gates: int, inputs: int = 4, units: int = 5, *, reset: bool = False) -> Shapes:
    return {
        f"{layer}/kernel": (inputs, gates * units),
        f"{layer}/recurrent_kernel": (units, gates * units),
        f"{layer}/bias": (2, gates * units) if reset else (gates * units,),
    }


def mindspore_recurrent(cell: str, gates: int, inputs: int = 4, units: int = 5, mark: str = "_l0") -> Shapes:
    return {
        f"{cell}.weight_ih{mark}": (gates * units, inputs),
        f"{cell}.weight_hh{mark}": (gates * units, units),
        f"{cell}.bias_ih{mark}": (gates * units,),
        f"{cell}.bias_hh{mark}": (gates * units,),
    }


def keras_attention(layer: str, size: int = 8, heads: int = 2) -> Shapes:
    each = size // heads
    found: Shapes = {}
    for part in ("query", "key", "value"):
        found |= {f"{layer}/{part}/kernel": (size, heads, each), f"{layer}/{part}/bias": (heads, each)}
    return found | {
        f"{layer}/attention_output/kernel": (heads, each, size),
        f"{layer}/attention_output/bias": (size,),
    }


def mindspore_attention(cell: str, size: int = 8) -> Shapes:
    return {
        f"{cell}.in_proj_weight": (3 * size, size),
        f"{cell}.in_proj_bias": (3 * size,),
        f"{cell}.out_proj.weight": (size, size),
        f"{cell}.out_proj.bias": (size,),
    }


LSTM = keras_recurrent("net/lstm/lstm_cell", 4), mindspore_recurrent("lstm", 4)
GRU = keras_recurrent("net/gru/gru_cell", 3, reset=True), mindspore_recurrent("gru", 3)
RNN = keras_recurrent("net/rnn/simple_rnn_cell", 1), mindspore_recurrent("rnn", 1)
ATTENTION = keras_attention("net/mha"), mindspore_attention("mha")
LAYERS = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "attention": ATTENTION}


def carried(matching: Matching, role: str, values: dict[str, Any]) -> dict[str, Any]:
    return {target: put_together(pairs, role, values) for target, pairs in matching.of_targets.items()}


def drawn(shapes: Shapes) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("role", ["parameter", "first_moment"])
@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back_is_the_same(name: str, role: str) -> None:
    source, target = LAYERS[name]
    there, back = match(source, target), match(target, source)
    values = drawn(source)
    over = {n: np.zeros(target[n], np.float32) if v is None else v for n, v in carried(there, role, values).items()}
    assert {n: v.shape for n, v in over.items()} == target
    for n, value in carried(back, role, over).items():
        np.testing.assert_array_equal(value, values[n], err_msg=n)
    for n, value in carried(there.inverse, role, over).items():
        np.testing.assert_array_equal(value, values[n], err_msg=n)


def test_one_of_two_biases_is_zero_there_and_added_back() -> None:
    source, target = LSTM
    there, back = match(source, target), match(target, source)
    over = carried(there, "parameter", drawn(source))
    assert over["lstm.bias_hh_l0"] is None
    values = drawn(target)
    parameter, moment = (
        carried(back, role, values)["net/lstm/lstm_cell/bias"] for role in ("parameter", "second_moment")
    )
    np.testing.assert_array_equal(parameter, values["lstm.bias_ih_l0"] + values["lstm.bias_hh_l0"])
    np.testing.assert_array_equal(moment, values["lstm.bias_ih_l0"])
    assert "lstm.bias_hh_l0 begins at zero and gets the same gradients as lstm.bias_ih_l0" in there.notes[0]
    assert not back.notes
    shown = [" ".join(line.split()) for line in str(there).splitlines()]
    assert shown[-1].endswith("-> lstm.bias_hh_l0 (20,) zero: the other holds the sum by name")


def test_a_bias_that_the_optimizer_does_not_hold_is_told() -> None:
    source, target = LSTM
    less = {name: shape for name, shape in target.items() if "bias_hh" not in name}
    assert "the layer has bias_hh_l0 too, which the optimizer does not hold" in match(source, less).notes[0]
    assert "bias_hh_l0 is not in it; add its value" in match(less, source).notes[0]


def test_gates_are_put_in_order() -> None:
    source, target = GRU
    values = drawn(source)
    over = carried(match(source, target), "parameter", values)
    z, r, h = np.split(values["net/gru/gru_cell/recurrent_kernel"], 3, 1)
    np.testing.assert_array_equal(over["gru.weight_hh_l0"], np.concatenate([r.T, z.T, h.T]))
    for row, name in enumerate(("bias_ih_l0", "bias_hh_l0")):
        z, r, h = np.split(values["net/gru/gru_cell/bias"][row], 3)
        np.testing.assert_array_equal(over[f"gru.{name}"], np.concatenate([r, z, h]))


def test_heads_are_joined() -> None:
    source, target = ATTENTION
    values = drawn(source)
    over = carried(match(source, target), "first_moment", values)
    kernels = [values[f"net/mha/{part}/kernel"].reshape(8, 8).T for part in ("query", "key", "value")]
    np.testing.assert_array_equal(over["mha.in_proj_weight"], np.concatenate(kernels))
    biases = [values[f"net/mha/{part}/bias"].reshape(8) for part in ("query", "key", "value")]
    np.testing.assert_array_equal(over["mha.in_proj_bias"], np.concatenate(biases))


def test_layers_are_found_by_shape_among_others() -> None:
    source: Shapes = {}
    target: Shapes = {}
    for number, (ours, theirs) in enumerate(LAYERS.values()):
        source |= ours
        target |= {name.replace(".", f"{number}.", 1).replace("l", "x", 1): shape for name, shape in theirs.items()}
    source |= {"net/out/kernel": (5, 3), "net/out/bias": (3,)}
    target = {f"cells.{n}": s for n, s in reversed(target.items())} | {"head.weight": (3, 5), "head.bias": (3,)}
    found = match(source, target)
    assert {pair.transform.name for pair in found.pairs} >= {"lstm", "gru", "rnn", "attention", "dense"}
    assert {pair.target for pair in found.pairs} == set(target)


def test_both_ways() -> None:
    source = keras_recurrent("bidirectional/forward_lstm/lstm_cell", 4)
    source |= keras_recurrent("bidirectional/backward_lstm/lstm_cell", 4)
    target = mindspore_recurrent("r", 4) | mindspore_recurrent("r", 4, mark="_l0_reverse")
    for one, other in ((source, target), (target, source)):
        for pair in match(one, other).pairs:
            assert ("backward" in pair.source + pair.target) == ("reverse" in pair.source + pair.target)


STACKED = (
    keras_recurrent("lstm/lstm_cell", 4, 5) | keras_recurrent("lstm_1/lstm_cell", 4, 5),
    mindspore_recurrent("r", 4, 5, mark="_l0") | mindspore_recurrent("r", 4, 5, mark="_l1"),
)


def test_what_is_open_between_layers_is_asked_and_one_weight_settles_it() -> None:
    source, target = STACKED
    with pytest.raises(StateError) as caught:
        match(source, target)
    text = str(caught.value)
    assert "the lstm layer of lstm_1/lstm_cell/kernel may be that of r.weight_ih_l0, r.weight_ih_l1" in text
    assert "rename='order'" in text
    crossed = match(source, target, rename={"lstm_1/lstm_cell/bias": "r.bias_ih_l0"})
    assert {pair.target[-1] for pair in crossed.pairs if pair.source.startswith("lstm_1")} == {"0"}
    ordered = match(source, target, rename="order")
    assert {pair.target[-1] for pair in ordered.pairs if pair.source.startswith("lstm_1")} == {"1"}
    assert {pair.evidence for pair in ordered.pairs} == {"order"}


@pytest.mark.parametrize("back", [False, True])
def test_numbered_names_by_order(back: bool) -> None:
    """As many as the layer has weights in Keras, in Keras's order."""
    source = LSTM[0] | ATTENTION[0] | {"net/out/kernel": (5, 3)} | GRU[0]
    target = LSTM[1] | ATTENTION[1] | {"out.weight": (3, 5)} | GRU[1]
    numbers = {name: f"variable#{place}" for place, name in enumerate(source)}
    numbered = {numbers[name]: shape for name, shape in source.items()}
    options: dict[str, Any] = {"rename": "order"}
    if back:
        found, named = match(target, numbered, target_convention="tensorflow", **options), match(target, source)
    else:
        found, named = match(numbered, target, source_convention="tensorflow", **options), match(source, target)
    assert {(p.source, p.target, p.transform) for p in found.pairs} == {
        (numbers.get(p.source, p.source), numbers.get(p.target, p.target), p.transform) for p in named.pairs
    }
    with pytest.raises(StateError, match="by order: the state has 3 parameters and the target 4"):
        few = dict([*numbered.items()][: 3 + 8 + 1])
        match(few, target, source_convention="tensorflow", rename="order")


@pytest.mark.parametrize(
    ("source", "target", "options", "said"),
    [
        (keras_recurrent("gru/gru_cell", 3), GRU[1], {}, "as Keras has them with reset_after=True"),
        (LSTM[0], mindspore_recurrent("lstm", 4, 7), {}, r"kernel (4, 20) and lstm.weight_ih_l0 (20, 7) as lstm"),
        (LSTM[0], mindspore_recurrent("other", 4, 7), {}, "were matched by kind, but do not fit"),
        (LSTM[0], GRU[1], {"rename": {"net/lstm/lstm_cell/kernel": "gru.weight_ih_l0"}}, "one is lstm, the other gru"),
        (
            {**LSTM[0], "net/lstm/lstm_cell/bias": (2, 20)},
            LSTM[1],
            {},
            "bias (2, 20) and lstm.bias_ih_l0 (20,) as lstm",
        ),
        (dict([*LSTM[0].items()][:2]), LSTM[1], {}, "lstm.bias_ih_l0 of the target has no counterpart"),
        (dict([*ATTENTION[0].items()][:-1]), ATTENTION[1], {}, "mha.out_proj.bias of the target has no counterpart"),
        (keras_attention("net/mha", 8, 2), mindspore_attention("mha", 16), {}, "query/kernel (8, 2, 4)"),
    ],
)
def test_layers_that_do_not_fit(source: Shapes, target: Shapes, options: dict[str, Any], said: str) -> None:
    with pytest.raises(StateError) as caught:
        match(source, target, **options)
    assert said in str(caught.value)
    assert "without a partner" not in str(caught.value), "nothing is said twice"


def test_a_layout_in_letters_for_a_layer_with_gates() -> None:
    """A flattened map before a recurrent layer: its inputs are rearranged, the gates put in order nevertheless."""
    conv: Shapes = {"c/kernel": (3, 3, 1, 2)}
    ms_conv: Shapes = {"c.weight": (2, 1, 3, 3)}
    for ours, theirs in ((LSTM[0], LSTM[1]), (GRU[0], GRU[1])):
        kernel = next(iter(ours))
        noted = [note for note in match(conv | ours, ms_conv | theirs).notes if "flattened map of 2 places" in note]
        assert f"if {kernel!r} of shape {ours[kernel]} follows" in noted[0]
        values = drawn(ours)
        plain = carried(match(ours, theirs), "parameter", values)
        pattern = {kernel: "(h=1 w=2 c) o -> o (c h w)"}
        found = match(conv | ours, ms_conv | theirs, layout=pattern)
        assert not [note for note in found.notes if "flattened" in note]
        moved = carried(found, "parameter", values | drawn(conv))
        target = next(iter(theirs))
        rows = np.arange(4).reshape(2, 2).T.reshape(-1)
        np.testing.assert_array_equal(moved[target], np.asarray(plain[target])[:, rows])
        back = match(theirs | ms_conv, ours | conv, layout={target: "o (c h=1 w=2) -> (h w c) o"})
        again = carried(
            back, "parameter", {**{n: np.asarray(v) for n, v in moved.items() if v is not None}, **zero(theirs)}
        )
        np.testing.assert_array_equal(again[kernel], values[kernel])
        for other in ((1, 0), "dense", "a b -> b a"):
            same = match(ours, theirs, layout={kernel: other})
            np.testing.assert_array_equal(carried(same, "parameter", values)[target], plain[target])
        with pytest.raises(StateError, match=r"as 'a b -> a b'"):
            match(ours, theirs, layout={kernel: "same"})


def zero(shapes: Shapes) -> dict[str, NDArray[Any]]:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if "bias_hh" in name}


# What has no partner.


def test_parameters_without_partner() -> None:
    source = {"a/kernel": (3, 2), "old/kernel": (4, 4), "old/bias": (4,)}
    target = {"a.weight": (2, 3), "new.scale": (7,)}
    found = match(source, target, alone=["old/*", "new.scale"])
    assert [(pair.source, pair.target) for pair in found.pairs] == [("a/kernel", "a.weight")]
    assert found.source_alone == (("old/kernel", (4, 4)), ("old/bias", (4,)))
    assert found.target_alone == (("new.scale", (7,)),)
    assert found.inverse.source_alone == found.target_alone
    lines = [" ".join(line.split()) for line in str(found).splitlines()]
    assert lines[1:] == [
        "old/kernel (4, 4) -> - left behind alone",
        "old/bias (4,) -> - left behind alone",
        "- -> new.scale (7,) moments of zero alone",
    ]
    ordered = match(
        source, {"x": (2, 3), "y": (7,)}, rename="order", alone=["old/*", "y"], target_convention="mindspore"
    )
    assert [(pair.source, pair.target) for pair in ordered.pairs] == [("a/kernel", "x")]


def test_the_second_bias_need_not_be_alone() -> None:
    source, target = LSTM
    assert match(source, target, alone=["lstm.bias_hh_l0"]) == match(source, target)
    assert match(target, source, alone=["lstm.bias_hh_l0"]) == match(target, source)
    alone = match(source, target, alone=[*source, *target])
    assert not alone.pairs
    assert len(alone.target_alone) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alone": ["nothing"]}, "alone: neither side has a parameter 'nothing'"),
        ({"alone": "a"}, "alone must be a list of names"),
        ({"alone": ["a"], "rename": {"a": "b"}}, "alone says that one has no partner"),
        ({"rename": {"a": None}}, "if it has no partner, pass alone=['a']"),
    ],
)
def test_mistakes_in_alone(options: dict[str, Any], said: str) -> None:
    with pytest.raises(StateError) as caught:
        match({"a": (3,)}, {"b": (3,)}, **options)
    assert said in str(caught.value)


def test_every_problem_is_in_one_message() -> None:
    source = {
        "d/kernel": (3, 4),
        "e/kernel": (8, 2, 4),
        "f/kernel": (5, 5),
        "g/kernel": (5, 5),
        "h/kernel": (6, 7),
        **keras_recurrent("gru/gru_cell", 3),
    }
    target = {"d.weight": (3, 4), "e.weight": (8, 8), "x.weight": (5, 5), "y.weight": (5, 5), "z.gamma": (9,), **GRU[1]}
    with pytest.raises(StateError) as caught:
        match(source, target, rename={"typo": "d.weight"}, alone=["nobody"], layout={"f/kernel": "HWIO"})
    text = str(caught.value)
    for said in (
        "for 8 reasons",
        "rename: the state has no parameter 'typo'",
        "alone: neither side has a parameter 'nobody'",
        "layout: 'HWIO' is none of",
        "'d/kernel' of shape (3, 4) and 'd.weight' of shape (3, 4) were matched by name, but do not fit",
        "layout={'e/kernel': 'a b c -> a (b c)' or 'a b c -> (b c) a'}",
        "f/kernel (5, 5) may be x.weight (5, 5), y.weight (5, 5)",
        "h/kernel (6, 7) of the state has none in the target",
        "z.gamma (9,) of the target has none in the state",
        "reset_after=True",
    ):
        assert said in text, said


def test_numbered_names_are_told_of_the_order() -> None:
    for target in ({"a.weight": (8, 8), "b.weight": (8, 8)}, {"a.weight": (8, 8)}):
        with pytest.raises(StateError, match=r"rename='order' \(in a map: `rename: order`\)"):
            match({"variable#0": (8, 8), "variable#1": (8, 8)}, target, source_convention="tensorflow")


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ((8, 2, 4), (8, 8), "'a b c -> a (b c)' or 'a b c -> (b c) a'"),
        ((8, 8), (2, 4, 8), "'(a b) c -> a b c' or 'a (b c) -> b c a'"),
        ((2, 3, 4), (3, 4, 2), "layout={'k/kernel': (1, 2, 0)}"),
        ((2, 3), (3, 3), "6 and 9 elements"),
    ],
)
def test_a_misfit_suggests_what_can_work(source: Any, target: Any, said: str) -> None:
    with pytest.raises(StateError) as caught:
        match({"k/kernel": source}, {"k.weight": target}, source_convention="tensorflow", target_convention="mindspore")
    assert said in str(caught.value)


def test_the_suggested_letters_work() -> None:
    for pattern in ("a b c -> a (b c)", "a b c -> (b c) a"):
        found = match({"k/kernel": (8, 2, 4)}, {"k.weight": (8, 8)}, layout={"k/kernel": pattern})
        assert found.pairs[0].transform.shape == (8, 8)


# Into an optimizer.


def made(shapes: Shapes) -> AdamState:
    return AdamState(step=4, first_moment=drawn(shapes), second_moment=drawn(shapes), parameters=drawn(shapes))


def test_loading_leaves_what_is_alone_and_puts_the_rest_together() -> None:
    from adamcompat import Parameter, TFStyleAdam

    source, target = ATTENTION[0] | {"old/bias": (3,)}, ATTENTION[1] | {"new.bias": (6,)}
    weights = [Parameter(value.copy(), name) for name, value in drawn(target).items()]
    optimizer = TFStyleAdam(0.1, use_ema=True)
    optimizer.apply_gradients([(np.ones_like(weight.data), weight) for weight in weights])
    own = weights[-1].data.copy()
    state = made(source)
    object.__setattr__(state, "average", drawn(source))
    state.load_into(optimizer, alone=["old/bias", "new.bias"], with_parameters=True)
    found = AdamState.of(optimizer)
    assert found.step == 4
    assert found.average is not None
    np.testing.assert_array_equal(weights[-1].data, own)
    np.testing.assert_array_equal(found.average["new.bias"], own)
    assert not np.asarray(found.first_moment["new.bias"]).any()
    expected = carried(match(source, target, alone=["old/bias", "new.bias"]), "second_moment", drawn(source))
    for name, value in expected.items():
        np.testing.assert_array_equal(np.asarray(found.second_moment[name]), value, err_msg=name)


def test_loading_says_what_goes_on_otherwise() -> None:
    from adamcompat import MindSporeStyleAdam, Parameter

    weights = [Parameter(value, name) for name, value in drawn(LSTM[1]).items()]
    optimizer = MindSporeStyleAdam(weights, 0.1)
    with pytest.warns(UserWarning, match="bias_hh_l0 begins at zero"):
        made(LSTM[0]).load_into(optimizer, with_parameters=True)
    assert not weights[-1].data.any()


def test_a_matching_for_something_else_is_refused() -> None:
    from adamcompat import MindSporeStyleAdam, Parameter

    weights = [Parameter(value, name) for name, value in drawn(ATTENTION[1]).items()]
    optimizer, state = MindSporeStyleAdam(weights, 0.1), made(ATTENTION[0])
    matching = state.match(optimizer)
    with pytest.raises(StateError, match="is not for the parameters of this state: net/mha/key/bias"):
        state.load_into(optimizer, Matching(tuple(p for p in matching.pairs if "in_proj_bias" not in p.target)))
    with pytest.raises(StateError, match="twice"):
        state.load_into(optimizer, Matching((*matching.pairs, matching.pairs[0])))
    less = tuple(p for p in matching.pairs if p.source != "net/mha/key/kernel")
    with pytest.raises(StateError, match="in_proj_weight"):
        state.load_into(optimizer, Matching(less, (("net/mha/key/kernel", (8, 2, 4)),)))
    with pytest.raises(StateError, match="pass a matching, or rename, layout and alone"):
        state.load_into(optimizer, matching, alone=["x"])


def test_the_facts_name_each_weight_in_keras_order() -> None:
    assert set(MAPPING.compounds) == {"lstm", "gru", "rnn", "attention", "attention_apart"}
    names = [twins.of("tensorflow").name for twins in MAPPING.compounds["attention"].weights]
    assert names[:2] == ["query/kernel", "query/bias"]


KINDS = ("lstm", "gru", "rnn", "attention", "dense")


def both_sides(kind: str, layer: str, cell: str, size: int, units: int) -> tuple[Shapes, Shapes]:
    if kind == "attention":
        return keras_attention(layer, 2 * size), mindspore_attention(cell, 2 * size)
    if kind == "dense":
        return (
            {f"{layer}/kernel": (size, units), f"{layer}/bias": (units,)},
            {f"{cell}.weight": (units, size), f"{cell}.bias": (units,)},
        )
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    return (
        keras_recurrent(f"{layer}/cell", gates, size, units, reset=kind == "gru"),
        mindspore_recurrent(cell, gates, size, units),
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_match_of_layers_is_right_or_refused(data: st.DataObject) -> None:
    small = st.integers(1, 3)
    source: Shapes = {}
    target: Shapes = {}
    truth: dict[str, str] = {}
    for number in range(data.draw(st.integers(1, 4))):
        other = data.draw(st.sampled_from([f"layer{number}", f"other{9 - number}"]))
        sizes = data.draw(small), data.draw(small)
        ours, theirs = both_sides(data.draw(st.sampled_from(KINDS)), f"net/layer{number}", f"x.{other}", *sizes)
        truth |= dict.fromkeys(ours, other)
        source |= ours
        target |= theirs
    shuffled = {name: target[name] for name in data.draw(st.permutations(list(target)))}
    try:
        found = match(source, shuffled, source_convention="tensorflow", target_convention="mindspore")
    except StateError:
        return
    assert {pair.target for pair in found.pairs} == set(target)
    for pair in found.pairs:
        assert pair.target.split(".")[1] == truth[pair.source], str(found)

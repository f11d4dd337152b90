"""Every tool takes a parameter that is a tuple: what it says is the same under separate names elsewhere."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.test_generate import python
from tests.tuples import package_with_twins


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package_with_twins(tmp_path_factory.mktemp("twins"))


HEAD = """
import json, warnings
import numpy as np
import adamcompat

def attempt(act):
    try:
        return act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


def told(package: Path, code: str) -> Any:
    """What code prints last, as JSON."""
    result = python(package, "-c", HEAD + textwrap.dedent(code))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


# Python code in one dialect, another dialect, and the call there or the code of an error with a part of its text.
CALLS = [
    ("example.twin.Adam(betas=(0.8, 0.95))", "keras3",
     "keras.optimizers.Adam(beta_1=0.8, beta_2=0.95, epsilon=1e-08)"),
    ("example.twin.Adam(0.1, [a + 1, lambda: 0.9])", "keras3",
     "keras.optimizers.Adam(learning_rate=0.1, beta_1=a + 1, beta_2=lambda: 0.9, epsilon=1e-08)"),
    ("example.twin.Adam()", "keras3", "keras.optimizers.Adam(beta_2=0.99, epsilon=1e-08)"),
    ("example.twin.Adam(betas=b)", "keras3", "keras.optimizers.Adam(beta_1=b[0], beta_2=b[1], epsilon=1e-08)"),
    ("example.twin.Adam(betas=self.b.c)", "mindspore",
     "mindspore.nn.Adam(params, beta1=self.b.c[0], beta2=self.b.c[1])"),
    ("b = (x, y); example.twin.Adam(betas=b)", "keras3",
     "keras.optimizers.Adam(beta_1=b[0], beta_2=b[1], epsilon=1e-08)"),
    ("example.twin.Adam(betas=(0, 0.5), eps=1e-7)", "keras3",
     "keras.optimizers.Adam(beta_1=0.0, beta_2=0.5, epsilon=1e-7)"),
    ("example.twin.Adam(betas=b)", "swapped", "example.swapped.Adam(terms=(b[1], 1e-08), momentum=b[0])"),
    ("example.swapped.Adam(t, momentum=m)", "twin", "example.twin.Adam(betas=(m, t[0]), eps=t[1])"),
    # What cannot be taken apart is passed on where it need not be.
    ("example.twin.Adam(betas=f(), eps=1)", "twin", "example.twin.Adam(betas=f(), eps=1)"),
    ("example.twin.Adam(betas=b)", "twin", "example.twin.Adam(betas=b)"),
    ("example.twin.Adam(betas=(*b,))", "twin", "example.twin.Adam(betas=(*b,))"),
    ("keras.optimizers.Adam(beta_1=0.8)", "twin", "example.twin.Adam(betas=(0.8, 0.999), eps=1e-07)"),
    ("keras.optimizers.Adam(beta_2=b, beta_1=c.d)", "twin", "example.twin.Adam(betas=(c.d, b), eps=1e-07)"),
    ("keras.optimizers.Adam(beta_2=0.99, epsilon=1e-8)", "twin", "example.twin.Adam(betas=(0.9, 0.99), eps=1e-8)"),
    ("nn.Adam(p, beta2=0.99)", "twin", "example.twin.Adam(betas=(0.9, 0.99))"),
    ("nn.Adam(p)", "swapped", "example.swapped.Adam(terms=(0.999, 1e-08))"),
    ("nn.Adam(p, beta1=0.5, use_amsgrad=True)", "swapped",
     "example.swapped.Adam(terms=(0.999, 1e-08), switches=(True, False), momentum=0.5)"),
]  # fmt: skip
PROBLEMS = [
    ("example.twin.Adam(betas=f())", "keras3", "tuple-expression",
     "betas=f(): Keras 3 takes its elements one by one, and only a tuple that is written out or has a name"),
    ("example.twin.Adam(betas=(*b, 1))", "mindspore", "tuple-expression", "betas=(*b, 1): MindSpore takes"),
    ("example.twin.Adam(betas=f())", "swapped", "tuple-expression", "betas=f(): Swapped takes"),
    ("example.swapped.Adam(f())", "twin", "tuple-expression", "terms=f(): Twin takes"),
    ("example.twin.Adam(betas=(0.8, 1.5))", "keras3", "invalid-call", "Twin: betas[1] must lie in [0, 1), got 1.5"),
    ("example.twin.Adam(betas=(0.8,))", "keras3", "invalid-call",
     "Twin: betas must be a tuple of 2 values (beta1, beta2), got 1: (0.8,)"),
    ("example.twin.Adam(betas=(a, b, c.d))", "keras3", "invalid-call", "got 3: (a, b, c.d)"),
    ("b = (1, 2, 3); example.twin.Adam(betas=b)", "keras3", "invalid-call", "got 3: (1, 2, 3)"),
    ("example.twin.Adam(betas=0.8)", "keras3", "invalid-call", "got 0.8 (float)"),
    ("example.twin.Adam(betas='ab')", "keras3", "invalid-call", "got 'ab' (str)"),
    ("example.swapped.Adam()", "twin", "invalid-call", "Swapped needs 'terms', which the call does not give"),
    ("example.twin.Adam(beta_2=0.5)", "keras3", "unknown-parameter", "here it is 'betas[1]'"),
    ("keras.optimizers.Adam(betas=b)", "twin", "unknown-parameter", "here it is 'beta_1' and 'beta_2'"),
    ("keras.optimizers.Adam(beta_1=1.5)", "twin", "invalid-call", "Keras 3: beta_1 must lie in [0, 1), got 1.5"),
    ("nn.Adam(p, weight_decay=0.1)", "twin", "no-counterpart", "weight_decay=0.1: Twin has no counterpart"),
    ("example.swapped.Adam((b, e), switches=(False, True))", "mindspore", "no-counterpart",
     "switches[1]=True: MindSpore has no counterpart"),
]  # fmt: skip


def test_calls_are_translated_in_both_directions(package: Path) -> None:
    given = [(source, to) for source, to, *_ in [*CALLS, *PROBLEMS]]
    found = told(
        package,
        f"""
        from adamcompat.translation import translate
        found = [translate(source, to) for source, to in {given!r}]
        print(json.dumps([[one.call, [[m.code, m.text] for m in one.errors]] for one in found]))
    """,
    )
    calls, problems = found[: len(CALLS)], found[len(CALLS) :]
    for (source, to, wanted), one in zip(CALLS, calls, strict=True):
        assert one == [wanted, []], (source, to)
    for (source, to, code, text), (call, errors) in zip(PROBLEMS, problems, strict=True):
        assert call is None, source
        assert [kind for kind, _ in errors] == [code], (source, to, errors)
        assert text in errors[0][1]


# A module in one dialect, the dialect to write, and the module there.
MODULES = {
    "a tuple becomes two": ("""
        from example.twin import Adam
        opt = Adam(
            0.1,
            # both at once
            betas=(0.8, 0.95),  # slower
        )
        opt.apply_gradients(zip(g, v))
        """, "keras3", """
        import keras
        opt = keras.optimizers.Adam(
            learning_rate=0.1,
            # both at once
            beta_1=0.8,
            beta_2=0.95,  # slower
            epsilon=1e-08,
        )
        opt.apply_gradients(zip(g, v))
        """),
    "two become a tuple": ("""
        import keras
        opt = keras.optimizers.Adam(
            0.1,
            # the first
            beta_1=a,  # one
            # the second
            beta_2=0.95,  # two
        )
        """, "twin", """
        import keras
        import example
        opt = example.twin.Adam(
            lr=0.1,
            # the first
            # the second
            betas=(a, 0.95),  # one  # two
            eps=1e-07,
        )
        """),
    "a name is taken apart": ("""
        import example
        opt = example.twin.Adam(betas=config.betas, eps=1e-7)
        """, "keras3", """
        import example
        import keras
        opt = keras.optimizers.Adam(beta_1=config.betas[0], beta_2=config.betas[1], epsilon=1e-7)
        """),
    "a call is left and reported": ("""
        import example
        opt = example.twin.Adam(betas=f())
        """, "keras3", None),
}  # fmt: skip


def test_modules_are_migrated_in_both_directions(package: Path) -> None:
    given = [(textwrap.dedent(old).lstrip(), to) for old, to, _ in MODULES.values()]
    found = told(
        package,
        f"""
        from adamcompat.migrate import text
        text.TARGETS.update(twin=("twin",), keras3=("keras3",))
        found = [text.migrate_text(old, to) for old, to in {given!r}]
        print(json.dumps([[new, [str(one.message.text) for one in findings]] for new, findings in found]))
    """,
    )
    for (name, (old, _, wanted)), (new, texts) in zip(MODULES.items(), found, strict=True):
        assert new == textwrap.dedent(old if wanted is None else wanted).lstrip(), name
        reported = [text for text in texts if text.startswith("betas=f(): Keras 3 takes its elements one by one")]
        assert len(reported) == (wanted is None), texts
        # The call that is suggested has what was written.
        assert not reported or "keras.optimizers.Adam(beta_1=(f())[0], beta_2=(f())[1]" in reported[0]


def test_hyperparameters_are_taken_under_any_name(package: Path) -> None:
    asked = [
        ("adamcompat.Twin", {"beta_1": 0.8}), ("adamcompat.Twin", {"betas": [1 / 2, 0]}),
        ("adamcompat.Twin", {"beta2": 0.5, "momentum": 0.25}), ("adamcompat.TFStyleAdam", {"betas": [0.8, 0.7]}),
        ("adamcompat.MindSporeStyleAdam", {"switches": [True, False], "betas": (0.8, 0.7)}),
        ("adamcompat.Borrowing", {"betas": (0.8, 0.7)}),
        ("adamcompat.TFStyleAdam", {"betas": [0.8, 0.7], "beta_2": 0.1}),
        ("adamcompat.Twin", {"betas": [0.8, 0.7], "beta_2": 0.1}), ("adamcompat.Twin", {"betas": 0.8}),
        ("adamcompat.Swapped", {"beta_2": 0.1}), ("adamcompat.MindSporeStyleAdam", {"switches": (True, True)}),
    ]  # fmt: skip
    found = told(
        package,
        f"""
        from adamcompat.drive import prepare
        print(json.dumps([attempt(lambda: prepare(name, given).native) for name, given in {asked!r}]))
    """,
    )
    assert found == [
        {"betas": [0.8, 0.99]},
        {"betas": [0.5, 0.0]},
        {"betas": [0.25, 0.5]},
        {"beta_1": 0.8, "beta_2": 0.7},
        {"use_amsgrad": True, "beta1": 0.8, "beta2": 0.7},
        {"beta_1": 0.8, "beta_2": 0.7},
        "ValueError: 'betas' and 'beta_2' both mean 'beta_2' of Keras 3; give one",
        "ValueError: 'betas' and 'beta_2' both mean 'betas[1]' of Twin; give one",
        "ValueError: betas must be a tuple of 2 values (beta1, beta2), got 0.8 (float)",
        "ValueError: terms of Swapped needs 'epsilon' too, which has no default",
        "ValueError: MindSporeStyleAdam has no counterpart of 'switches[1]' (Keep an exponential moving average of the "
        "parameters.) Leave it out here, or give it to the optimizers that have it",
    ]


def test_an_attribute_is_a_tuple_and_borrowed_names_set_its_elements(package: Path) -> None:
    found = told(
        package,
        """
        import typing
        warnings.simplefilter("ignore")
        twin, borrowing = adamcompat.Twin(beta_1=0.7), adamcompat.Borrowing(betas=[0.8, 0.7])
        first = [twin.betas, twin.get_config()["betas"], borrowing.beta_1, borrowing.beta_2]
        twin.betas, borrowing.beta_1 = (0.1, 0.2), 0.3
        then = [twin.betas, twin._hyper["beta1"], twin._hyper["beta2"], borrowing.beta_1, borrowing.beta_2]
        again = [adamcompat.Twin.from_config(twin.get_config()).betas, typing.get_type_hints(
            adamcompat.Twin.__init__, vars(__import__("adamcompat.numpy.adapters", fromlist=["x"])))["betas"].__origin__
            is tuple]
        swapped, weight = adamcompat.Swapped((0.9, 1e-3), switches=(True, False)), np.ones(3)
        swapped.apply_gradients([(np.ones(3), weight)])
        refused = [attempt(lambda: setattr(swapped, "switches", (False, False))), attempt(lambda: twin.beta_2),
                   attempt(lambda: setattr(twin, "beta_2", 1)), attempt(lambda: borrowing.betas),
                   attempt(lambda: adamcompat.Twin(betas=(0.9, 1.5))), attempt(lambda: adamcompat.Twin(beta_2=0.5))]
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            adamcompat.Borrowing(betas=(0.8, 0.7))
        print(json.dumps([first, then, again, refused, str(seen[0].message)]))
    """,
    )
    first, then, again, refused, warned = found
    assert first == [[0.7, 0.99], [0.7, 0.99], 0.8, 0.7]
    assert then == [[0.1, 0.2], 0.1, 0.2, 0.3, 0.7]
    assert again == [[0.1, 0.2], True]
    assert [text.partition(":")[0] for text in refused] == ["AttributeError"] * 4 + ["ValueError"] * 2
    wanted = [
        "which state is kept and cannot change",
        "here it is 'betas[1]'",
        "here it is 'betas[1]'",
        "here it is 'beta_1' and 'beta_2'",
        "betas[1] must lie in [0, 1), got 1.5",
        "here it is 'betas[1]'",
    ]
    assert all(part in text for part, text in zip(wanted, refused, strict=True))
    assert "first moment. Exponential decay rate of the second moment" in warned


def test_a_recording_keeps_a_tuple_and_is_repeated_under_other_names(package: Path) -> None:
    found = told(
        package,
        """
        from adamcompat.comparison import compare
        from adamcompat.recording import record
        from adamcompat.recording.file import read
        optimizer, weight, rng = adamcompat.Twin(0.1, betas=(0.8, 0.95)), np.ones(3), np.random.default_rng(1)
        with record(optimizer, "run.safetensors"):
            for _ in range(5):
                optimizer.apply_gradients([(rng.standard_normal(3), weight)])
        kept = read("run.safetensors").hyperparameters["betas"]
        names = ["recorded", "adamcompat.Twin", "adamcompat.TFStyleAdam", "adamcompat.Twin(beta_1=0.7)",
                 "adamcompat.TFStyleAdam(betas=(0.7, 0.95))"]
        runs = compare(*names, gradients="run.safetensors").runs
        print(json.dumps([kept, [run.parameters[0].tolist() for run in runs], weight.tolist(),
                          [run.hyperparameters.get("beta2") for run in runs]]))
    """,
    )
    kept, weights, last, beta2 = found
    assert kept == [0.8, 0.95]
    assert weights[0] == weights[1] == weights[2]
    # One element that is given leaves the other as it was recorded.
    assert weights[3] == weights[4] != weights[0]
    assert beta2 == ["0.95"] * 5
    assert np_close(weights[0], last)


def np_close(one: Any, other: Any) -> bool:
    flat = one[-1] if isinstance(one[0], list) else one
    return all(abs(a - b) < 1e-12 for a, b in zip(flat, other, strict=True))


def test_state_moves_between_a_tuple_and_separate_names(package: Path) -> None:
    found = told(
        package,
        """
        from adamcompat.state import AdamState
        weights, others = [[np.ones(3)] for _ in range(2)]
        twin, rng = adamcompat.Twin(0.1, betas=(0.8, 0.95)), np.random.default_rng(1)
        twin.apply_gradients([(rng.standard_normal(3), weights[0])])
        state = AdamState.of(twin)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            state.load_into(adamcompat.TFStyleAdam(0.1, 0.8, 0.9, 1e-8), parameters=others)
        print(json.dumps([state.hyperparameters["beta1"], state.hyperparameters["beta2"], str(seen[0].message)]))
    """,
    )
    assert found[:2] == [0.8, 0.95]
    assert "beta2" in found[2]
    assert "beta1" not in found[2]


MINDSPORE = """
import os
os.environ["GLOG_v"] = "3"
import mindspore as ms
from adamcompat.mindspore.adapters import Twin
from adamcompat.recording import record
from adamcompat.recording.file import read
from adamcompat.state import AdamState
weight = ms.Parameter(ms.Tensor(np.ones(3)), name="w")
optimizer = Twin(0.1, betas=[0.8, 0.95])
optimizer.build([weight])
with record(optimizer, "ms.safetensors"):
    optimizer.apply_gradients([(ms.Tensor(np.ones(3)), weight)])
state = AdamState.of(optimizer)
kept = read("ms.safetensors").hyperparameters["betas"]
print(json.dumps([kept, state.hyperparameters["beta2"], optimizer.get_config()["betas"]]))
"""


@pytest.mark.frameworks
def test_mindspores_tools_take_a_tuple(package: Path) -> None:
    pytest.importorskip("mindspore")
    assert told(package, MINDSPORE) == [[0.8, 0.95], 0.95, [0.8, 0.95]]


TENSORFLOW = """
import os
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import tensorflow as tf
from adamcompat.recording import record
from adamcompat.recording.file import read
from adamcompat.state import AdamState
from adamcompat.tensorflow.adapters import Called
# The package lists its classes by hand.
adamcompat.tensorflow.Called = Called
weight = tf.Variable(np.ones(3), name="w")
optimizer = Called([{"params": [weight], "lr": 0.1}], betas=[0.8, 0.95], flags=(True, False))
with record(optimizer, "tf.safetensors"):
    optimizer((tf.constant(np.ones(3)),))
kept = read("tf.safetensors").hyperparameters
state = AdamState.of(optimizer).hyperparameters
fixed = attempt(lambda: setattr(optimizer, "flags", (False, False)))
found = [kept["betas"], kept["flags"], state["beta1"], state["beta2"], state["amsgrad"]]
print(json.dumps([*found, fixed, optimizer.flags, optimizer.get_config()["betas"]]))
"""


@pytest.mark.frameworks
def test_tensorflows_tools_take_a_tuple(package: Path) -> None:
    pytest.importorskip("tensorflow")
    *kept, fixed, flags, betas = told(package, TENSORFLOW)
    assert kept == [[0.8, 0.95], [True, False], 0.8, 0.95, True]
    assert fixed == "AttributeError: 'flags' is decided when the optimizer is made; make a new one"
    assert (flags, betas) == ([True, False], [0.8, 0.95])

"""migrate --to mindspore and --to tensorflow: parameters, schedules that have a name, compiled models, suggestions."""

from __future__ import annotations

from textwrap import dedent

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from adamcompat import translate
from adamcompat.migrate import Finding, migrate_text

MS = "import mindspore.nn as nn\n"


def said(found: list[Finding], *severities: str) -> list[str]:
    return [item.message.code for item in found if item.message.severity.value in severities]


# What an optimizer trains, as MindSpore's programs say it.
GROUPS = {
    "a list": "nn.Adam([{'params': a, 'lr': 0.1}])",
    "in a variable": "groups = [{'params': a}]\nnn.Adam(groups)",
    "in a list of names": "one = {'params': a}\nnn.Adam([one, two])",
    "in two branches": "if poly:\n    groups = [{'params': a}]\nelse:\n    groups = [{'params': b}]\nnn.Adam(groups)",
    "one of two branches": "groups = net.trainable_params()\nif poly:\n    groups = [{'params': b}]\nnn.Adam(groups)",
    "by append": "groups = []\ngroups.append({'params': a, 'lr': 0.1})\nnn.Adam(groups)",
    "by extend": "groups = []\ngroups.extend([{'params': a, 'lr': 0.1}])\nnn.Adam(groups)",
    "by +=": "groups = [*rest]\ngroups += [{'params': a}]\nnn.Adam(groups)",
    "by +": "nn.Adam(rest + [{'params': a}])",
    "by a condition": "nn.Adam([{'params': a}] if grouped else net.trainable_params())",
    "by a comprehension": "nn.Adam([{'params': [p]} for p in net.trainable_params()])",
    "from a function of the file": "def groups(net):\n    return [{'params': net.bias}]\nnn.Adam(groups(net))",
    "by dict": "nn.Adam([dict(params=a, lr=0.1)])",
    "by keyword": "nn.Adam(learning_rate=1e-3, params=[{'params': a}])",
}
SELECTED = {
    "filter": "nn.Adam(filter(lambda p: 'head' in p.name, net.trainable_params()))",
    "a comprehension": "nn.Adam([p for p in net.trainable_params() if 'head' in p.name])",
    "a generator": "nn.Adam(p for p in net.get_parameters())",
    "names": "nn.Adam([weight, bias])",
}
UNREAD = {
    "a function of another file": "nn.Adam(get_param_groups(net))",
    "an argument": "def make(params):\n    return nn.Adam(params)",
    "an attribute": "nn.Adam(self.params)",
    "a loop": "for params in all_of_them:\n    nn.Adam(params)",
    "imported": "from mine import params\nnn.Adam(params)",
    "nobody says": "nn.Adam(params)",
    "an entry": "nn.Adam(found['params'])",
    "several values": "params = net.trainable_params()\nparams = choose(params)\nnn.Adam(params)",
    "a function that returns itself": "def params(n):\n    return params(n - 1)\nnn.Adam(params(3))",
}
ALL = {
    "a model's": "nn.Adam(net.trainable_params())",
    "in a variable": "params = net.trainable_params()\nnn.Adam(params)",
    "as a list": "nn.Adam(list(net.trainable_params()))",
    "two models'": "nn.Adam(net.trainable_params() + head.trainable_params())",
    "in a tuple of MindSpore": "nn.Adam(params=ParameterTuple(net.trainable_params()))",
}


@pytest.mark.parametrize("case", GROUPS)
def test_groups_are_an_error_however_they_are_made(case: str) -> None:
    text = f"{MS}{GROUPS[case]}\n"
    after, found = migrate_text(text, "tensorflow")
    assert after == text
    assert said(found, "ERROR") == ["parameter-groups"]
    assert "params holds parameter groups" in next(x.message.text for x in found if x.message.severity.value == "ERROR")


@pytest.mark.parametrize(("case", "code"), [*((c, "some-parameters") for c in SELECTED),
                                            *((c, "parameters-not-read") for c in UNREAD)])  # fmt: skip
def test_parameters_that_are_lost_are_a_warning_that_names_them(case: str, code: str) -> None:
    text = f"{MS}{(SELECTED | UNREAD)[case]}\n"
    after, found = migrate_text(text, "tensorflow")
    assert "keras.optimizers.Adam(epsilon=1e-08)" in after
    (message,) = [item.message for item in found if item.message.code == code]
    assert message.severity.value == "WARNING"
    assert "params=" in message.text


@pytest.mark.parametrize("case", ALL)
def test_all_that_a_model_trains_is_no_loss(case: str) -> None:
    after, found = migrate_text(f"{MS}net = Net()\n{ALL[case]}\n", "tensorflow")
    assert "keras.optimizers.Adam(epsilon=1e-08)" in after
    assert said(found, "WARNING", "ERROR") == ["rest-of-the-model"]


def test_what_is_trained_is_not_lost_where_the_steps_have_it() -> None:
    text = f"{MS}weights = [w, b]\nopt = nn.Adam(weights)\nopt(gradients)\n"
    after, found = migrate_text(text, "tensorflow")
    assert "opt.apply_gradients(zip(gradients, weights))" in after
    assert "some-parameters" not in said(found, "WARNING")


@pytest.mark.parametrize(
    ("call", "severity", "code"),
    [
        ("nn.Adam(get_groups(net))", "WARNING", "parameters-not-read"),
        ("nn.Adam(filter(f, net.trainable_params()))", "WARNING", "some-parameters"),
        ("nn.Adam(params)", "INFO", "parameters-not-read"),
        ("nn.Adam(net.trainable_params())", "INFO", "params-at-each-step"),
        ("groups = []; groups.append({'params': a}); nn.Adam(groups)", "ERROR", "parameter-groups"),
    ],
)
def test_translate_says_the_same_of_a_call(call: str, severity: str, code: str) -> None:
    assert (severity, code) in [(item.severity.value, item.code) for item in translate(call, "keras3").messages]


# Schedules that have a name.

SCHEDULES = {
    "compile and fit": (
        "mindspore",
        """
        import tensorflow as tf
        from tensorflow import keras

        model = keras.Sequential([keras.layers.Dense(1)])
        schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, decay_steps=100, decay_rate=0.9)
        optimizer = keras.optimizers.Adam(learning_rate=schedule)
        model.compile(optimizer=optimizer, loss="mse")
        model.fit(x, y, epochs=3)
        """,
        """
        import tensorflow as tf
        from tensorflow import keras
        import mindspore

        model = keras.Sequential([keras.layers.Dense(1)])
        schedule = mindspore.nn.ExponentialDecayLR(1e-3, decay_rate=0.9, decay_steps=100)
        optimizer = mindspore.nn.Adam(model.trainable_params(), learning_rate=schedule, eps=1e-07)
        model.compile(optimizer=optimizer, loss="mse")
        model.fit(x, y, epochs=3)
        """,
    ),
    "in a function, with a string beside it": (
        "mindspore",
        """
        from tensorflow.keras import Sequential
        from tensorflow.keras.optimizers import Adam
        from tensorflow.keras.optimizers.schedules import PolynomialDecay
        def build(steps):
            model = Sequential(layers())
            rate = PolynomialDecay(1e-3, steps)
            model.compile(Adam(rate), "mse")
            return model
        def plain():
            model = Sequential(layers())
            model.compile("adam", "mse")
            return model
        """,
        """
        from tensorflow.keras import Sequential
        import mindspore
        from tensorflow.keras.optimizers.schedules import PolynomialDecay
        def build(steps):
            model = Sequential(layers())
            rate = mindspore.nn.PolynomialDecayLR(1e-3, end_learning_rate=0.0001, decay_steps=steps, power=1.0)
            model.compile(mindspore.nn.Adam(model.trainable_params(), learning_rate=rate, eps=1e-07), "mse")
            return model
        def plain():
            model = Sequential(layers())
            model.compile(mindspore.nn.Adam(model.trainable_params(), eps=1e-07), "mse")
            return model
        """,
    ),
    "read elsewhere, too": (
        "mindspore",
        """
        import keras
        model = make()
        schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 0.5)
        plot(schedule)
        model.compile(keras.optimizers.Adam(schedule), "mse")
        """,
        """
        import keras
        import mindspore
        model = make()
        schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 0.5)
        plot(schedule)
        model.compile(mindspore.nn.Adam(model.trainable_params(), """
        """learning_rate=mindspore.nn.InverseDecayLR(0.1, decay_rate=0.5, decay_steps=10), eps=1e-07), "mse")
        """,
    ),
    "shared by two": (
        "tensorflow",
        """
        from mindspore import nn
        net, head = Net(), Head()
        rate = nn.ExponentialDecayLR(0.1, 0.9, 4)
        one = nn.Adam(net.trainable_params(), learning_rate=rate)
        two = nn.Adam(head.trainable_params(), rate)
        """,
        """
        from mindspore import nn
        import keras
        net, head = Net(), Head()
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=4, decay_rate=0.9)
        one = keras.optimizers.Adam(learning_rate=rate, epsilon=1e-08)
        two = keras.optimizers.Adam(learning_rate=rate, epsilon=1e-08)
        """,
    ),
    "imported late": (
        "tensorflow",
        """
        from mindspore.nn import ExponentialDecayLR
        rate = ExponentialDecayLR(0.1, 0.9, 4)
        from mindspore.nn import Adam
        opt = Adam(net.trainable_params(), rate)
        """,
        """
        from mindspore.nn import ExponentialDecayLR
        rate = ExponentialDecayLR(0.1, 0.9, 4)
        import keras
        opt = keras.optimizers.Adam("""
        """learning_rate=keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=4, decay_rate=0.9), epsilon=1e-08)
        """,
    ),
    "of today's Keras and yesterday's": (
        "tensorflow",
        """
        import tensorflow as tf
        rate = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.9)
        opt = tf.keras.optimizers.legacy.Adam(rate)
        """,
        """
        import tensorflow as tf
        rate = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.9)
        opt = tf.keras.optimizers.Adam(learning_rate=rate)
        """,
    ),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_a_schedule_that_has_a_name_is_followed(case: str) -> None:
    to, before, after = SCHEDULES[case][0], *(dedent(text) for text in SCHEDULES[case][1:])
    text, found = migrate_text(before, to)
    assert text == after
    assert not said(found, "ERROR")
    assert migrate_text(after, to)[0] == after


def test_a_schedule_whose_names_change_meanwhile_is_left_with_its_translation() -> None:
    text = dedent(
        """
        import keras
        model = make()
        steps = 1
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, steps, 0.9)
        plot(rate)
        steps = 2
        model.compile(keras.optimizers.Adam(rate), "mse")
        """
    )
    after, found = migrate_text(text, "mindspore")
    assert after == text
    (message,) = [item.message for item in found if item.message.severity.value == "ERROR"]
    assert message.code == "learning-rate-form"
    assert "mindspore.nn.ExponentialDecayLR(0.1, decay_rate=0.9, decay_steps=steps)" in message.text


def test_a_schedule_is_left_where_one_of_its_optimizers_is() -> None:
    text = dedent(
        """
        import keras
        model = make()
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.9)
        model.compile(keras.optimizers.Adam(rate), "mse")
        other.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mse")
        """
    )
    after, _ = migrate_text(text, "mindspore")
    assert "rate = keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.9)" in after
    assert "learning_rate=mindspore.nn.ExponentialDecayLR(0.1, decay_rate=0.9, decay_steps=4)" in after
    assert "keras.optimizers.Adam(rate, clipnorm=1.0)" in after


def test_translate_follows_a_schedule_that_has_a_name() -> None:
    code = "import keras\nrate = keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.9)\nkeras.optimizers.Adam(rate)"
    there = translate(code, "mindspore")
    assert "mindspore.nn.ExponentialDecayLR(0.1, decay_rate=0.9, decay_steps=4)" in str(there)
    assert there.imports == ("import mindspore",)
    assert not there.warnings
    code = code.replace("import keras\n", "import keras\nn = 1\nn = 2\n").replace("0.1, 4", "0.1, n")
    assert [item.code for item in translate(code, "mindspore").errors] == ["learning-rate-form"]


# What cannot be rewritten comes with the call to write.

SUGGESTED = {
    "no steps": ("keras.optimizers.Adam(1e-3)", "mindspore.nn.Adam(params, learning_rate=1e-3, eps=1e-07)"),
    "no counterpart": (
        "keras.optimizers.Adam(1e-3, clipnorm=1.0)",
        "without that: mindspore.nn.Adam(params, learning_rate=1e-3, eps=1e-07)",
    ),
    "a string": ("unknown().compile('adam', 'mse')", "mindspore.nn.Adam(params, eps=1e-07)"),
    "several values": (
        "opt = keras.optimizers.Adam()\nopt = other()\nopt.apply_gradients(zip(g, m))",
        "mindspore.nn.Adam(params, eps=1e-07)",
    ),
}


@pytest.mark.parametrize("case", SUGGESTED)
def test_what_is_left_comes_with_the_call_to_write(case: str) -> None:
    code, suggested = SUGGESTED[case]
    text = f"import keras\n{code}\n"
    after, found = migrate_text(text, "mindspore")
    assert after == text
    errors = [item.message.text for item in found if item.message.severity.value == "ERROR"]
    assert sum(suggested in message for message in errors) == 1, errors


def test_a_model_that_a_call_returns_is_another_one_each_time() -> None:
    text = "import keras\ndef make():\n    return net()\nmake().compile('adam', 'mse')\n"
    after, found = migrate_text(text, "mindspore")
    assert (after, said(found, "ERROR")) == (text, ["string-form"])


def test_a_compiled_model_says_what_is_trained_only_where_it_is_certain() -> None:
    for text in (
        "import keras\nopt = keras.optimizers.Adam()\nmodel = make()\nmodel.compile(opt)\n",
        "import keras\nmodel = make()\nmodel = other()\nmodel.compile(keras.optimizers.Adam(), 'mse')\n",
        "import keras\ndef make():\n    return net()\nmake().compile(keras.optimizers.Adam(), 'mse')\n",
        "import keras\na, b = make(), make()\nopt = keras.optimizers.Adam()\na.compile(opt)\nb.compile(opt)\n",
    ):
        after, found = migrate_text(text, "mindspore")
        assert (after, said(found, "ERROR")) == (text, ["parameters-unknown"])


# The members of the family: each call goes to the class of the framework that fits it best.

KERAS = "import keras\nimport tensorflow as tf\nimport tensorflow_addons as tfa\n"
MEMBERS = {
    "Addons' AdamW": (f"{KERAS}opt = tfa.optimizers.AdamW(1e-4, lr=1e-3)", "tensorflow",
                      "opt = keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=0.1)"),
    "Addons' AdamW by its name": ("from tensorflow_addons.optimizers import AdamW\nopt = AdamW(1e-4, 1e-3)",
                                  "tensorflow", "opt = keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=0.1)"),
    "an experiment": (f"{KERAS}opt = tf.keras.optimizers.experimental.AdamW(1e-3)", "tensorflow", None),
    "Adam of 2.6": (f"{KERAS}opt = tf.keras.optimizers.Adam(lr=1e-3)", "tensorflow",
                    "opt = tf.keras.optimizers.Adam(learning_rate=1e-3)"),
    "AdamW that decays nothing": (
        f"{KERAS}net = Net()\nnet.compile(optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.0), loss='mse')",
        "mindspore",
        "net.compile(optimizer=mindspore.nn.Adam(net.trainable_params(), learning_rate=1e-3, eps=1e-07), loss='mse')"),
}  # fmt: skip


@pytest.mark.parametrize("case", MEMBERS)
def test_a_member_becomes_the_class_that_fits_it_best(case: str) -> None:
    text, to, call = MEMBERS[case]
    after, found = migrate_text(f"{text}\n", to)
    assert not said(found, "ERROR")
    assert after.splitlines()[-1] == (call or text.splitlines()[-1])
    assert migrate_text(after, to)[0] == after


@pytest.mark.parametrize(
    ("call", "to", "codes", "right"),
    [
        ("keras.optimizers.AdamW(1e-3)", "mindspore", {"other-meaning", "bias-correction"},
         "adamcompat.mindspore.TFStyleAdamW(learning_rate=1e-3) computes the same"),
        ("tfa.optimizers.AdamW(1e-4)", "mindspore", {"other-meaning", "bias-correction"},
         "adamcompat.mindspore.TFStyleAdamW(weight_decay=0.1) computes the same"),
        ("nn.AdamWeightDecay(net.trainable_params(), weight_decay=0.1)", "tensorflow", {"bias-correction"},
         "adamcompat.tensorflow.MindSporeStyleAdamWeightDecay(net.trainable_variables, weight_decay=0.1) computes the"),
    ],
)  # fmt: skip
def test_what_no_class_of_a_framework_computes_is_refused_and_ours_is_named(
    call: str, to: str, codes: set[str], right: str
) -> None:
    text = f"{KERAS}{MS}net = Net()\nopt = {call}\n"
    after, found = migrate_text(text, to)
    assert after == text
    assert codes <= set(said(found, "ERROR")) <= {*codes, "parameters-unknown"}
    texts = [item.message.text for item in found if item.message.code in codes]
    assert any(right in text for text in texts)
    # The wrong class is not suggested.
    assert not [text for text in texts if "without that" in text]


@pytest.mark.parametrize("name", ["adamw", "AdamW"])
def test_a_string_that_is_adamw_is_refused_where_no_class_computes_it(name: str) -> None:
    text = f"import keras\nmodel = make()\nmodel.compile(optimizer='{name}', loss='mse')\n"
    after, found = migrate_text(text, "mindspore")
    assert after == text
    assert set(said(found, "ERROR")) == {"string-form", "other-meaning", "bias-correction"}
    assert any("adamcompat.mindspore.TFStyleAdamW() computes the same" in item.message.text for item in found)
    ours, found = migrate_text(text, "shim")
    assert "optimizer=adamcompat.tensorflow.AdamW()" in ours
    assert not said(found, "WARNING", "ERROR")


SHIMS = {
    "keras.optimizers.AdamW(1e-3)": "adamcompat.tensorflow.AdamW(1e-3)",
    "tf.keras.optimizers.experimental.AdamW()": "adamcompat.tensorflow.AdamW()",
    "keras.optimizers.get('adamw')": "keras.optimizers.get(adamcompat.tensorflow.AdamW())",
    "nn.AdamWeightDecay(params)": "adamcompat.mindspore.AdamWeightDecay(params)",
    "tfa.optimizers.AdamW(1e-4)": None,
}


@pytest.mark.parametrize("call", SHIMS)
def test_the_shim_of_a_member_is_its_drop_in(call: str) -> None:
    after, found = migrate_text(f"{KERAS}{MS}opt = {call}\n", "shim")
    assert after.splitlines()[-1] == f"opt = {SHIMS[call] or call}"
    assert said(found, "WARNING", "ERROR") == ([] if SHIMS[call] else ["no-drop-in"])

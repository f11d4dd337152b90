"""TF_USE_LEGACY_KERAS=1: tf.keras is tf_keras, and the page that this project starts from."""

from __future__ import annotations

import pytest

from tests.tensorflow.tf_helpers import ROOT, run_python

pytestmark = pytest.mark.frameworks

PAGE = (ROOT / "tests" / "data" / "page_tensorflow.py").read_text(encoding="utf-8")
ORIGINAL = "tf.compat.v1.train.AdamOptimizer("
# What the page sets up before it builds its network for a Session.
DATA = PAGE.partition("tf.compat.v1.disable_eager_execution()")[0]
MODEL = """
model = tf.keras.Sequential([tf.keras.Input((input_channels,)), tf.keras.layers.Dense(output_channels)])
model.set_weights([weight_np.T, bias_np])
model.compile({optimizer}, tf.keras.losses.CategoricalCrossentropy(from_logits=True))
model.fit(input_np, label_np_onehot, batch_size=input_n, epochs=epoch, shuffle=False, verbose=0)
print(model.predict(input_np, verbose=0))
"""
EXPECTED = ["5.8998876", "11.100113", "12.299808", "24.700195"]


def numbers(text: str) -> list[str]:
    return text.replace("[", " ").replace("]", " ").split()


def test_the_page_prints_its_right_numbers() -> None:
    """The page's code as it stands, with our class in place of its optimizer."""
    assert PAGE.count(ORIGINAL) == 1
    code = "from adamcompat.tensorflow.v1 import AdamOptimizer\n" + PAGE.replace(ORIGINAL, "AdamOptimizer(")
    assert numbers(run_python(code, fresh=True, TF_USE_LEGACY_KERAS="1")) == EXPECTED


@pytest.mark.parametrize(
    ("imports", "optimizer"),
    [
        ("from adamcompat.tensorflow.legacy import Adam", "Adam(epsilon=1e-8)"),
        ("from adamcompat.tensorflow import Adam", "Adam(epsilon=1e-8, fused=True)"),
    ],
)
def test_the_page_in_a_model(imports: str, optimizer: str) -> None:
    code = f"{DATA}{imports}\n{MODEL.format(optimizer=optimizer)}"
    assert numbers(run_python(code, TF_USE_LEGACY_KERAS="1")) == EXPECTED


SAME = """
import copy
import numpy as np, tensorflow as tf, tf_keras
from adamcompat.tensorflow import Adam, AdamW
from tf_keras.optimizers import Adam as Stock, AdamW as StockW
assert issubclass(Adam, Stock) and issubclass(AdamW, StockW) and not issubclass(AdamW, Stock)
rng = np.random.default_rng(0)
x, y = rng.standard_normal((64, 6)).astype("f"), rng.integers(0, 3, 64)
def run(kind, compiled, **options):
    tf_keras.utils.set_random_seed(3)
    model = tf_keras.Sequential([tf_keras.Input((6,)), tf_keras.layers.Dense(16, "relu"), tf_keras.layers.Dense(3)])
    model.compile(kind(**options), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compiled)
    model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]
for compiled in ({}, {"run_eagerly": True}):
    for options in ({}, {"amsgrad": True}, {"clipnorm": 0.1}, {"use_ema": True}, {"weight_decay": 0.01},
                    {"learning_rate": tf_keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)}):
        for a, b in zip(run(Adam, compiled, **options), run(Stock, compiled, **options)):
            np.testing.assert_array_equal(a, b)
    for options in ({}, {"amsgrad": True, "clipnorm": 0.1}):
        for a, b in zip(run(AdamW, compiled, **options), run(StockW, compiled, **options)):
            np.testing.assert_array_equal(a, b)
for wrong in ({"loss_scale_factor": 2.0}, {"gradient_accumulation_steps": 2}, {"beta1": 0.5}):
    try:
        Adam(**wrong)
    except TypeError as error:
        print(error)
for kind in (Adam, AdamW):
    again = kind.from_config(kind(0.5, fused=True).get_config())
    print(type(again) is kind, again.fused, float(again.learning_rate), again.weight_decay)
"""


SIGNATURE = """
import inspect, warnings
import tensorflow as tf, tf_keras
from adamcompat.tensorflow import Adam, AdamW
more = True, 0.1, None, 0.5, None, False, 0.99, None, False, "Ada"
values = 0.1, 0.8, 0.9, 1e-3, True, *more
for kind, original, given in (
    (Adam, tf_keras.optimizers.Adam, values),
    (AdamW, tf_keras.optimizers.AdamW, (0.1, 0.2, 0.8, 0.9, 1e-3, True, *more[2:])),
):
    stock = inspect.signature(original.__init__).parameters
    ours = inspect.signature(kind.__init__).parameters
    assert [name for name in ours if name not in ("fused", "corrections")] == list(stock)
    assert all(ours[name].default == parameter.default for name, parameter in stock.items())
    assert ours["fused"].kind is ours["corrections"].kind is inspect.Parameter.KEYWORD_ONLY
    for count in range(len(given) + 1):
        results = []
        for cls in (kind, original):
            optimizer, variable = cls(*given[:count]), tf.Variable([1.0, 2.0])
            for step in range(3):
                optimizer.apply_gradients([(tf.constant([0.3, -0.2 * step]), variable)])
            results.append((variable.numpy().tolist(), optimizer.name, getattr(optimizer, "adaptive_epsilon", None)))
        assert results[0] == results[1], (count, results)
for wrong in (values + (1,), (0.1,)):
    try:
        Adam(*wrong, learning_rate=0.1)
    except TypeError as error:
        print(type(error).__name__)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert float(Adam(0.25, lr=0.5).learning_rate) == float(Adam(0.25, lr=0.5).learning_rate) == 0.25
print(*(warning.message for warning in caught if "drop-in" in str(warning.message)))
"""


def test_the_signature_is_that_of_tf_keras() -> None:
    lines = run_python(SIGNATURE, TF_USE_LEGACY_KERAS="1").strip().splitlines()
    assert lines[:2] == ["TypeError", "TypeError"]
    assert lines[2:] == ["lr=0.5: tf_keras ignores it, and so does this drop-in; pass learning_rate= instead"]


def test_same_bits_as_tf_keras() -> None:
    lines = run_python(SAME, TF_USE_LEGACY_KERAS="1").strip().splitlines()
    assert "unset TF_USE_LEGACY_KERAS" in lines[0] and "unset TF_USE_LEGACY_KERAS" in lines[1]
    assert "here it is 'beta_1'" in lines[2]
    assert lines[3:] == ["True True 0.5 None", "True True 0.5 0.004"]


REPLACED = """
import numpy as np, tensorflow as tf, tf_keras
from adamcompat.tensorflow import Adam
def run(kind, change):
    variables = [tf.Variable([1.0, 2.0]), tf.Variable([3.0])]
    optimizer = kind(0.1, amsgrad=True)
    for count in range(6):
        if count == 3:
            change(optimizer, variables)
        optimizer.apply_gradients([(tf.fill(v.shape, 0.3 * count - 0.5), v) for v in variables])
    return [v.numpy() for v in (*variables, *optimizer._momentums, *optimizer._velocity_hats)]
def rebuilt(optimizer, variables):
    optimizer._built = False
    optimizer.build(variables)
def moment(optimizer, variables):
    optimizer._momentums[0] = tf.Variable([1.0, -1.0])
def maximum(optimizer, variables):
    optimizer._velocity_hats[1] = tf.Variable([9.0])
for change in (rebuilt, moment, maximum):
    for ours, stock in zip(run(Adam, change), run(tf_keras.optimizers.Adam, change), strict=True):
        np.testing.assert_array_equal(ours, stock)
"""


def test_state_that_is_replaced_is_what_later_steps_change() -> None:
    run_python(REPLACED, TF_USE_LEGACY_KERAS="1")


ADAPTIVE = """
import numpy as np, tensorflow as tf, tf_keras
from adamcompat.tensorflow import Adam
def run(kind, **options):
    variable = tf.Variable([1.0, 2.0])
    optimizer = kind(0.1, epsilon=0.1, **options)
    for count in range(5):
        optimizer.apply_gradients([(tf.constant([0.3, -0.01]) * (count + 1), variable)])
    return variable.numpy()
stock = run(tf_keras.optimizers.Adam, adaptive_epsilon=True)
# The kernel of TensorFlow rounds 1 - beta2 in float32.
np.testing.assert_allclose(run(Adam, fused=True, adaptive_epsilon=True), stock, rtol=2e-5)
assert np.abs(run(tf_keras.optimizers.Adam) - stock).max() > 1e-2
"""


def test_adaptive_epsilon_is_that_of_tf_keras_by_the_fused_kernel_too() -> None:
    run_python(ADAPTIVE, TF_USE_LEGACY_KERAS="1")


COPIES = """
import copy, pickle
import numpy as np, tensorflow as tf, tf_keras
from adamcompat.tensorflow import Adam, AdamW
def after(kind, duplicate, **options):
    variables = [tf.Variable([1.0, 2.0], name="kernel"), tf.Variable([3.0], name="bias"), tf.Variable([4.0])]
    optimizer = kind(**{"learning_rate": 0.1, **options})
    if "weight_decay" in options or kind is AdamW:
        optimizer.exclude_from_weight_decay(var_list=[variables[2]], var_names=["bias"])
    def step(optimizer, variables, count):
        optimizer.apply_gradients([(tf.fill(v.shape, 0.3 * count - 0.5), v) for v in variables])
    for count in range(3):
        step(optimizer, variables, count)
    twin, others = duplicate(optimizer), [tf.Variable(v, name=v.name.split(":")[0]) for v in variables]
    for count in range(3):
        step(optimizer, variables, count)
        step(twin, others, count)
    return [v.numpy() for v in variables], [v.numpy() for v in others]
rate = tf_keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
for duplicate in (copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(copy.deepcopy(optimizer)))):
    for options in ({}, {"amsgrad": True}, {"fused": True}, {"weight_decay": 0.5}, {"learning_rate": rate},
                    {"use_ema": True, "ema_overwrite_frequency": 2}, {"adaptive_epsilon": True, "epsilon": 1e-2}):
        for a, b in zip(*after(Adam, duplicate, **options)):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(*after(AdamW, duplicate, amsgrad=True)):
        np.testing.assert_array_equal(a, b)
optimizer = Adam()
optimizer.apply_gradients([(tf.ones(2), tf.Variable([1.0, 2.0]))])
try:
    copy.deepcopy(optimizer).apply_gradients([(tf.ones(3), tf.Variable([1.0, 2.0, 3.0]))])
except ValueError as error:
    print(error)
try:
    after(tf_keras.optimizers.Adam, copy.deepcopy)
except RuntimeError as error:
    print(error)
"""


def test_copies_keep_their_state() -> None:
    ours, stock = run_python(COPIES, TF_USE_LEGACY_KERAS="1").strip().splitlines()
    assert "copy of one for other variables" in ours
    assert "single instance" in stock


CHANGED = """
import numpy as np, tensorflow as tf, tf_keras
from adamcompat.tensorflow import Adam, AdamW
def run(kind, **options):
    variables = [tf.Variable(np.ones(shape, "f")) for shape in ((3,), (2, 2), (130, 140))]
    optimizer = kind(**options)
    for count in range(8):
        if count == 4:
            optimizer.learning_rate = 0.1
            optimizer.beta_1, optimizer.beta_2, optimizer.epsilon, optimizer.clipvalue = 0.5, 0.8, 1e-2, 0.1
        gradients = [tf.cast(tf.range(v.shape.num_elements()), tf.float32) % 7 - 3.1 * (count + 1) for v in variables]
        optimizer.apply_gradients([(tf.reshape(g, v.shape), v) for g, v in zip(gradients, variables)])
    return [*variables, *optimizer.variables]
for options in ({}, {"amsgrad": True}, {"clipnorm": 0.1}, {"weight_decay": 0.01}):
    for a, b in zip(run(Adam, **options), run(tf_keras.optimizers.Adam, **options)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
for a, b in zip(run(AdamW), run(tf_keras.optimizers.AdamW)):
    np.testing.assert_array_equal(a.numpy(), b.numpy())
def moved(kind, **options):
    variable, optimizer = tf.Variable(tf.fill([5], tf.constant(0.1, tf.bfloat16))), kind(0.01, **options)
    for _ in range(3):
        optimizer.apply_gradients([(tf.ones(5, tf.bfloat16), variable)])
    return abs(float(variable.numpy()[0]) - 0.07) < 0.002
print([moved(Adam), moved(Adam, amsgrad=True), moved(Adam, fused=True), moved(tf_keras.optimizers.Adam)])
"""


GRAPH = """
import logging, numpy as np, tensorflow as tf, tf_keras
from adamcompat.tensorflow import Adam, AdamW
said = []
logging.getLogger("tensorflow").addHandler(type("Kept", (logging.Handler,), {"emit": lambda s, r: said.append(r)})())
def run(kind):
    variable, optimizer = tf.Variable([1.0, 2.0]), kind(0.1)
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply_gradients([(gradient, variable)]))
    for count in range(3):
        step(tf.constant([0.3, -0.2 * count]))
    return variable.numpy()
for ours, stock in ((Adam, tf_keras.optimizers.Adam), (AdamW, tf_keras.optimizers.AdamW)):
    np.testing.assert_array_equal(run(ours), run(stock))
print([record.getMessage() for record in said])
"""


def test_a_function_is_traced_without_a_word() -> None:
    assert run_python(GRAPH, TF_USE_LEGACY_KERAS="1").strip() == "[]"


def test_an_eager_loop_has_the_bits_of_tf_keras_and_moves_bfloat16() -> None:
    assert run_python(CHANGED, TF_USE_LEGACY_KERAS="1").strip() == "[True, True, True, False]"

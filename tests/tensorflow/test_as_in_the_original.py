"""What docs/limits.md calls as in the original, and surprising: stock and ours do the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.processes import run

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib, json, sys
import keras, tensorflow as tf
home, name = sys.argv[1].rsplit(".", 1)
Adam = getattr(importlib.import_module(home), name)

# A step of one weight with the gradient 2 on each of two replicas, and with the gradients 1, 2 and 4 on one.
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def mirrored(**keywords):
    with strategy.scope():
        weight = tf.Variable([1.0])
        optimizer = Adam(0.1, epsilon=1.0, **keywords)
        optimizer.build([weight])
    tf.function(lambda: strategy.run(lambda: optimizer.apply_gradients([(tf.constant([2.0]), weight)])))()
    return [float(value[0]) for value in strategy.experimental_local_results(weight)]

def alone(gradient):
    weight = tf.Variable([1.0])
    Adam(0.1, epsilon=1.0).apply_gradients([(tf.constant([gradient]), weight)])
    return float(weight[0])

# The steps at which a schedule is asked.
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return tf.cast(step, tf.float32) / 100
    def get_config(self):
        return {}

weight = tf.Variable([0.0])
optimizer = Adam(Rate(), gradient_accumulation_steps=3, epsilon=0.0, beta_1=0.0, beta_2=0.0)
moved = []
for _ in range(6):
    before = float(weight[0])
    optimizer.apply_gradients([(tf.constant([1.0]), weight)])
    moved.append(round((before - float(weight[0])) * 100))
print(json.dumps({
    "norm": mirrored(clipnorm=1.0), "all": mirrored(global_clipnorm=1.0), "value": mirrored(clipvalue=0.5),
    "free": mirrored(), "alone": {gradient: alone(gradient) for gradient in (1.0, 2.0, 4.0)},
    "steps": moved, "iterations": int(optimizer.iterations),
}))
"""


@pytest.mark.parametrize("adam", ["keras.optimizers.Adam", "adamcompat.tensorflow.Adam"])
def test_replicas_clip_before_the_sum_and_schedules_see_calls(adam: str) -> None:
    settings = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    result = run(["-c", PROGRAM, adam], environment=settings, imported=("tensorflow", "keras"))
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["norm"] == found["all"] == pytest.approx([found["alone"]["2.0"]] * 2, abs=1e-6)
    assert found["value"] == pytest.approx([found["alone"]["1.0"]] * 2, abs=1e-6)
    assert found["free"] == pytest.approx([found["alone"]["4.0"]] * 2, abs=1e-6)
    assert found["steps"] == [0, 0, 2, 0, 0, 5]
    assert found["iterations"] == 2

"""Ctrl-C while a step is made eagerly: all of the step has happened, or nothing of it."""

from __future__ import annotations

import pytest

from tests.tensorflow.tf_helpers import run_python

pytestmark = pytest.mark.frameworks

INTERRUPTED = """
import signal, sys
import numpy as np, tensorflow as tf
from adamcompat.tensorflow import Adam, MindSporeStyleAdam, legacy, v1

# Whoever runs the tests in the background of a shell has them ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def after(calls, step):
    '''Interrupt `step` at so many calls of functions; whether there were as many.'''
    seen = 0
    def look(frame, event, argument):
        nonlocal seen
        if event == "call":
            seen += 1
            if seen == calls:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)
    sys.setprofile(look)
    try:
        step()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return seen >= calls

def make(kind):
    weights = [tf.Variable([1.0, 2.0]), tf.Variable([[3.0]])]
    gradients = [tf.constant([0.5, -0.5]), tf.constant([[0.1]])]
    optimizer = kind(weights) if kind is MindSporeStyleAdam else kind()
    def step():
        optimizer.apply_gradients(list(zip(gradients, weights)))
    def state():
        variables = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
        return [np.array(value) for value in (*weights, *variables)]
    for _ in range(3):
        step()
    return step, state

def equal(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))

for kind in (Adam, MindSporeStyleAdam, legacy.Adam, v1.AdamOptimizer):
    (step, state), (whole, reference) = make(kind), make(kind)
    calls, made = 1, 0
    before = reference()
    while after(calls, step):
        if not equal(state(), before):
            whole()
            made += 1
            before = reference()
            if not equal(state(), before):
                print(kind.__module__, "half a step, interrupted at call", calls)
                break
        calls += 5
    print(kind.__module__, "whole", calls > 100 and made > 10)
"""


@pytest.mark.parametrize("environment", [{}, {"TF_USE_LEGACY_KERAS": "1"}], ids=["keras 3", "tf_keras"])
def test_an_interrupted_step_is_whole_or_not_made(environment: dict[str, str]) -> None:
    found = run_python(INTERRUPTED, timeout=240, **environment).split("\n")
    adapters = "adamcompat.tensorflow{}.adapters whole True"
    assert found == [*(adapters.format(where) for where in ("", "", ".legacy", ".v1")), ""]

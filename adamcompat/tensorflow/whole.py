"""Steps that Ctrl-C cannot cut in two."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import tensorflow as tf

from adamcompat.interrupts import Uninterrupted


def whole_step() -> AbstractContextManager[None]:
    """Hold Ctrl-C back while a step is made eagerly, operation after operation.

    In a graph nothing is done: Python only builds the step there, and TensorFlow runs it in one call.
    """
    return Uninterrupted() if tf.executing_eagerly() else nullcontext()

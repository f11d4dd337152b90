"""The base of `adamcompat.tensorflow.Adam`: whichever fits the class that tf.keras has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    KerasAdam: Any
elif tf.keras.optimizers.Adam.__module__.startswith("tf_keras"):
    from adamcompat.tensorflow.keras2 import Keras2Adam as KerasAdam
else:
    from adamcompat.tensorflow.keras3 import Keras3Adam as KerasAdam

__all__ = ["KerasAdam"]

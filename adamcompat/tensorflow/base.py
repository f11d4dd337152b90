"""The bases of the adapters for tf.keras: whichever fit the classes that tf.keras has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    KerasAdam: Any
    KerasAdamW: Any
    KerasCallAdam: Any
    KerasStepAdam: Any
elif tf.keras.optimizers.Adam.__module__.startswith("tf_keras"):
    from adamcompat.tensorflow.call_keras2 import Keras2CallAdam as KerasCallAdam
    from adamcompat.tensorflow.call_keras2 import Keras2StepAdam as KerasStepAdam
    from adamcompat.tensorflow.keras2 import Keras2Adam as KerasAdam
    from adamcompat.tensorflow.keras2 import Keras2AdamW as KerasAdamW
else:
    from adamcompat.tensorflow.call_keras3 import Keras3CallAdam as KerasCallAdam
    from adamcompat.tensorflow.call_keras3 import Keras3StepAdam as KerasStepAdam
    from adamcompat.tensorflow.keras3 import Keras3Adam as KerasAdam
    from adamcompat.tensorflow.keras3 import Keras3AdamW as KerasAdamW

__all__ = ["KerasAdam", "KerasAdamW", "KerasCallAdam", "KerasStepAdam"]

"""nn.AdamWeightDecay's calling convention on MindSpore's Parameters."""

from __future__ import annotations

from typing import Any, ClassVar

from mindspore import nn


class CallAdamWeightDecay(nn.AdamWeightDecay):  # type: ignore[misc]
    """Base of the drop-in; use `adamcompat.mindspore.AdamWeightDecay`."""

    _adapter: ClassVar[str]

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, corrections: bool | None) -> None:
        super().__init__(**given, **extra)

"""nn.Adam's calling convention on MindSpore's Parameters."""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import nn

from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.drop_in import DropIn, in_place_of, once
from adamcompat.mindspore.gradients import Refusals
from adamcompat.mindspore.graph import GraphAdam
from adamcompat.mindspore.layout import Attributes
from adamcompat.mindspore.notes import say_left_out
from adamcompat.mindspore.overrides import Overrides


class CallAdam(DropIn, GraphAdam):
    """Base of the drop-in for nn.Adam; use `adamcompat.mindspore.Adam`."""

    _attributes = Attributes.of(MAPPING.dialects["mindspore"], ("moment1", "moment2"))
    _refusals = Refusals(no_tuple=RuntimeError, no_tensor=ValueError, converts=False)
    _stock = nn.Adam.construct
    _construct_once = once(_stock)
    construct = in_place_of(_stock)

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, corrections: bool | None) -> None:
        super().__init__(given, extra, corrections=corrections)
        if not self.use_offload and all(p.dtype == mindspore.float32 for p in self.parameters):
            self._join(nn.Adam, "_apply_adam")
        if not self.corrections and any(
            flag and len(p.shape) > 1 and not self._centralizes(i)
            for i, (flag, p) in enumerate(zip(self._flags(), self.parameters, strict=True))
        ):
            say_left_out(self._dialect, "centralization")

    def _flags(self) -> tuple[bool, ...]:
        return self.grad_centralization_flags if self.is_group else (False,) * len(self.parameters)


CallAdam._overrides = Overrides(CallAdam, "construct", nn.Adam)

"""Calls that are translated between PyTorch's two classes do the same in the installed PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from adamcompat.translation import translate

CALLS = [
    ("torch.optim.AdamW(params)", "torch"),
    ("torch.optim.AdamW(params, 1e-2, (0.8, 0.95), 1e-6, 0.1, True)", "torch"),
    ("torch.optim.AdamW(params, lr=0.01, weight_decay=0.0, maximize=True)", "torch"),
    ("torch.optim.Adam(params)", "torch_adamw"),
    ("torch.optim.Adam(params, 1e-2, amsgrad=True)", "torch_adamw"),
    ("torch.optim.Adam(params, weight_decay=0.1, decoupled_weight_decay=True)", "torch_adamw"),
    ("torch.optim.Adam([{'params': params[:1], 'lr': 0.1}, {'params': params[1:]}], eps=1e-5)", "torch_adamw"),
]


def ended(call: str) -> list[Any]:
    rng = np.random.default_rng(0)
    params = [torch.nn.Parameter(torch.from_numpy(rng.standard_normal(shape))) for shape in ((5, 3), (7,))]
    optimizer = eval(call, {"torch": torch, "params": params})
    for _ in range(4):
        for one in params:
            one.grad = torch.from_numpy(rng.standard_normal(one.shape))
        optimizer.step()
    return [one.detach().numpy() for one in params]


@pytest.mark.parametrize(("call", "target"), CALLS, ids=[call for call, _ in CALLS])
def test_the_other_class_does_the_same(call: str, target: str) -> None:
    there = translate(call, target)
    assert there.call is not None
    assert there.call.startswith({"torch": "torch.optim.Adam(", "torch_adamw": "torch.optim.AdamW("}[target])
    assert not there.warnings
    for one, other in zip(ended(call), ended(there.call), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_ends_tell_calls_apart() -> None:
    assert not np.array_equal(ended(CALLS[0][0])[0], ended("torch.optim.AdamW(params, weight_decay=0.0)")[0])

"""The drop-ins with PyTorch's own table of inputs for its optimizers, which its wheel ships for its tests.

The table is read in a process of its own: its modules change settings of the whole process when they are imported.
"""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adamcompat.torch as ours

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"Adam": (ours.Adam, torch.optim.Adam), "AdamW": (ours.AdamW, torch.optim.AdamW)}
CHILD = "--in-a-process-of-its-own"
FORMS: dict[str, dict[str, Any]] = {
    "default": {},
    "foreach": {"foreach": True},
    "no foreach": {"foreach": False},
    "fused": {"fused": True},
    "capturable": {"capturable": False},
    "differentiable": {"differentiable": True},
}
Maker = Callable[[Any], Any]


def parameters(**given: Any) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((20, 30), (30,), (2, 3, 4), ())
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, **given)) for shape in shapes]


def steps(optimizer: Any, own: list[Any], count: int = 6, after: Callable[[int], Any] = lambda step: None) -> list[Any]:
    """All parameters and state after steps whose gradients depend on the parameters."""
    for step in range(count):
        for number, parameter in enumerate(own):
            # The second has none now and then.
            skipped = number == 1 and step % 3 == 1
            parameter.grad = None if skipped else (parameter.detach() * (step + 1) - 0.5).clone()
        optimizer.step()
        after(step)
    return [one.detach().double().numpy().copy() for one in (*own, *states(optimizer))]


def states(optimizer: Any) -> list[Any]:
    return [torch.as_tensor(value) for state in optimizer.state.values() for value in state.values()]


def same(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        if left.dtype.kind in "fc":
            # PyTorch's square root is not rounded correctly; what follows from its last bit grows in these steps.
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(left, right)


def made_alike(name: str, check: Callable[[Any], list[Any]]) -> None:
    """Check that a class of ours and its original do the same, errors and warnings included."""
    found = []
    for kind in KINDS[name]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                done: Any = check(kind)
            except Exception as error:
                done = [type(error).__name__, str(error)]
        found.append((done, [(one.category.__name__, str(one.message)) for one in said]))
    (mine, my_warnings), (theirs, their_warnings) = found
    assert my_warnings == their_warnings
    if theirs and isinstance(theirs[0], str):
        assert mine == theirs
    else:
        same(mine, theirs)


def infos() -> dict[str, Any]:
    from torch.testing._internal import common_optimizers

    found = {info.optim_cls.__name__: info for info in common_optimizers.optim_db}
    return {name: found[name] for name in KINDS}


def inputs() -> list[Any]:
    return [
        pytest.param(name, dict(one.kwargs), id=f"{name}-{one.desc}")
        for name, info in infos().items()
        for one in info.optim_inputs_func(device="cpu")
    ]


if CHILD in sys.argv:
    NAMES = list(KINDS)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("name, given", inputs())
    def test_inputs(name: str, given: dict[str, Any], form: str) -> None:
        def check(kind: Any) -> list[Any]:
            own = parameters()
            return steps(kind(own, **{**given, **FORMS[form]}), own)

        made_alike(name, check)

    @pytest.mark.parametrize("name", NAMES)
    def test_error_inputs(name: str) -> None:
        wrong = list(infos()[name].optim_error_inputs_func(device="cpu", dtype=torch.float32))
        assert len(wrong) >= 5
        for each in wrong:
            given = each.optimizer_error_input

            def check(kind: Any, given: Any = given) -> list[Any]:
                own = [one.detach().clone().requires_grad_() for one in given.params if isinstance(one, torch.Tensor)]
                optimizer = kind(own if len(own) == len(list(given.params)) else given.params, **given.kwargs)
                return steps(optimizer, [one for group in optimizer.param_groups for one in group["params"]])

            made_alike(name, check)

    SCHEDULED = [(name, number) for name in NAMES for number in range(len(infos()[name].scheduler_inputs))]

    @pytest.mark.parametrize("name, number", SCHEDULED)
    def test_schedulers(name: str, number: int) -> None:
        makers: list[Maker] = infos()[name].scheduler_inputs[number]

        def check(kind: Any) -> list[Any]:
            own = parameters()
            optimizer = kind([{"params": own[:2], "lr": 0.1}, {"params": own[2:]}])
            schedulers = [make(optimizer) for make in makers]

            def after(step: int) -> None:
                for scheduler in schedulers:
                    takes = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
                    scheduler.step(*([1.0] if takes else []))

            return steps(optimizer, own, 12, after)

        made_alike(name, check)

    @pytest.mark.parametrize("way", ["state_dict", "deepcopy", "pickle", "saved", "of the original", "to the original"])
    @pytest.mark.parametrize("name, given", inputs())
    def test_state_goes_on(name: str, given: dict[str, Any], way: str) -> None:
        stock = KINDS[name][1]

        def check(kind: Any) -> list[Any]:
            own = parameters()
            first = (stock if way == "of the original" else kind)(own, **given)
            steps(first, own)
            if way in ("deepcopy", "pickle"):
                both = (own, first)
                own, second = copy.deepcopy(both) if way == "deepcopy" else pickle.loads(pickle.dumps(both))
                return steps(second, own)
            state = first.state_dict()
            if way == "saved":
                file = io.BytesIO()
                torch.save(state, file)
                file.seek(0)
                state = torch.load(file, weights_only=True)
            second = (stock if way == "to the original" else kind)(own)
            second.load_state_dict(state)
            return steps(second, own)

        made_alike(name, check)

    @pytest.mark.parametrize("name, given", inputs())
    def test_groups_and_hooks(name: str, given: dict[str, Any]) -> None:
        def check(kind: Any) -> list[Any]:
            own, told = parameters(), list[str]()
            optimizer = kind(own[:1], **given)
            optimizer.add_param_group({"params": own[1:], "lr": 0.3, "weight_decay": 0.02})
            handles = [
                optimizer.register_step_pre_hook(lambda *_: told.append("before")),
                optimizer.register_step_post_hook(lambda *_: told.append("after")),
                torch.optim.optimizer.register_optimizer_step_pre_hook(lambda *_: told.append("before any")),
                optimizer.register_state_dict_post_hook(lambda _, state: told.append(f"state {len(state)}")),
                optimizer.register_load_state_dict_pre_hook(lambda *_: told.append("loads")),
            ]
            steps(optimizer, own, 3)
            optimizer.load_state_dict(optimizer.state_dict())
            for handle in handles:
                handle.remove()
            found = steps(optimizer, own)
            optimizer.zero_grad(set_to_none=False)
            assert all(one.grad is None or not one.grad.any() for one in own)
            return [*found, np.array([",".join(told)])]

        made_alike(name, check)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("kind_of", ["closure", "zero gradients", "no gradients", "named", "doubles", "complex"])
    def test_what_steps_take(name: str, kind_of: str) -> None:
        def check(kind: Any) -> list[Any]:
            dtype = {"doubles": torch.float64, "complex": torch.complex64}.get(kind_of, torch.float32)
            own = parameters(dtype=dtype)
            optimizer = kind([(f"w{i}", one) for i, one in enumerate(own)] if kind_of == "named" else own, lr=0.1)
            if kind_of == "complex":
                for _ in range(3):
                    for one in own:
                        one.grad = one.detach() * 2 - 1
                    optimizer.step()
                return [torch.view_as_real(one.detach()).numpy() for one in own]
            if kind_of == "closure":

                def closure() -> Any:
                    optimizer.zero_grad()
                    loss = sum((one**2).sum() for one in own)
                    loss.backward()
                    return loss

                losses = [float(optimizer.step(closure).detach()) for _ in range(5)]
                assert losses == sorted(losses, reverse=True)
                return [np.array(losses)]
            if kind_of.endswith("gradients"):
                for one in own:
                    one.grad = torch.zeros_like(one) if kind_of.startswith("zero") else None
                optimizer.step()
                return [one.detach().numpy() for one in own] + [np.array(len(optimizer.state))]
            found = steps(optimizer, own)
            names = optimizer.param_groups[0].get("param_names", [])
            return [*found, np.array(names)]

        made_alike(name, check)

else:

    def test_the_table_of_the_wheel() -> None:
        pytest.importorskip("expecttest")
        given = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--every-combination", __file__]
        program = f"import sys, pytest; sys.argv.append({CHILD!r}); sys.exit(pytest.main({given!r}))"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        # Every row of the table in every form.
        assert int(done.stdout.rpartition(" passed")[0].rpartition("\n")[2].split()[-1]) > 150

"""Other frameworks' calls on PyTorch's tensors: the numbers of the NumPy classes, in optimizers of PyTorch."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import adamcompat.torch as ours
from adamcompat.mapping.tables import MAPPING
from adamcompat.torch import devices, optimizer
from tests.inputs import CLASSES, EACH, IDS, NAMES, Case, Run, assert_same, by_norm, stream

pytestmark = pytest.mark.filterwarnings("ignore:'(lr|decay)' is a keyword:UserWarning")

KINDS: dict[str, Any] = {style: getattr(ours, kind.__name__) for style, kind in CLASSES.items()}


class TorchRun:
    """An optimizer of either style over the table's parameters, as tensors."""

    def __init__(self, case: Case, style: str, start: list[Any], numerics: str, device: str = "cpu") -> None:
        self.parameters = [torch.nn.Parameter(torch.tensor(array, device=device)) for array in start]
        tensors: Any = self.parameters
        chosen: Any = list(zip(NAMES, tensors, strict=True))
        if case.groups is not None:
            chosen = case.groups(tensors)
        self.optimizer = KINDS[style](chosen, **getattr(case, style), numerics=numerics)

    def step(self, gradients: list[Any]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient, device=parameter.device)
        self.optimizer.step()

    @property
    def arrays(self) -> list[Any]:
        return [parameter.detach().numpy() for parameter in self.parameters]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("case", "style"), EACH, ids=IDS)
def test_every_case_has_the_bits_of_numpy(case: Case, style: str, dtype: type) -> None:
    numerics = {"tf": "keras3", "ms": "mindspore"}[style[:2]]
    start, gradients = stream(12, dtype=dtype)
    run, theirs = TorchRun(case, style, start, numerics), Run(case, style, start, numerics)
    for step in gradients:
        run.step(step)
        theirs.step(step)
    for one, other in zip(run.arrays, theirs.arrays, strict=True):
        assert_same(one, other, by_norm(case))


@pytest.mark.parametrize(("case", "style"), EACH, ids=IDS)
def test_pytorchs_operations_agree_to_rounding(case: Case, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of other devices, made to run on the CPU."""
    monkeypatch.setattr(optimizer, "in_memory", lambda tensor: False)
    start, gradients = stream(12)
    theirs = Run(case, style, start)
    run = TorchRun(case, style, start, "canonical")
    if {"ema", "accumulate"} & set(case.reference) or "use_lazy" in getattr(case, style):
        with pytest.raises(NotImplementedError, match="in main memory only"):
            run.step(gradients[0])
        return
    for step in gradients:
        run.step(step)
        theirs.step(step)
    assert isinstance(run.optimizer._steps[0][2], devices.Elsewhere)
    for one, other in zip(run.arrays, theirs.arrays, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("numerics", ["canonical", "keras3"])
@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_gradients_of_zero_are_clipped_by_pytorchs_operations(
    clip: str, numerics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "in_memory", lambda tensor: False)
    parameter, other = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))
    settings: dict[str, Any] = {clip: 1.0, "numerics": numerics}
    made = ours.TFStyleAdam([parameter, other], **settings)
    parameter.grad = torch.zeros(3)
    made.step()
    assert parameter.tolist() == [1.0, 1.0, 1.0]
    # Neither has a gradient.
    made.zero_grad()
    made.step()
    assert parameter.tolist() == [1.0, 1.0, 1.0]
    parameter.grad = torch.tensor([3.0, math.nan, 0.0])
    made.step()
    assert all(map(math.isnan, parameter.tolist()))


@pytest.mark.parametrize("style", ["MindSporeStyleAdam", "TFStyleAdam"])
def test_an_infinite_parameter_without_decay_stays_infinite_under_pytorchs_operations(
    style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "in_memory", lambda tensor: False)
    parameter = torch.nn.Parameter(torch.tensor([math.inf, 1.0]))
    made = getattr(ours, style)([parameter])
    parameter.grad = torch.ones(2)
    made.step()
    assert parameter.tolist()[0] == math.inf
    assert parameter.tolist()[1] < 1


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_pytorchs_operations_clip_to_a_norm_as_main_memory_does(clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {clip: 0.3}
    results = []
    for memory in (True, False):
        if not memory:
            monkeypatch.setattr(optimizer, "in_memory", lambda tensor: False)
        results.append(trained(lambda parameters: ours.TFStyleAdam(parameters, **settings), 5)[0])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=0, atol=2**-22)


@pytest.mark.parametrize("style", KINDS)
def test_meta_tensors_are_stepped(style: str) -> None:
    parameter = torch.nn.Parameter(torch.empty(3, 2, device="meta"))
    made = KINDS[style]([parameter])
    parameter.grad = torch.empty(3, 2, device="meta")
    made.step()
    assert made.state[parameter]["exp_avg"].device.type == "meta"
    assert int(made.state[parameter]["step"]) == 1


@pytest.mark.parametrize("style", KINDS)
def test_the_default_rounding_is_the_styles(style: str) -> None:
    made = KINDS[style]([torch.nn.Parameter(torch.ones(2))])
    own = MAPPING.dialects[MAPPING.adapter("torch", KINDS[style].__name__).dialect].numerics
    assert made._rounding == MAPPING.numerics[own]


def trained(make: Callable[[list[Any]], Any], steps: int = 3) -> tuple[list[Any], Any]:
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]
    made = make(parameters)
    advance(parameters, made, steps)
    return parameters, made


def advance(parameters: list[Any], made: Any, steps: int, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        made.step()


ALL: dict[str, Callable[[list[Any]], Any]] = {
    **KINDS,
    "amsgrad": lambda parameters: ours.TFStyleAdam(parameters, amsgrad=True, use_ema=True),
    "Adam": lambda parameters: ours.Adam(parameters, amsgrad=True, weight_decay=0.1),
    "AdamW": lambda parameters: ours.AdamW(parameters),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("way", ["state_dict", "deepcopy", "pickle", "file"])
def test_a_training_goes_on(name: str, way: str, tmp_path: Any) -> None:
    parameters, made = trained(ALL[name])
    if way in ("deepcopy", "pickle"):
        copied: Any = copy.deepcopy if way == "deepcopy" else lambda value: pickle.loads(pickle.dumps(value))
        others, other = copied((parameters, made))
    else:
        others = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
        other = ALL[name](others)
        saved = made.state_dict()
        if way == "file":
            torch.save(saved, tmp_path / "state.pt")
            saved = torch.load(tmp_path / "state.pt", weights_only=True)
        other.load_state_dict(copy.deepcopy(saved))
    advance(parameters, made, 3, seed=2)
    advance(others, other, 3, seed=2)
    # After loading, the original makes a drop-in's first step, and rounds some roots otherwise on some processors.
    exact = {"rtol": 1e-6, "atol": 1e-8} if name.startswith("Adam") else {"rtol": 0.0, "atol": 0.0}
    for one, same in zip(parameters, others, strict=True):
        torch.testing.assert_close(one, same, **exact)
        for key, kept in made.state[one].items():
            found = other.state[same][key].double()
            torch.testing.assert_close(torch.as_tensor(kept, dtype=torch.float64), found, **exact)


@pytest.mark.parametrize("name", ALL)
def test_schedulers_change_the_rate(name: str) -> None:
    parameters, made = trained(ALL[name])
    scheduler = torch.optim.lr_scheduler.MultiplicativeLR(made, lambda _: 0.0)
    advance(parameters, made, 1)
    scheduler.step()
    before = [parameter.detach().clone() for parameter in parameters]
    advance(parameters, made, 1)
    assert made.param_groups[0]["lr"] == 0
    for one, old in zip(parameters, before, strict=True):
        assert torch.equal(one, old)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", ALL)
def test_hooks_closures_and_zero_grad(name: str, steps: int) -> None:
    """The original makes the first step of a drop-in; once an object of it exists, its step calls hooks too."""
    for stock in (torch.optim.Adam, torch.optim.AdamW):
        stock([torch.nn.Parameter(torch.ones(1))])
    parameters, made = trained(ALL[name], steps)
    seen: list[str] = []
    made.register_step_pre_hook(lambda *_: seen.append("before"))
    made.register_step_post_hook(lambda *_: seen.append("after"))

    def closure() -> Any:
        made.zero_grad()
        loss = sum((parameter**2).sum() for parameter in parameters)
        loss.backward()
        return loss

    loss = made.step(closure)
    assert loss.item() > sum((parameter**2).sum().item() for parameter in parameters)
    assert seen == ["before", "after"]
    made.zero_grad()
    assert all(parameter.grad is None for parameter in parameters)


@pytest.mark.parametrize("name", ALL)
def test_a_gradient_scaler_steps(name: str) -> None:
    parameters, made = trained(ALL[name], 0)
    plain, other = trained(ALL[name], 0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for own, optimizing, scale in ((parameters, made, True), (plain, other, False)):
        for _ in range(3):
            optimizing.zero_grad()
            loss = sum((parameter**2).sum() for parameter in own)
            (scaler.scale(loss) if scale else loss).backward()
            if scale:
                scaler.step(optimizing)
                scaler.update()
            else:
                optimizing.step()
    for one, same in zip(parameters, plain, strict=True):
        assert torch.equal(one, same)


@pytest.mark.parametrize("name", ALL)
def test_a_compiled_step_is_the_step(name: str) -> None:
    parameters, made = trained(ALL[name], 0)
    others, other = trained(ALL[name], 0)
    step = torch.compile(other.step, backend="eager")
    for seed in range(3):
        advance(parameters, made, 1, seed)
        generator = torch.Generator().manual_seed(seed)
        for parameter in others:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        step()
    for one, same in zip(parameters, others, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-6, atol=1e-7)
    if name.startswith("Adam"):
        # Compiling wraps a method of every original, which is no change of ours.
        advance(parameters, made, 2)
        assert made._known[0].cohorts


def test_groups_hold_every_setting() -> None:
    one, two = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    alone = torch.nn.Parameter(torch.ones(3))
    made = ours.TFStyleAdamW(
        [{"params": [one]}, {"params": [two], "learning_rate": 0.1, "beta_1": 0.5, "weight_decay": 0.0}]
    )
    other = ours.TFStyleAdamW([alone], learning_rate=0.1, beta_1=0.5, weight_decay=0.0)
    added = torch.nn.Parameter(torch.ones(3))
    for _ in range(3):
        for parameter in (one, two, alone, added):
            parameter.grad = torch.tensor([0.5, -0.25, 0.0])
        made.step()
        other.step()
        if len(made.param_groups) == 2:
            made.add_param_group({"params": [added], "lr": 0.0})
    assert torch.equal(two, alone)
    assert torch.equal(added, torch.ones(3))
    assert made.param_groups[1]["lr"] == 0.1
    assert "learning_rate" not in made.param_groups[1]
    made.param_groups[1]["beta_1"] = 1.5
    before = [parameter.detach().clone() for parameter in (one, two, added)]
    with pytest.raises(ValueError, match="beta_1"):
        made.step()
    assert all(torch.equal(a, b) for a, b in zip((one, two, added), before, strict=True))


def test_apply_gradients_and_calls() -> None:
    weight, other = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    made = ours.TFStyleAdam([weight])
    assert made.apply_gradients([(torch.tensor([0.5, -0.5]), weight)]) == 1
    called = ours.MindSporeStyleAdam([other], eps=1e-7, numerics="keras3")
    assert called((torch.tensor([0.5, -0.5]),)) == (True,)
    assert torch.equal(weight, other)
    for pairs, text in (
        ([(torch.ones(2), other)], "in none of this optimizer's groups"),
        ([(torch.ones(2), weight), (torch.ones(2), weight)], "given twice"),
        ([(None, weight)], "all of them are None"),
        ([], "empty"),
    ):
        with pytest.raises(ValueError, match=text):
            made.apply_gradients(pairs)
    with pytest.raises(ValueError, match="1 gradients"):
        called(())
    assert made.iterations == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("style", KINDS)
def test_half_precision_is_updated(style: str, dtype: Any) -> None:
    wide, narrow = torch.nn.Parameter(torch.ones(4, 3)), torch.nn.Parameter(torch.ones(4, 3, dtype=dtype))
    made = [KINDS[style]([parameter], learning_rate=0.1) for parameter in (wide, narrow)]
    for _ in range(4):
        for parameter, optimizing in zip((wide, narrow), made, strict=True):
            parameter.grad = torch.full((4, 3), 0.5, dtype=parameter.dtype)
            optimizing.step()
    assert made[1].state[narrow]["exp_avg"].dtype == dtype
    torch.testing.assert_close(narrow.float(), wide, rtol=0.03, atol=0.01)


def test_tensors_in_any_order_of_memory() -> None:
    base = torch.randn(2, 3, 4, 5)
    made = []
    for layout in (torch.contiguous_format, torch.channels_last):
        parameter = torch.nn.Parameter(base.clone().contiguous(memory_format=layout))
        optimizing = ours.TFStyleAdam([parameter], weight_decay=0.01)
        for seed in range(3):
            gradient = torch.randn(base.shape, generator=torch.Generator().manual_seed(seed))
            parameter.grad = gradient.contiguous(memory_format=torch.channels_last if seed == 1 else layout)
            optimizing.step()
        made.append(parameter)
    assert torch.equal(*made)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_rows_are_right() -> None:
    dense, sparse = (torch.nn.Parameter(torch.arange(8.0).reshape(4, 2)) for _ in range(2))
    first, second = ours.TFStyleAdam([dense]), ours.TFStyleAdam([sparse])
    for _ in range(2):
        rows = torch.sparse_coo_tensor([[1, 3, 1]], torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.5, 0.5]]), (4, 2))
        dense.grad, sparse.grad = rows.to_dense(), rows
        first.step()
        second.step()
    assert torch.equal(dense, sparse)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: ours.TFStyleAdam(p, beta1=0.9), ValueError, "here it is 'beta_1'"),
        (lambda p: KINDS["tf"](p, epsilon="x"), ValueError, "epsilon must be a number"),
        (lambda p: ours.TFStyleAdam(p, numerics="jax"), ValueError, "numerics must be one of"),
        (lambda p: ours.TFStyleAdam([]), ValueError, "empty parameter list"),
        (
            lambda p: ours.TFStyleAdam([torch.ones(2, dtype=torch.complex64, requires_grad=True)]),
            TypeError,
            "view_as_real",
        ),
        (lambda p: ours.TFStyleAdam([{"params": p, "beta_1": 2.0}]), ValueError, "beta_1 must lie in"),
        (
            lambda p: ours.TFStyleAdam(
                [{"params": p}, {"params": [torch.ones(1, requires_grad=True)]}], global_clipnorm=1.0
            ),
            ValueError,
            "clip_grad_norm_",
        ),
    ],
)
def test_mistakes_are_explained(make: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make([torch.nn.Parameter(torch.ones(2))])


def test_a_bad_gradient_changes_nothing() -> None:
    parameters, made = trained(ALL["amsgrad"])
    before = [parameter.detach().clone() for parameter in parameters], copy.deepcopy(made.state_dict())
    parameters[0].grad = torch.ones(3, 4)
    parameters[1].grad = torch.ones(5)
    parameters[1].grad.data = torch.ones(4)
    with pytest.raises(ValueError, match="shape"):
        made.step()
    assert all(torch.equal(a, b) for a, b in zip(parameters, before[0], strict=True))
    assert torch.equal(made.state_dict()["state"][0]["exp_avg"], before[1]["state"][0]["exp_avg"])


def test_state_of_other_steps_is_refused() -> None:
    _, made = trained(ALL["tf"])
    saved = copy.deepcopy(made.state_dict())
    saved["state"][1]["step"] = torch.tensor(7.0)
    with pytest.raises(ValueError, match="not updated equally often"):
        made.load_state_dict(saved)
    assert made.iterations == 3


@pytest.mark.parametrize("what", ["parameters", "state", "memory of the state"])
@pytest.mark.parametrize("name", ["tf", "Adam"])
def test_tensors_are_followed(name: str, what: str) -> None:
    parameters, made = trained(ALL[name])
    others, other = trained(ALL[name])
    kept = made.state[parameters[0]]
    if what == "parameters":
        for parameter in parameters:
            parameter.data = parameter.data.clone()
    elif what == "state":
        kept["exp_avg"] = kept["exp_avg"].clone()
    else:
        kept["exp_avg"].data = kept["exp_avg"].data.clone()
    moment = kept["exp_avg"].clone()
    advance(parameters, made, 2, seed=5)
    advance(others, other, 2, seed=5)
    for one, same in zip(parameters, others, strict=True):
        assert torch.equal(one, same)
    assert not torch.equal(made.state[parameters[0]]["exp_avg"], moment)


def test_stock_goes_on_with_steps_that_each_parameter_has_of_its_own() -> None:
    parameters, made = trained(lambda own: ours.TFStyleAdam(own))
    stock = torch.optim.Adam(parameters)
    stock.load_state_dict({**stock.state_dict(), "state": made.state_dict()["state"]})
    advance(parameters, stock, 1)
    assert [float(stock.state[parameter]["step"]) for parameter in parameters] == [4.0] * len(parameters)


def test_steps_that_are_moved_are_found() -> None:
    parameters, made = trained(lambda own: ours.TFStyleAdam(own))
    made.state[parameters[0]]["step"].share_memory_()
    advance(parameters, made, 2)
    assert made.iterations == 5
    assert [int(made.state[parameter]["step"]) for parameter in parameters] == [5] * len(parameters)


def test_stocks_state_is_taken() -> None:
    parameters, made = trained(lambda own: torch.optim.Adam(own, eps=1e-7))
    others = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    other = ours.TFStyleAdam(others)
    other.load_state_dict(made.state_dict())
    assert other.iterations == 3
    assert torch.equal(other.state[others[0]]["exp_avg_sq"], made.state[parameters[0]]["exp_avg_sq"])
    advance(others, other, 1)


def test_a_loss_is_scaled_as_its_gradients_are_unscaled() -> None:
    made = []
    for scale in (None, 1024.0):
        parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizing = ours.TFStyleAdam([parameter], loss_scale_factor=scale)
        optimizing.scale_loss((parameter**2).sum()).backward()
        optimizing.step()
        made.append(parameter)
    assert torch.equal(*made)
    assert torch.equal(made[1].grad, 1024 * torch.tensor([2.0, -4.0]))
    optimizing.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "loss_scale_factor": 2.0})
    with pytest.raises(ValueError, match="loss scales"):
        optimizing.scale_loss(1.0)


def test_averages_become_the_parameters() -> None:
    parameters, made = trained(ALL["amsgrad"])
    averages = [made.state[parameter]["average"].clone() for parameter in parameters]
    made.finalize_variable_values()
    assert all(torch.equal(one, average) for one, average in zip(parameters, averages, strict=True))


def made_of(kind: Any, **settings: Any) -> tuple[list[Any], Any]:
    torch.manual_seed(3)
    # Of the two sizes that the engine gathers and reads in place, and of two dtypes.
    parameters = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape, dtype in SIZES]
    return parameters, kind(parameters, **settings)


SIZES = [((3, 4), torch.float32), ((90, 90), torch.float32), ((5,), torch.float64), ((0,), torch.float32)]
KINDS_READ = {"TFStyleAdam": ours.TFStyleAdam, "MindSporeStyleAdam": ours.MindSporeStyleAdam, "Adam": ours.Adam}
GRADIENTS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda g: g,
    "strided": lambda g: torch.stack([g, g], -1)[..., 0],
    "negative": lambda g: torch._neg_view(-g),
    "needs a gradient": lambda g: g.requires_grad_(),
    "sparse": lambda g: g.to_sparse(),
}


# What PyTorch's own step reads, it rounds in its own way.
@pytest.mark.parametrize(
    ("name", "other"),
    [(name, other) for name in KINDS_READ for other in GRADIENTS if name != "Adam" or other in ("plain", "strided")],
)
def test_gradients_are_read_in_place_or_copied_with_the_same_bits(name: str, other: str) -> None:
    results = []
    for kinds in (("plain", other, "plain", other), ("strided",) * 4):
        parameters, made = made_of(KINDS_READ[name])
        generator = torch.Generator().manual_seed(5)
        for kind in kinds:
            for parameter in parameters:
                g = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.grad = GRADIENTS[kind](g)
            made.step()
        results.append([parameter.detach().numpy() for parameter in parameters])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_large_gradients_of_half_precision_are_read_before_they_go() -> None:
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 8100, dtype=torch.bfloat16).reshape(90, 90))
    made = ours.TFStyleAdam([parameter], learning_rate=0.1)
    for step in range(1, 4):
        parameter.grad = torch.linspace(-step, 1, 8100).bfloat16().reshape(90, 90)
        made.step()
    first_moment = torch.zeros(90, 90)
    for step in range(1, 4):
        first_moment += (torch.linspace(-step, 1, 8100).bfloat16().float().reshape(90, 90) - first_moment) * 0.1
        first_moment = first_moment.bfloat16().float()
    found = made.state[parameter]["exp_avg"].float().numpy()
    np.testing.assert_allclose(found, first_moment.numpy(), rtol=2**-7, atol=1e-6)


# In a drop-in it is what PyTorch makes of it.
@pytest.mark.parametrize("name", ["TFStyleAdam", "MindSporeStyleAdam"])
@pytest.mark.parametrize("where", ["parameter", "exp_avg", "exp_avg_sq"])
def test_a_gradient_in_memory_that_is_written_is_read_before(name: str, where: str) -> None:
    results = []
    for shared in (True, False):
        parameters, made = made_of(KINDS_READ[name])
        for _ in range(3):
            for parameter in parameters:
                own = parameter.detach() if where == "parameter" else made.state.get(parameter, {}).get(where)
                own = torch.ones_like(parameter) if own is None else own
                parameter.grad = own if shared else own.clone()
            made.step()
        results.append([parameter.detach().numpy() for parameter in parameters])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_plain_gradients_are_read_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("copied")

    for kind in KINDS_READ.values():
        parameters, made = made_of(kind)
        for step in range(3):
            for parameter in parameters:
                parameter.grad = torch.ones_like(parameter)
            if step == 2:
                monkeypatch.setattr("adamcompat.numpy.batch.concatenated", refused)
            made.step()
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["TFStyleAdam", "MindSporeStyleAdam"])
@pytest.mark.parametrize("size", [50, 9000])
def test_a_gradient_that_lies_across_what_is_written_is_read_before(name: str, size: int) -> None:
    results = []
    for shared in (True, False):
        memory = torch.linspace(-1, 1, size + 1)
        parameter = torch.nn.Parameter(memory[1:])
        made = KINDS_READ[name]([parameter])
        for _ in range(3):
            # One element before the parameter: each is written before its neighbour's gradient is read.
            parameter.grad = memory[:-1] if shared else memory[:-1].clone()
            made.step()
        results.append(parameter.detach().numpy().copy())
    np.testing.assert_array_equal(*results)

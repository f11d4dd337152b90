"""State in PyTorch's files: read without unpickling objects, written as the program's own, or refused with why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from adamcompat import Parameter, TorchStyleAdam
from adamcompat.state import AdamState, StateError
from adamcompat.state.files import convert, open_document, read, write
from tests.torch.test_torch_state import NAMES, Net, same, train, values

pytest.importorskip("safetensors")
pytestmark = pytest.mark.filterwarnings("ignore:.*it also holds epoch")


def saved(path: Path, steps: int, kind: Any = torch.optim.Adam, **options: Any) -> tuple[Net, Any]:
    """A checkpoint as programs write it."""
    net = Net(steps)
    optimizer = kind(net.parameters(), 0.01, **options)
    train(net, optimizer, steps)
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)
    return net, optimizer


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_a_program_goes_on_from_what_went_through_files(tmp_path: Path, kind: Any, options: dict[str, Any]) -> None:
    fresh, run, neutral, back = (tmp_path / name for name in ("fresh.pt", "run.pth", "a.safetensors", "back.pt"))
    saved(fresh, 0, kind, **options)
    net, optimizer = saved(run, 5, kind, **options)
    state = open_document(run).state
    assert (state.step, state.names, state.convention) == (5, NAMES, "torch")
    assert state.dialect == ("torch" if kind is torch.optim.Adam else "torch_adamw")
    write(neutral, state)
    convert(open_document(neutral), back, like=open_document(fresh)).carry_out()
    whole = torch.load(back, weights_only=True)
    other = Net(9)
    other.load_state_dict(whole["model"])
    new = kind(other.parameters())
    new.load_state_dict(whole["optimizer"])
    assert whole["epoch"] == 3
    for one, two in zip(optimizer.state.values(), new.state.values(), strict=True):
        assert one.keys() == two.keys()
        assert same([*one.values()], [*two.values()])
    for model in (net, other):
        # The averages of normalization are no parameters, and stay as they are in the pattern.
        model.norm.reset_running_stats()
    train(net, optimizer, 3, seed=2)
    train(other, new, 3, seed=2)
    assert same(values(net), values(other))


def test_what_is_in_the_file_and_not_in_the_state_is_said(tmp_path: Path) -> None:
    saved(tmp_path / "run.pt", 2)
    with pytest.warns(UserWarning, match="it also holds epoch, which are no part of the state"):
        open_document(tmp_path / "run.pt")


def test_names_beside_the_state(tmp_path: Path) -> None:
    net, optimizer = saved(tmp_path / "run.pt", 2)
    torch.save(optimizer.state_dict(), tmp_path / "bare.pt")
    assert read(tmp_path / "bare.pt").names == tuple(f"parameter#{i}" for i in range(6))
    named = torch.optim.Adam(net.named_parameters())
    named.load_state_dict(optimizer.state_dict())
    torch.save(named.state_dict(), tmp_path / "named.pt")
    bare = read(tmp_path / "named.pt")
    assert (bare.names, bare.parameters) == (NAMES, None)
    # Layers that shapes do not tell apart, of which the optimizer has one.
    twins = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    one = torch.optim.Adam(twins[1].parameters())
    twins(torch.ones(1, 2)).sum().backward()
    one.step()
    torch.save({"model": twins.state_dict(), "optimizer": one.state_dict()}, tmp_path / "twins.pt")
    with pytest.warns(
        UserWarning, match=r"shapes leave it open: they are numbered\. make the optimizer with model\.named"
    ):
        assert read(tmp_path / "twins.pt").names == ("parameter#0", "parameter#1")
    wide = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    other = torch.optim.Adam(wide[1].parameters())
    wide(torch.ones(1, 2)).sum().backward()
    other.step()
    torch.save({"state_dict": wide.state_dict(), "optimizer_state_dict": other.state_dict()}, tmp_path / "wide.pt")
    assert read(tmp_path / "wide.pt").names == ("1.weight", "1.bias")
    grouped = torch.optim.Adam([{"params": [wide[1].bias]}, {"params": [wide[0].weight, wide[1].weight]}])
    grouped.step()
    torch.save({"model": wide.state_dict(), "optimizer": grouped.state_dict()}, tmp_path / "groups.pt")
    with pytest.warns(UserWarning, match="it has others, or they stand in groups"):
        read(tmp_path / "groups.pt")


def test_parameters_without_state_and_other_numbers_of_steps(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    train(net, optimizer, 2, only=NAMES[2:])
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    with pytest.warns(UserWarning, match=r"conv\.weight, conv\.bias have no state"):
        assert read(tmp_path / "a.pt").names == NAMES[2:]
    train(net, optimizer, 1)
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    with pytest.raises(StateError, match=r"a\.pt: .*not updated equally often \(1 times: conv\.weight, conv\.bias; 3"):
        read(tmp_path / "a.pt")


def test_a_file_without_moments_is_a_pattern_only(tmp_path: Path) -> None:
    net, optimizer = saved(tmp_path / "fresh.pt", 0)
    with pytest.raises(StateError, match="holds no moments: the optimizer had made no step"):
        read(tmp_path / "fresh.pt")
    torch.save(optimizer.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(StateError, match="no model that tells shapes: save the model's state_dict"):
        open_document(tmp_path / "bare.pt")
    del net


def broken(case: str, path: Path) -> None:
    net, optimizer = saved(path, 1)
    whole = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
    if case == "object":
        torch.save({"optimizer": optimizer}, path)
    elif case == "no file of PyTorch":
        path.write_bytes(b"hello")
    elif case == "cut off":
        path.write_bytes(path.read_bytes()[:-500])
    elif case == "no optimizer":
        torch.save({"model": net.state_dict()}, path)
    elif case == "a list":
        torch.save([1, 2], path)
    elif case == "two optimizers":
        torch.save({"one": optimizer.state_dict(), "two": optimizer.state_dict()}, path)
    elif case == "nested":
        torch.save({"optimizer_states": [optimizer.state_dict()], "state_dict": net.state_dict()}, path)
    elif case == "damaged":
        data = bytearray(path.read_bytes())
        moment = optimizer.state[net.conv.weight]["exp_avg"].numpy().tobytes()
        data[data.index(moment) + 3] ^= 0x40
        path.write_bytes(bytes(data))
    elif case in ("SGD", "RAdam"):
        other = getattr(torch.optim, case)(net.parameters(), 0.1)
        train(net, other, 1)
        torch.save({"optimizer": other.state_dict()}, path)
    else:
        kept = whole["optimizer"]["state"][0]
        if case == "strange state":
            kept["momentum_buffer"] = torch.ones(1)
        elif case == "no second moment":
            del kept["exp_avg_sq"]
        elif case == "half a step":
            kept["step"] = torch.tensor(0.5)
        elif case == "no step at all":
            kept["step"] = torch.tensor(float("nan"))
        elif case == "a negative step":
            kept["step"] = torch.tensor(-1.0)
        elif case == "float8":
            kept["exp_avg"] = kept["exp_avg"].to(torch.float8_e4m3fn)
        torch.save(whole, path)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            "object",
            r"holds objects \(torch\.optim\.adam\.Adam\), which could run code, and is not unpickled: save state",
        ),
        ("no file of PyTorch", "not a file that torch.save wrote, or damaged"),
        ("cut off", "not a file that torch.save wrote, or damaged"),
        ("no optimizer", r"holds no state of an optimizer: expected the state_dict\(\)"),
        ("a list", "holds no state of an optimizer"),
        ("two optimizers", "holds several optimizers: one, two; save each to a file of its own"),
        ("SGD", "groups have no betas, eps, amsgrad, .* the state of another optimizer"),
        ("RAdam", "groups have no amsgrad, .* the state of another optimizer"),
        ("strange state", "the optimizer keeps momentum_buffer of 'conv.weight', which is unknown here"),
        ("no second moment", "the optimizer lacks exp_avg_sq of 'conv.weight'"),
        ("half a step", r"a number of steps is tensor\(0\.5000\), which is no whole number"),
        ("no step at all", r"a number of steps is tensor\(nan\), which is no whole number of at least 0"),
        ("a negative step", r"a number of steps is tensor\(-1\.\)"),
        ("nested", r"there is one at \['optimizer_states'\]\[0\]: save that alone"),
        ("damaged", "damaged: the checksum of .*data/.* in it is wrong"),
        ("float8", "exp_avg of 'conv.weight' has dtype float8_e4m3fn, which NumPy does not have"),
    ],
)
def test_refusals(case: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    broken(case, path)
    with pytest.raises(StateError, match=rf"run\.pt: .*{said}"):
        read(path)


def test_what_an_object_in_a_file_would_do_is_not_done(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"optimizer": {"state": {}, "param_groups": []}, "trap": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(StateError, match="which could run code, and is not unpickled"):
        read(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_files_of_older_versions(tmp_path: Path) -> None:
    net, optimizer = saved(tmp_path / "run.pt", 3, torch.optim.AdamW)
    old = optimizer.state_dict()
    for group in old["param_groups"]:
        for name in ("decoupled_weight_decay", "fused", "foreach", "capturable", "differentiable", "maximize"):
            del group[name]
    for kept in old["state"].values():
        kept["step"] = int(kept["step"])
    torch.save({"model": net.state_dict(), "optimizer": old}, tmp_path / "old.pt")
    with pytest.warns(UserWarning, match="do not tell torch.optim.Adam from torch.optim.AdamW"):
        document = open_document(tmp_path / "old.pt")
    assert (document.state.step, document.state.dialect) == (3, "torch")
    write(tmp_path / "new.pt", document.state, like=document)
    assert torch.load(tmp_path / "new.pt", weights_only=True)["optimizer"]["state"][0]["step"] == 3


def test_writing_needs_a_pattern_that_keeps_the_same(tmp_path: Path) -> None:
    run, plain = tmp_path / "run.pt", tmp_path / "plain.pt"
    saved(run, 2, amsgrad=True)
    saved(plain, 0)
    with pytest.raises(StateError, match=r"holds the optimizer's settings too; pass one as like"):
        write(tmp_path / "new.pt", read(run))
    with pytest.raises(StateError, match=r"the state has maximum_second_moment, and .*plain\.pt has none"):
        convert(open_document(run), tmp_path / "new.pt", like=open_document(plain))
    with pytest.raises(StateError, match=r"the state has maximum_second_moment for .*plain\.pt has none"):
        write(tmp_path / "new.pt", read(run), like=open_document(plain))
    for steps in (0, 2):
        saved(plain, steps)
        state = read(plain) if steps else None
        saved(run, steps, amsgrad=True)
        if state is not None:
            with pytest.raises(StateError, match=r"run\.pt has maximum_second_moment for .*the state has none"):
                write(tmp_path / "new.pt", state, like=open_document(run))
    saved(plain, 0)
    before = plain.read_bytes()
    other = AdamState(step=1, first_moment={"x": torch.ones(1).numpy()}, second_moment={"x": torch.ones(1).numpy()})
    with pytest.raises(StateError, match="its optimizer has no x"):
        write(plain, other, like=open_document(plain))
    assert plain.read_bytes() == before


def test_bfloat16_in_every_bit(tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    for name, steps in (("fresh.pt", 0), ("run.pt", 3)):
        net = Net(steps, torch.bfloat16)
        optimizer = torch.optim.Adam(net.parameters())
        train(net, optimizer, steps)
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / name)
    write(tmp_path / "n.safetensors", read(tmp_path / "run.pt"))
    convert(
        open_document(tmp_path / "n.safetensors"), tmp_path / "back.pt", like=open_document(tmp_path / "fresh.pt")
    ).carry_out()
    one, other = (torch.load(tmp_path / name, weights_only=True) for name in ("run.pt", "back.pt"))
    for place, kept in one["optimizer"]["state"].items():
        assert same([*kept.values()], [*other["optimizer"]["state"][place].values()])
    assert same([one["model"][name] for name in NAMES], [other["model"][name] for name in NAMES])


def test_the_state_alone_leaves_the_parameters(tmp_path: Path) -> None:
    saved(tmp_path / "run.pt", 3)
    saved(tmp_path / "like.pt", 1)
    before = torch.load(tmp_path / "like.pt", weights_only=True)
    convert(
        open_document(tmp_path / "run.pt"),
        tmp_path / "new.pt",
        like=open_document(tmp_path / "like.pt"),
        state_only=True,
    ).carry_out()
    after = torch.load(tmp_path / "new.pt", weights_only=True)
    assert same([*before["model"].values()], [*after["model"].values()])
    assert {int(kept["step"]) for kept in after["optimizer"]["state"].values()} == {3}
    # The averages of normalization stay those of the pattern, also where parameters are carried.
    convert(
        open_document(tmp_path / "run.pt"), tmp_path / "all.pt", like=open_document(tmp_path / "like.pt")
    ).carry_out()
    whole, run = (torch.load(tmp_path / name, weights_only=True)["model"] for name in ("all.pt", "run.pt"))
    assert same([whole[name] for name in NAMES], [run[name] for name in NAMES])
    assert torch.equal(whole["norm.running_mean"], before["model"]["norm.running_mean"])


def test_several_models_and_other_keys(tmp_path: Path) -> None:
    net, optimizer = saved(tmp_path / "run.pt", 2)
    whole = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(whole, tmp_path / "one.pt")
    assert read(tmp_path / "one.pt").names == NAMES, "the only model there is"
    torch.save({**whole, "average": Net(5).state_dict()}, tmp_path / "two.pt")
    with pytest.warns(UserWarning, match=r"it holds several models \(net, average\), of which none is taken"):
        assert read(tmp_path / "two.pt").parameters is None
    torch.save({"average": Net(5).state_dict(), **whole, "model": net.state_dict()}, tmp_path / "three.pt")
    with pytest.warns(UserWarning, match="it also holds average, net"):
        found = read(tmp_path / "three.pt")
    assert found.parameters is not None
    assert (found.parameters["out.bias"] == net.out.bias.detach().numpy()).all()


def test_the_other_formulas_are_said(tmp_path: Path) -> None:
    saved(tmp_path / "run.pt", 2, torch.optim.AdamW)
    saved(tmp_path / "like.pt", 0, torch.optim.Adam, eps=1e-6)
    with pytest.warns(
        UserWarning, match=r"epsilon 1e-06 instead of 1e-08; .*decoupled_weight_decay 0\.0 instead of 0\.01"
    ):
        convert(open_document(tmp_path / "run.pt"), tmp_path / "new.pt", like=open_document(tmp_path / "like.pt"))


def test_a_state_of_numpy_goes_into_a_file(tmp_path: Path) -> None:
    net, _ = saved(tmp_path / "like.pt", 0)
    weights = [Parameter(one.detach().numpy().copy(), name) for name, one in net.named_parameters()]
    optimizer = TorchStyleAdam(weights, 0.01)
    for weight in weights:
        weight.grad = weight.data.copy()
    optimizer.step()
    write(tmp_path / "n.safetensors", AdamState.of(optimizer))
    convert(
        open_document(tmp_path / "n.safetensors"), tmp_path / "new.pt", like=open_document(tmp_path / "like.pt")
    ).carry_out()
    whole = torch.load(tmp_path / "new.pt", weights_only=True)
    kept = list(whole["optimizer"]["state"].values())
    assert [int(one["step"]) for one in kept] == [1] * 6
    for one, own, weight in zip(kept, optimizer.state.values(), weights, strict=True):
        assert (one["exp_avg"].numpy() == own["exp_avg"]).all()
        assert (whole["model"][weight.name].numpy() == weight.data).all()


def test_the_command_line(tmp_path: Path) -> None:
    saved(tmp_path / "run.pt", 2)
    saved(tmp_path / "fresh.pt", 0)
    result = subprocess.run(
        [sys.executable, "-m", "adamcompat", "state", "convert", "run.pt", "new.pt", "--like", "fresh.pt"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "160"},
    )  # fmt: skip
    assert (result.returncode, read(tmp_path / "new.pt").step) == (0, 2), result.stderr
    assert "conv.weight" in result.stdout
    assert "PyTorch (.pt, .pth) to PyTorch (.pt, .pth), step 2" in result.stdout

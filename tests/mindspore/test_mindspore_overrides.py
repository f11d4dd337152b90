"""What users override in a subclass, or on an optimizer, is called as the original calls it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, nn, ops  # noqa: E402

import adamcompat  # noqa: E402
from adamcompat.mindspore import Adam, AdamWeightDecay  # noqa: E402
from adamcompat.mindspore.overrides import parts_of  # noqa: E402
from tests.mindspore.mindspore_bits import assert_same  # noqa: E402

pytestmark = [pytest.mark.frameworks, pytest.mark.slow]

STOCK = nn.Adam
STOCK_DECAY = nn.AdamWeightDecay
TWICE = "an overridden construct that calls super"


def half(gradients: Any) -> Any:
    return tuple([g * 0.5 for g in gradients])


def construct(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def construct(self, gradients: Any) -> Any:
            return super().construct(half(gradients))

    return Changed


def decay_weight(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def decay_weight(self, gradients: Any) -> Any:
            return super().decay_weight(half(gradients))

    return Changed


def get_weight_decay(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def get_weight_decay(self) -> Any:
            return super().get_weight_decay() * 3.0

    return Changed


def gradients_centralization(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def gradients_centralization(self, gradients: Any) -> Any:
            return super().gradients_centralization(half(gradients))

    return Changed


def scale_grad(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def scale_grad(self, gradients: Any) -> Any:
            return super().scale_grad(half(gradients))

    return Changed


def deduplicate(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def _grad_sparse_indices_deduplicate(self, gradients: Any) -> Any:
            return super()._grad_sparse_indices_deduplicate(half(gradients))

    return Changed


def get_lr(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def get_lr(self) -> Any:
            return super().get_lr() * 0.5

    return Changed


def apply_adam(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def _apply_adam(self, params: Any, power1: Any, power2: Any, m: Any, v: Any, lr: Any, gradients: Any) -> Any:
            return super()._apply_adam(params, power1, power2, m, v, lr * 0.5, gradients)

    return Changed


def operator(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.opt = ops.Adam(use_nesterov=True)

    return Changed


def increase(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.global_step_increase_tensor = Tensor([2], ms.int32)

    return Changed


def unfused(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.use_fused_opt = False

    return Changed


def filtered(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.optim_filter = (False, True)

    return Changed


METHODS: dict[str, Callable[[Any], Any]] = {
    "construct": construct,
    "decay_weight": decay_weight,
    "get_weight_decay": get_weight_decay,
    "gradients_centralization": gradients_centralization,
    "scale_grad": scale_grad,
    "_grad_sparse_indices_deduplicate": deduplicate,
    "get_lr": get_lr,
    "_apply_adam": apply_adam,
}
CHANGES = METHODS | {"opt": operator, "global_step_increase_tensor": increase}
CHANGES |= {"use_fused_opt": unfused, "optim_filter": filtered}
# What belongs to a step of nn.AdamWeightDecay.
OF_DECAY = ["construct", "get_weight_decay", "get_lr", "global_step_increase_tensor", "use_fused_opt", "optim_filter"]
OF_BOTH = [
    *((Adam, STOCK, name) for name in [*METHODS, "opt", "global_step_increase_tensor"]),
    *((AdamWeightDecay, STOCK_DECAY, name) for name in OF_DECAY),
]


def test_every_method_of_a_step_is_among_them() -> None:
    assert set(METHODS) == parts_of(STOCK, "construct").methods
    # It is called on several devices only.
    several = {"broadcast_params"}
    assert {name for name in OF_DECAY if name in METHODS} == parts_of(STOCK_DECAY, "construct").methods - several


@pytest.fixture(params=["pynative", "graph", "jit"])
def how(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def trained(
    kind: Any, how: str = "pynative", prepare: Callable[[Any], None] = lambda optimizer: None, **more: Any
) -> list[NDArray[Any]]:
    """All that is kept after some steps."""
    ms.set_context(mode=ms.GRAPH_MODE if how == "graph" else ms.PYNATIVE_MODE)
    try:
        return _trained(kind, how, prepare, more)
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)


def _trained(kind: Any, how: str, prepare: Callable[[Any], None], more: dict[str, Any]) -> list[NDArray[Any]]:
    parameters = [
        Parameter(Tensor(np.linspace(-1, 1, 11), ms.float32), name="a"),
        Parameter(Tensor(np.linspace(1, 2, 32).reshape(2, 16), ms.float32), name="b"),
    ]
    scale = {"loss_scale": 2.0} if issubclass(kind, STOCK) else {}
    optimizer = kind(parameters, 0.1, eps=0.1, weight_decay=0.1, **scale, **more)
    prepare(optimizer)

    def step(*gradients: Any) -> Any:
        return optimizer(gradients)

    run = ms.jit(step) if how == "jit" else step
    for turn in range(3):
        run(*(Tensor(np.sin(np.arange(p.size) + turn).reshape(p.shape), ms.float32) for p in parameters))
    return [value.asnumpy().copy() for value in optimizer.parameters_dict().values()]


@functools.cache
def trained_stock(change: str | None, how: str, stock: Any = STOCK) -> tuple[NDArray[Any], ...]:
    """The same by the original itself, with one of the changes or none."""
    found = trained(stock if change is None else CHANGES[change](stock), how)
    for array in found:
        array.setflags(write=False)
    return tuple(found)


def quietly(function: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*{TWICE}")
        return function()


@pytest.mark.parametrize("installed", [False, True], ids=["imported", "installed"])
@pytest.mark.parametrize(("kind", "stock", "change"), OF_BOTH)
def test_a_subclass(kind: Any, stock: Any, change: str, installed: bool, how: str) -> None:
    theirs, plain = trained_stock(change, how, stock), trained_stock(None, how, stock)
    if installed:
        with adamcompat.installed():
            # A name of this module would be replaced too.
            stand_in = getattr(nn, stock.__name__)
            assert stand_in is not stock
            ours = quietly(lambda: trained(CHANGES[change](stand_in), how))
    else:
        ours = quietly(lambda: trained(CHANGES[change](kind), how))
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(theirs, plain, strict=True)), "nothing was changed"


def test_a_subclass_with_an_init_of_its_own(how: str) -> None:
    """One that begins with the base class of nn.Adam, and uses what that and nn.Adam have."""

    def own(kind: Any) -> Any:
        class Own(kind):  # type: ignore[misc]
            def __init__(self, params: Any, learning_rate: Any, eps: float, **more: Any) -> None:
                nn.Optimizer.__init__(self, learning_rate, params, **more)
                self.moment1 = self._parameters.clone(prefix="moment1", init="zeros")
                self.rule = ops.ApplyMomentum()

            def construct(self, gradients: Any) -> Any:
                gradients = self.scale_grad(self.gradients_centralization(self.decay_weight(gradients)))
                gradients = self._grad_sparse_indices_deduplicate(gradients)
                lr = self.get_lr()
                done: Any = ()
                for i in range(len(gradients)):
                    rule = self.rule(self._parameters[i], self.moment1[i], lr, gradients[i], 0.9)
                    done += (ops.depend(True, rule),)
                return done

        return Own

    for a, b in zip(trained(own(Adam), how), trained(own(STOCK), how), strict=True):
        assert_same(a, b)


def halved_rate() -> Any:
    return Tensor(0.05, ms.float32)


@pytest.mark.parametrize(
    ("kind", "stock", "name"),
    [
        *((Adam, STOCK, name) for name in ("get_lr", "opt")),
        *((AdamWeightDecay, STOCK_DECAY, name) for name in ("get_lr", "use_fused_opt", "optim_filter")),
    ],
)
def test_an_optimizer_of_its_own(kind: Any, stock: Any, name: str, how: str) -> None:
    """An attribute that is set on the optimizer before its first step."""
    values = {"get_lr": halved_rate, "opt": ops.Adam(use_nesterov=True), "use_fused_opt": False}
    values["optim_filter"] = (False, True)

    def prepare(optimizer: Any) -> None:
        setattr(optimizer, name, values[name])

    ours, theirs = (trained(each, how, prepare=prepare) for each in (kind, stock))
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    plain = trained_stock(None, how, stock)
    assert any(not np.array_equal(a, b) for a, b in zip(ours, plain, strict=True))


@pytest.mark.parametrize("where", ["ours", "nn.Optimizer"])
def test_a_class_that_is_patched(where: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_lr(self: Any) -> Any:
        return self.learning_rate * 0.5

    plain = trained_stock(None, how)
    monkeypatch.setattr(nn.Optimizer if where == "nn.Optimizer" else Adam, "get_lr", get_lr)
    ours = trained(Adam, how)
    monkeypatch.setattr(nn.Optimizer, "get_lr", get_lr)
    theirs = trained(STOCK, how)
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    assert not np.array_equal(theirs[2], plain[2])


def test_what_is_replaced_after_the_first_step_is_not_looked_at() -> None:
    """nn.Adam is compiled by then."""
    found = []
    for kind in (Adam, STOCK):
        parameter = Parameter(Tensor([1.0], ms.float32), name="a")
        optimizer = kind([parameter], 0.1)
        for turn in range(3):
            optimizer((Tensor([1.0], ms.float32),))
            if turn == 0:
                optimizer.get_lr = halved_rate
        found.append(parameter.asnumpy())
    assert_same(*found)
    np.testing.assert_allclose(found[0], [0.7], atol=1e-6)


def test_the_fast_path_is_for_all_that_replace_nothing() -> None:
    """Else a step would take eight times as long without a word."""

    class More(Adam):
        """A subclass with methods of its own."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.rates = [0.1, 0.2]

        def flatten_gradients(self, gradients: Any) -> Any:
            """No part of a step of this class."""
            raise AssertionError

        def current_rate(self) -> Any:
            return self.get_lr()

    with adamcompat.installed():
        kinds = [Adam, More, nn.Adam]
        for kind in kinds:
            optimizer = kind([Parameter(Tensor([1.0], ms.float32), name="a")])
            optimizer.target = "CPU"
            optimizer.unique = True
            optimizer.set_train()
            optimizer((Tensor([1.0], ms.float32),))
            assert optimizer._replaced == frozenset()
            assert optimizer._pynative.ready()
    assert get_lr(Adam)([Parameter(Tensor([1.0], ms.float32), name="a")])._replaced_names() == {"get_lr"}


@pytest.mark.parametrize(("kind", "stock"), [(Adam, STOCK), (AdamWeightDecay, STOCK_DECAY)])
def test_a_construct_that_is_applied_twice(kind: Any, stock: Any) -> None:
    """The original applies it in Python, and again in the graph that it compiles."""
    once, theirs = trained_stock("construct", "graph", stock), trained_stock("construct", "pynative", stock)
    assert not np.array_equal(theirs[2], once[2]), "MindSpore has mended this"
    with pytest.warns(UserWarning, match=TWICE) as caught:
        ours = trained(construct(kind))
    assert [warning.filename for warning in caught] == [__file__]
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)

    def with_a_rate(kind: Any) -> Any:
        class Changed(kind):  # type: ignore[misc]
            def get_lr(self) -> Any:
                return super().get_lr() * 0.5

            def construct(self, gradients: Any) -> Any:
                return super().construct(half(gradients))

        return Changed

    for a, b in zip(trained(with_a_rate(kind), corrections=True), trained(with_a_rate(stock), "graph"), strict=True):
        assert_same(a, b)


def test_a_construct_that_names_its_base_class() -> None:
    """There nn.Adam's graph loses the running products, which ours repeats."""

    def named(kind: Any) -> Any:
        class Changed(kind):  # type: ignore[misc]
            def construct(self, gradients: Any) -> Any:
                return kind.construct(self, half(gradients))

        return Changed

    for a, b in zip(quietly(lambda: trained(named(Adam))), trained(named(STOCK)), strict=True):
        assert_same(a, b)


def compiled(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        @ms.jit  # type: ignore[untyped-decorator]
        def construct(self, gradients: Any) -> Any:
            return super().construct((gradients[0] * 0.5, gradients[1]))

    return Changed


def with_arguments(kind: Any) -> Any:
    class Changed(kind):  # type: ignore[misc]
        def construct(self, first: Any, second: Any, scale: Any = 0.5) -> Any:
            return super().construct((first * scale, second))

        def __call__(self, gradients: Any) -> Any:
            return super().__call__(*gradients, scale=0.25)

    return Changed


@pytest.mark.parametrize("change", [compiled, with_arguments])
def test_other_kinds_of_construct(change: Callable[[Any], Any], mode: str) -> None:
    if change is compiled or mode == "graph":
        ours, theirs = (quietly(lambda: trained(change(kind), mode)) for kind in (Adam, STOCK))  # noqa: B023
    else:
        # Where construct is applied twice, the second gets one tuple in place of its arguments.
        for kind in (STOCK, Adam):
            with pytest.raises(RuntimeError):
                quietly(lambda: trained(change(kind), mode))  # noqa: B023
        ours, theirs = trained(change(Adam), mode, corrections=True), trained(change(STOCK), "graph")
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize(
    ("kind", "stock", "change"),
    [
        *((Adam, STOCK, change) for change in ("construct", "get_lr", "opt")),
        *((AdamWeightDecay, STOCK_DECAY, change) for change in ("construct", "get_lr", "use_fused_opt")),
    ],
)
def test_training_goes_on_after_a_load_where_something_is_replaced(kind: Any, stock: Any, change: str) -> None:
    """Then the original makes the step; its graph is made anew."""
    found = {}
    for each in (kind, stock):
        parameter = Parameter(Tensor([1.0], ms.float32), name="a")
        optimizer = CHANGES[change](each)([parameter], 0.1)
        quietly(lambda: optimizer((Tensor([1.0], ms.float32),)))  # noqa: B023
        first = 1.0 - float(parameter.asnumpy()[0])
        parameter.set_data(Tensor([5.0], ms.float32))
        for _ in range(2):
            optimizer((Tensor([1.0], ms.float32),))
        found[each] = (5.0 - float(parameter.asnumpy()[0])) / first
    assert found[stock] == 0, "MindSpore has mended this; docs/originals.md says otherwise"
    assert found[kind] > 1.2


def clip(gradients: Any) -> Any:
    return ops.clip_by_global_norm(gradients, 0.1)


class Clipping(nn.TrainOneStepCell):  # type: ignore[misc]
    def construct(self, *inputs: Any) -> Any:
        loss = self.network(*inputs)
        gradients = self.grad(self.network, self.weights)(*inputs, ops.ones_like(loss) * self.sens)
        return ops.depend(loss, self.optimizer(clip(gradients)))


class Outer(nn.Cell):  # type: ignore[misc]
    def __init__(self, optimizer: Any) -> None:
        super().__init__()
        self.optimizer = optimizer

    def construct(self, *gradients: Any) -> Any:
        return self.optimizer(half(gradients))


def clipped(kind: Any) -> list[NDArray[Any]]:
    net = nn.Dense(3, 2, weight_init="ones", bias_init="zeros")
    optimizer = kind(net.trainable_params(), 0.1, eps=1.0)
    step = Clipping(nn.WithLossCell(net, nn.MSELoss()), optimizer)
    for turn in range(3):
        step(Tensor(np.full((4, 3), 1.0 + turn), ms.float32), Tensor(np.zeros((4, 2)), ms.float32))
    outer = Outer(optimizer)
    outer(*(ops.ones_like(p) for p in optimizer.parameters))
    return [p.asnumpy().copy() for p in net.trainable_params()]


@functools.cache
def clipped_stock(mode: str) -> list[NDArray[Any]]:
    """The same by nn.Adam itself, in the mode that is set."""
    return clipped(STOCK)


@pytest.mark.parametrize("installed", [False, True], ids=["imported", "installed"])
def test_steps_that_clip_before_the_optimizer(installed: bool, mode: str) -> None:
    theirs = clipped_stock(mode)
    with adamcompat.installed():
        ours = clipped(nn.Adam if installed else Adam)
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("change", [None, "get_lr", "construct"])
def test_hooks(change: str | None) -> None:
    """Of Cells: one that changes the gradients, one that changes what is returned, one that is always called."""

    def run(kind: Any) -> Any:
        seen: list[str] = []

        def before(cell: Any, inputs: Any) -> Any:
            seen.append("before")
            return (half(inputs[0]),)

        def after(cell: Any, inputs: Any, output: Any) -> None:
            seen.append(f"after {output}")

        def prepare(optimizer: Any) -> None:
            optimizer.register_forward_pre_hook(before)
            optimizer.register_forward_hook(after, always_call=True)

        chosen = CHANGES[change](kind) if change is not None else kind
        return quietly(lambda: trained(chosen, prepare=prepare)), seen

    (ours, seen), (theirs, expected) = run(Adam), run(STOCK)
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    assert seen == expected == ["before", "after (True, True)"] * 3
    assert not np.array_equal(ours[2], trained_stock(None, "pynative")[2])


def test_calls_in_every_form() -> None:
    gradients = (Tensor([1.0], ms.float32),)
    calls: dict[str, Callable[[Any], Any]] = {
        "position": lambda optimizer: optimizer(gradients),
        "name": lambda optimizer: optimizer(gradients=gradients),
        "construct": lambda optimizer: optimizer.construct(gradients),
        "construct by name": lambda optimizer: optimizer.construct(gradients=gradients),
        "class": lambda optimizer: type(optimizer).construct(optimizer, gradients),
    }
    for name, call in calls.items():
        for kind in (Adam, STOCK):
            parameter = Parameter(Tensor([1.0], ms.float32), name="a")
            assert call(kind([parameter], 0.1)) == (True,), name
            np.testing.assert_allclose(parameter.asnumpy(), [0.9], atol=1e-6, err_msg=name)
    for wrong in ((), (gradients, gradients)):
        for kind in (Adam, STOCK):
            with pytest.raises(TypeError):
                kind([Parameter(Tensor([1.0], ms.float32), name="a")], 0.1)(*wrong)

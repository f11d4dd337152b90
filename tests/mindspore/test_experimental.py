"""Drop-ins for mindspore.experimental.optim against the originals themselves, in both modes."""

from __future__ import annotations

import warnings
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, ops
from mindspore.experimental import optim
from numpy.typing import NDArray

from adamcompat.mindspore.experimental import Adam, AdamW
from adamcompat.mindspore.grouped import GroupedStep

pytestmark = pytest.mark.frameworks

PAIRS = [pytest.param(optim.Adam, Adam, id="Adam"), pytest.param(optim.AdamW, AdamW, id="AdamW")]
SHAPES = ((5, 3), (7,), (40, 33), (1003,), ())
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    {"maximize": True, "lr": Tensor(0.02), "weight_decay": 0},
]
Array = NDArray[Any]


def stream(steps: int, dtype: Any = np.float32, seed: int = 0) -> tuple[list[Array], list[list[Array]]]:
    rng = np.random.default_rng(seed)
    low = -2 if dtype is np.float16 else -6
    start = [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]
    sizes = 10.0 ** rng.uniform(low, 1, steps)
    return start, [[np.asarray(rng.standard_normal(shape) * size, dtype) for shape in SHAPES] for size in sizes]


def parameters(start: list[Array]) -> list[Any]:
    return [Parameter(Tensor(array.copy()), name=f"p{i}") for i, array in enumerate(start)]


def grouped(start: list[Array]) -> list[dict[str, Any]]:
    own = parameters(start)
    return [{"params": own[:2], "lr": 0.01, "betas": (0.7, 0.9), "weight_decay": 0.3}, {"params": own[2:]}]


def run(kind: Any, groups: Any, gradients: list[list[Array]], **options: Any) -> Any:
    optimizer = kind(groups, **options)
    for step in gradients:
        optimizer(tuple(Tensor(gradient) for gradient in step))
    return optimizer


def assert_same(one: Any, other: Any) -> None:
    """Every Parameter of both, the state included."""
    theirs, ours = one.parameters_dict(), other.parameters_dict()
    assert list(theirs) == list(ours)
    for name, value in theirs.items():
        assert value.dtype == ours[name].dtype
        np.testing.assert_array_equal(ours[name].asnumpy(), value.asnumpy(), err_msg=name)


@pytest.mark.parametrize(("original", "ours"), PAIRS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_parameters_and_state_have_the_bits_of_the_original(
    original: Any, ours: Any, options: dict[str, Any], mode: str
) -> None:
    start, gradients = stream(80)
    theirs = run(original, grouped(start), gradients, **options)
    mine = run(ours, grouped(start), gradients, **options)
    assert isinstance(mine, original)
    assert_same(theirs, mine)


def test_float16_has_the_bits_of_the_original(mode: str) -> None:
    start, gradients = stream(10, np.float16)
    theirs, mine = (run(kind, parameters(start), gradients, eps=1e-3) for kind in (optim.Adam, Adam))
    assert_same(theirs, mine)


def test_the_power_of_a_beta_is_mindspores_own() -> None:
    """At the 58th step it is off by one unit for 0.95: a power that is rounded right gives other bits."""
    start, gradients = stream(60)
    options: dict[str, Any] = {"betas": (0.95, 0.95), "lr": 0.1}
    assert_same(
        run(optim.Adam, parameters(start), gradients, **options), run(Adam, parameters(start), gradients, **options)
    )
    own = ops.pow(0.95, Tensor(58, ms.int32)).asnumpy()
    assert own != np.float32(float(np.float32(0.95)) ** 58)


def test_a_plain_step_is_made_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    step = GroupedStep.__call__

    def counted(self: GroupedStep, gradients: Any) -> None:
        made.append(1)
        step(self, gradients)

    monkeypatch.setattr(GroupedStep, "__call__", counted)
    start, gradients = stream(3)
    run(Adam, parameters(start), gradients)
    assert len(made) == 3


# AMSGrad.


def after_a_large_gradient(kind: Any, **options: Any) -> Any:
    """Two small gradients after a large one: the maximum of the second moment stays, the second moment does not."""
    weight = Parameter(Tensor(np.zeros(3, np.float32)), name="w")
    optimizer = kind([weight], lr=0.1, betas=(0.9, 0.5), **options)
    for size in (10.0, 1.0, 1.0, 1.0):
        optimizer((Tensor(np.full(3, size, np.float32)),))
    return optimizer


def test_the_original_ignores_amsgrad_and_ours_does_not(mode: str) -> None:
    plain, asked = after_a_large_gradient(optim.Adam), after_a_large_gradient(optim.Adam, amsgrad=True)
    assert_same(plain, asked)
    with pytest.warns(UserWarning, match="accepts that and ignores it without a word"):
        ours = after_a_large_gradient(Adam, amsgrad=True)
    m = v = vhat = p = 0.0
    for t, g in enumerate((10.0, 1.0, 1.0, 1.0), 1):
        m, v = 0.9 * m + 0.1 * g, 0.5 * v + 0.5 * g * g
        vhat = max(vhat, v)
        p -= 0.1 * np.sqrt(1 - 0.5**t) / (1 - 0.9**t) * m / (np.sqrt(vhat) + 1e-8)
    np.testing.assert_allclose(ours.parameters[0].asnumpy(), p, rtol=1e-6)
    np.testing.assert_allclose(ours.max_exp_avg_sq[0].asnumpy(), vhat, rtol=1e-6)
    assert abs(plain.parameters[0].asnumpy()[0] - p) > 0.1


def test_amsgrad_is_honoured_where_a_group_asks_for_it(mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start, gradients = stream(20)
        own = parameters(start)
        mixed = run(Adam, [{"params": own[:2]}, {"params": own[2:], "amsgrad": True}], gradients)
        plain = run(optim.Adam, parameters(start), gradients)
        whole = run(Adam, parameters(start), gradients, amsgrad=True)
    for i in range(len(SHAPES)):
        wanted = plain if i < 2 else whole
        np.testing.assert_array_equal(mixed.parameters[i].asnumpy(), wanted.parameters[i].asnumpy())
    assert not mixed.max_exp_avg_sq[0].asnumpy().any()
    assert mixed.max_exp_avg_sq[3].asnumpy().all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_amsgrad_that_is_asked_for_later_is_done_and_told(dtype: Any) -> None:
    """A step of float16 is made by a graph, which had been compiled without it."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    weight = Parameter(Tensor(np.zeros(3, dtype)), name="w")
    optimizer = Adam([weight], lr=0.1, betas=(0.9, 0.5))
    sizes = (1.0, 10.0, 1.0, 1.0)
    m = v = vhat = p = 0.0
    for t, g in enumerate(sizes, 1):
        if t == 2:
            optimizer.param_groups[0]["amsgrad"] = True
            with pytest.warns(UserWarning, match="accepts that and ignores it without a word"):
                optimizer((Tensor(np.full(3, g, dtype)),))
        else:
            optimizer((Tensor(np.full(3, g, dtype)),))
        m, v = 0.9 * m + 0.1 * g, 0.5 * v + 0.5 * g * g
        vhat = max(vhat, v) if t >= 2 else 0.0
        p -= 0.1 * np.sqrt(1 - 0.5**t) / (1 - 0.9**t) * m / (np.sqrt(max(vhat, v)) + 1e-8)
    np.testing.assert_allclose(weight.asnumpy(), p, rtol=1e-6 if dtype == np.float32 else 1e-2)
    np.testing.assert_allclose(optimizer.max_exp_avg_sq[0].asnumpy(), vhat, rtol=1e-6)


def test_amsgrad_is_the_same_in_a_function_of_ones_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start, gradients = stream(5)
        eager = run(Adam, parameters(start), gradients, amsgrad=True, weight_decay=0.1, maximize=True)
        optimizer = Adam(parameters(start), amsgrad=True, weight_decay=0.1, maximize=True)

    @ms.jit  # type: ignore[untyped-decorator]
    def step(*given: Any) -> Any:
        return optimizer(given)

    for given in gradients:
        step(*map(Tensor, given))
    for one, other in zip(eager.parameters, optimizer.parameters, strict=True):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=2e-6, atol=1e-7)


# What the original passes over without a word.


@pytest.mark.parametrize(("original", "ours"), PAIRS)
@pytest.mark.parametrize("options", [{"eps": 1}, {"betas": (0, 0.5)}], ids=str)
def test_whole_numbers_of_python_update(original: Any, ours: Any, options: dict[str, Any]) -> None:
    start, _ = stream(1)
    gradients = [[np.ones_like(array) for array in start]] * 3
    theirs, mine = (run(kind, parameters(start), gradients, **options) for kind in (original, ours))
    for i, before in enumerate(start):
        np.testing.assert_array_equal(theirs.parameters[i].asnumpy(), before)
        assert not np.array_equal(mine.parameters[i].asnumpy(), before)
    floats = {name: tuple(map(float, value)) if name == "betas" else float(value) for name, value in options.items()}
    assert_same(run(original, parameters(start), gradients, **floats), mine)


@pytest.mark.parametrize(("original", "ours"), PAIRS)
@pytest.mark.parametrize(
    ("gradient", "error"), [(None, ValueError), (np.ones(2, np.float32), TypeError)], ids=["None", "an array"]
)
def test_what_is_no_gradient_is_refused(original: Any, ours: Any, gradient: Any, error: type[Exception]) -> None:
    def stepped(kind: Any) -> Any:
        weight = Parameter(Tensor(np.ones(2, np.float32)), name="w")
        optimizer = kind([weight])
        optimizer((gradient,))
        return weight

    assert (stepped(original).asnumpy() == 1).all()
    with pytest.raises(error, match="the gradient of 'w'"):
        stepped(ours)


@pytest.mark.parametrize(("original", "ours"), PAIRS)
@pytest.mark.filterwarnings("ignore:.*the last are ignored")
def test_gradients_beyond_the_parameters_are_ignored_as_there(original: Any, ours: Any) -> None:
    start, gradients = stream(2)
    more = [[*step, np.ones(3, np.float32)] for step in gradients]
    mine = run(ours, parameters(start), more)
    assert_same(run(original, parameters(start), more), mine)


def test_that_gradients_are_ignored_is_said() -> None:
    optimizer = Adam([Parameter(Tensor(np.ones(2, np.float32)), name="w")])
    with pytest.warns(UserWarning, match="got 2 gradients for 1 Parameters; the last are ignored"):
        optimizer((Tensor(np.ones(2, np.float32)),) * 2)


# Learning rates and settings.


@pytest.mark.parametrize(("original", "ours"), PAIRS)
def test_mindspores_schedulers_work(original: Any, ours: Any, mode: str) -> None:
    start, gradients = stream(7)

    def scheduled(kind: Any) -> Any:
        optimizer = kind(grouped(start), lr=0.1)
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
        for step in gradients:
            optimizer(tuple(map(Tensor, step)))
            scheduler.step()
        return optimizer

    theirs, mine = scheduled(original), scheduled(ours)
    assert_same(theirs, mine)
    assert [float(rate.asnumpy()) for rate in mine.lrs] == [float(rate.asnumpy()) for rate in theirs.lrs]
    assert float(mine.lrs[1].asnumpy()) == pytest.approx(0.1 / 8)


@pytest.mark.parametrize(("original", "ours"), PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_settings_that_change_do_what_they_do_there(original: Any, ours: Any, mode: str) -> None:
    """In PYNATIVE mode a step takes them as they are, in GRAPH mode as they were."""
    start, gradients = stream(12)
    changes: list[tuple[str, Any]] = [
        *(("lr", 0.25), ("maximize", True), ("weight_decay", 0.5), ("betas", (0.5, 0.6)), ("eps", 0.5), ("lr", 1)),
        ("lr", Tensor(1.0)),
    ]

    def changed(kind: Any) -> Any:
        optimizer = kind(grouped(start))
        for i, step in enumerate(gradients):
            if 2 <= i < 2 + len(changes):
                name, value = changes[i - 2]
                optimizer.param_groups[i % 2][name] = value
            optimizer(tuple(map(Tensor, step)))
        return optimizer

    assert_same(changed(original), changed(ours))


@pytest.mark.parametrize(("original", "ours"), PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_betas_in_a_list_are_changed_in_place(original: Any, ours: Any, mode: str) -> None:
    start, gradients = stream(6)

    def changed(kind: Any) -> Any:
        optimizer = kind([{"params": parameters(start), "betas": [0.9, 0.999]}])
        for i, step in enumerate(gradients):
            if i == 3:
                optimizer.param_groups[0]["betas"][0] = 0.5
            optimizer(tuple(map(Tensor, step)))
        return optimizer

    assert_same(changed(original), changed(ours))


def test_what_a_step_does_not_read_is_said(mode: str) -> None:
    optimizer = Adam([Parameter(Tensor(np.ones(2, np.float32)), name="w")])
    gradients = (Tensor(np.ones(2, np.float32)),)
    optimizer(gradients)
    if mode == "graph":
        optimizer.param_groups[0]["maximize"] = True
        said = "in GRAPH mode the step keeps those that it saw first"
    else:
        optimizer.param_groups[0]["lr"] = 1
        said = "was replaced by 1, which the step does not read"
    with pytest.warns(UserWarning, match=said):
        optimizer(gradients)


def loaded(kind: Any, start: list[Array], gradients: list[list[Array]]) -> Any:
    """After three steps, values are loaded; then come the others."""
    optimizer = run(kind, parameters(start), gradients[:3])
    optimizer.parameters[0].set_data(Tensor(np.full(SHAPES[0], 5, np.float32)))
    optimizer.exp_avg[1].set_data(Tensor(np.ones(SHAPES[1], np.float32)))
    optimizer.state_step.set_data(Tensor(10, ms.int32))
    for step in gradients[3:]:
        optimizer(tuple(map(Tensor, step)))
    return optimizer


@pytest.mark.parametrize(("original", "ours"), PAIRS)
def test_loaded_values_count(original: Any, ours: Any, mode: str) -> None:
    start, gradients = stream(6)
    mine = loaded(ours, start, gradients)
    assert int(mine.state_step.asnumpy()) == 13
    # A new original, in which nothing was compiled before.
    theirs = original(parameters(start))
    kept = loaded(ours, start, gradients[:3]).parameters_dict()
    for name, value in theirs.parameters_dict().items():
        ops.assign(value, kept[name])
    for step in gradients[3:]:
        theirs(tuple(map(Tensor, step)))
    assert_same(theirs, mine)


@pytest.mark.parametrize(("original", "ours"), PAIRS)
def test_in_pynative_mode_the_original_stands_still_after_values_are_loaded(original: Any, ours: Any) -> None:
    start, gradients = stream(6)
    theirs, mine = (loaded(kind, start, gradients).parameters[0].asnumpy() for kind in (original, ours))
    assert (theirs == 5).all()
    assert (mine != 5).any()


def test_a_step_happens_whole_or_not_at_all() -> None:
    start, gradients = stream(3)
    optimizer = run(Adam, parameters(start), gradients)
    before = {name: value.asnumpy().copy() for name, value in optimizer.parameters_dict().items()}
    wrong = [Tensor(gradient) for gradient in gradients[0]]
    wrong[3] = Tensor(np.ones(5, np.float32))
    with pytest.raises(ValueError, match=r"'p3' has shape \(5,\), but \(1003,\) is needed"):
        optimizer(tuple(wrong))
    optimizer.param_groups[0]["betas"] = (2.0, 0.5)
    with pytest.raises(ValueError, match=r"betas\[0\] must lie in \[0, 1\)"):
        optimizer(tuple(map(Tensor, gradients[0])))
    for name, value in optimizer.parameters_dict().items():
        np.testing.assert_array_equal(value.asnumpy(), before[name])


# What a subclass overrides.


@pytest.mark.parametrize(("original", "ours"), PAIRS)
def test_what_a_subclass_overrides_is_called(original: Any, ours: Any) -> None:
    start, gradients = stream(4)

    def of(kind: Any) -> Any:
        class Clipped(kind):  # type: ignore[misc]
            def construct(self, gradients: Any) -> Any:
                return super().construct(tuple(ops.clamp(gradient, -0.1, 0.1) for gradient in gradients))

        return run(Clipped, parameters(start), gradients)

    assert_same(of(original), of(ours))


def test_a_part_of_the_step_that_is_replaced_is_called() -> None:
    start, gradients = stream(4)

    def of(kind: Any) -> Any:
        class Doubled(kind):  # type: ignore[misc]
            def _decay_weight(self, weight_decay: Any, params: Any, gradients: Any) -> Any:
                return tuple(gradient * 2.0 for gradient in gradients)

        return run(Doubled, parameters(start), gradients)

    assert_same(of(optim.Adam), of(Adam))


# Mistakes.


@pytest.mark.parametrize(("original", "ours"), PAIRS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": "0.1"}, "lr must be a number of Python, got '0.1'"),
        ({"lr": -1.0}, r"lr must lie in \[0, inf\)"),
        ({"betas": 0.9}, "betas must be a tuple of 2 values"),
        ({"betas": (1.0, 0.9)}, r"betas\[0\] must lie in \[0, 1\)"),
        ({"eps": -1.0}, r"eps must lie in \[0, inf\)"),
        ({"weight_decay": None}, "weight_decay must be a number"),
    ],
    ids=str,
)
def test_mistakes_are_the_originals_with_better_words(
    original: Any, ours: Any, options: dict[str, Any], said: str
) -> None:
    weight = Parameter(Tensor(np.ones(2, np.float32)), name="w")
    with pytest.raises(Exception) as theirs:
        original([weight], **options)
    with pytest.raises(type(theirs.value), match=said):
        ours([weight], **options)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "params must not be empty"),
        (None, "params must not be None"),
        ([Tensor(1.0)], "entry 0 of params must be a mindspore.Parameter, got Tensor"),
        ([{"lr": 0.1}], "group 0 has no 'params'"),
    ],
)
def test_wrong_parameters_are_the_originals_mistakes(value: Any, said: str) -> None:
    with pytest.raises(Exception) as theirs:
        optim.Adam(value)
    with pytest.raises(type(theirs.value), match=said):
        Adam(value)


def test_a_parameter_in_two_groups_is_refused() -> None:
    weight = Parameter(Tensor(np.ones(2, np.float32)), name="w")
    with pytest.raises(ValueError, match="'w' is passed twice"):
        Adam([{"params": [weight]}, {"params": [weight]}])


def test_a_key_that_no_step_reads_is_said() -> None:
    weight = Parameter(Tensor(np.ones(2, np.float32)), name="w")
    with pytest.warns(UserWarning, match="group 0 has the key 'beta1', which no step reads"):
        Adam([{"params": [weight], "beta1": 0.5}])


def test_a_group_that_is_added_later_is_refused_as_there() -> None:
    for kind, said in ((optim.Adam, "same length"), (Adam, "keeps no moments for groups that are added")):
        optimizer = kind([Parameter(Tensor(np.ones(2, np.float32)), name="w")])
        optimizer.add_param_group({"params": [Parameter(Tensor(np.ones(2, np.float32)), name="z")]})
        with pytest.raises(RuntimeError, match=said):
            optimizer((Tensor(np.ones(2, np.float32)),) * 2)

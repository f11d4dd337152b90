"""Files whose optimizer Keras passes over, whole models in .h5, wrapped optimizers, others than Adam."""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adamcompat.state import AdamState, StateError
from adamcompat.state.files import convert, open_document, read, write
from adamcompat.state.files.keras_variables import places_of
from adamcompat.tensorflow import AdamW
from tests.tensorflow.tf_helpers import run_python

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
]
pytest.importorskip("h5py")
logging.getLogger("absl").setLevel(logging.ERROR)

X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((8, 1)).astype(np.float32)
SCALE = "inside a LossScaleOptimizer: its state is read, and the loss scale"
Make = Callable[[], Any]


def network(library: Any = keras, sizes: tuple[int, ...] = (3, 1)) -> Any:
    library.utils.set_random_seed(1)
    inputs = outputs = library.Input((4,))
    for name, size in zip(("base", "head", "top"), sizes, strict=False):
        outputs = library.layers.Dense(size, name=name, dtype="float32" if name == "head" else None)(outputs)
    return library.Model(inputs, outputs)


def fitted(model: Any, optimizer: Any, epochs: int = 3) -> Any:
    library = tf_keras if isinstance(model, tf_keras.Model) else keras
    # Its few steps take less time than a function of them takes to be traced.
    model.compile(optimizer=optimizer, loss=library.losses.MeanSquaredError(), run_eagerly=True)
    model.fit(X, Y, epochs=epochs, shuffle=False, verbose=0)
    return model


@pytest.fixture
def half() -> Any:
    """The policy under which Keras wraps an optimizer of its own accord."""
    for library in (keras, tf_keras):
        library.mixed_precision.set_global_policy("mixed_float16")
    yield
    for library in (keras, tf_keras):
        library.mixed_precision.set_global_policy("float32")


def adam_of(model: Any) -> Any:
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def truth(model: Any) -> AdamState:
    return AdamState.of(adam_of(model), model.trainable_variables)


def assert_same(found: AdamState, wanted: AdamState, *, names: bool = True) -> None:
    assert found.step == wanted.step > 0
    assert not names or found.names == wanted.names
    assert found.tensors.keys() | {"parameter"} == wanted.tensors.keys()
    for role, tensors in found.tensors.items():
        for name, (one, other) in zip(
            found.names, zip(tensors.values(), wanted.tensors[role].values(), strict=True), strict=True
        ):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=f"{role} {name}")
    assert any(np.asarray(tensor).any() for tensor in found.first_moment.values())


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "amsgrad": {"amsgrad": True},
    "averages": {"use_ema": True},
    "accumulation": {"gradient_accumulation_steps": 2},
    "everything": {"amsgrad": True, "use_ema": True, "gradient_accumulation_steps": 2},
    "schedule": {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)},
}


# AdamW, in every kind of file.


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("suffix", ["keras", "h5", "weights.h5", "checkpoint"])
def test_a_file_tells_that_it_is_adamw(suffix: str, library: Any, tmp_path: Path) -> None:
    if suffix == "weights.h5" and library is tf_keras:
        pytest.skip("Keras 2 keeps no optimizer there")
    model = fitted(network(library), library.optimizers.AdamW(0.05, weight_decay=0.1, amsgrad=True))
    path = tmp_path / f"x.{suffix}"
    if suffix == "checkpoint":
        path = Path(tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "ck")))
    else:
        (model.save_weights if suffix == "weights.h5" else model.save)(path)
    found = read(path)
    assert_same(found, truth(model), names=suffix != "weights.h5")
    assert found.dialect == "keras3_adamw"
    assert found.hyperparameters.get("decoupled_weight_decay") == (0.1 if suffix in ("keras", "h5") else None)


def test_a_file_of_ours_is_read_where_nobody_imported_it(tmp_path: Path) -> None:
    """Keras finds classes that have been imported, and no others."""
    fitted(network(), AdamW(0.05)).save(tmp_path / "ours.keras")
    read_it = f"from adamcompat.state.files import read; print(read({str(tmp_path / 'ours.keras')!r}))"
    assert "step 3" in (printed := run_python(read_it))
    assert "from keras3_adamw" in printed


def test_a_file_of_ours_for_the_other_keras_says_how_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "ours.keras"
    program = f"""
        import tensorflow as tf, tf_keras
        from adamcompat.tensorflow import AdamW
        model = tf_keras.Sequential([tf_keras.layers.InputLayer((4,)), tf_keras.layers.Dense(1)])
        model.compile(AdamW(0.05), "mse", run_eagerly=True)
        model.train_on_batch(tf.ones((1, 4)), tf.ones((1, 1)))
        model.save({str(path)!r})
        from adamcompat.state.files import read
        print(read({str(path)!r}))
        """
    assert "from keras3_adamw" in run_python(program, TF_USE_LEGACY_KERAS="1")
    with pytest.raises(
        StateError, match=r"is adamcompat's for tf_keras, and .* for Keras 3: set TF_USE_LEGACY_KERAS=1"
    ):
        read(path)


@pytest.mark.parametrize("suffix", ["keras", "weights.h5"])
def test_into_a_file_of_adamw(suffix: str, tmp_path: Path) -> None:
    """From one of Adam, which keeps the same."""
    source, pattern = fitted(network(), keras.optimizers.Adam(0.05)), fitted(network(), AdamW(0.05), epochs=1)
    for model, name in ((source, "run"), (pattern, "like")):
        (model.save_weights if suffix == "weights.h5" else model.save)(tmp_path / f"{name}.{suffix}")
    options: dict[str, Any] = {"rename": "order", "state_only": True} if suffix == "weights.h5" else {}
    like, out = open_document(tmp_path / f"like.{suffix}"), tmp_path / f"out.{suffix}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        convert(open_document(tmp_path / f"run.{suffix}"), out, like=like, **options).carry_out()
    said = [str(warning.message) for warning in caught if "other hyperparameters" in str(warning.message)]
    # Weights tell no hyperparameters.
    assert len(said) == (suffix == "keras")
    assert all("decoupled_weight_decay 0.004 instead of 0.0. Carrying state" in text for text in said)
    assert read(out).dialect == "keras3_adamw"
    if suffix == "keras":
        pattern = keras.models.load_model(out)
        assert type(pattern.optimizer) is AdamW
    else:
        pattern.load_weights(out)
    found, wanted = truth(pattern), truth(source)
    if suffix == "weights.h5":
        found = dataclasses.replace(found, parameters=None)
    assert_same(found, wanted)


# Keras's own way through .keras.


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_all_that_a_keras_file_keeps(options: str, wrapped: bool, tmp_path: Path) -> None:
    optimizer = keras.optimizers.Adam(**OPTIONS[options])
    model = fitted(network(), keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer)
    model.save(tmp_path / "x.keras")
    if wrapped:
        with pytest.warns(UserWarning, match=rf"x\.keras: .*{SCALE} \(32768\)"):
            found = read(tmp_path / "x.keras")
    else:
        found = read(tmp_path / "x.keras")
    assert_same(found, truth(model))
    assert found.hyperparameters["beta1"] == 0.9


def test_a_model_trained_in_half_precision(half: None, tmp_path: Path) -> None:
    """Keras wraps the optimizer, does not say so in the file, and passes over the state when it reads it."""
    model = fitted(network(), keras.optimizers.Adam(0.05))
    assert type(model.optimizer) is keras.optimizers.LossScaleOptimizer
    model.save(tmp_path / "x.keras")
    wanted = truth(model)
    for policy in ("float32", "mixed_float16"):
        keras.mixed_precision.set_global_policy(policy)
        with pytest.warns(UserWarning, match=SCALE):
            assert_same(read(tmp_path / "x.keras"), wanted)
        assert keras.mixed_precision.global_policy().name == policy


def frozen_model(sizes: tuple[int, ...], frozen: tuple[str, ...], later: dict[str, bool]) -> Any:
    """Trained with some layers frozen, and others are when it is saved."""
    model = network(sizes=sizes)
    for name in frozen:
        model.get_layer(name).trainable = False
    fitted(model, keras.optimizers.Adam(0.05))
    for name, trainable in later.items():
        model.get_layer(name).trainable = trainable
    return model


def test_layers_that_were_unfrozen_later(tmp_path: Path) -> None:
    model = frozen_model((3, 1), ("base",), {"base": True})
    model.save(tmp_path / "x.keras")
    with pytest.warns(
        UserWarning, match="base/kernel, base/bias were frozen when the optimizer was built.*begin at zero"
    ):
        found = read(tmp_path / "x.keras")
    assert (found.step, found.names) == (3, ("base/kernel", "base/bias", "head/kernel", "head/bias"))
    for place, name in enumerate(("head/kernel", "head/bias")):
        np.testing.assert_array_equal(found.first_moment[name], np.asarray(model.optimizer._momentums[place]))
    assert not np.asarray(found.second_moment["base/kernel"]).any()
    assert found.parameters is not None
    np.testing.assert_array_equal(found.parameters["base/kernel"], np.asarray(model.get_layer("base").kernel))


def test_layers_that_were_frozen_later(tmp_path: Path) -> None:
    model = frozen_model((3, 1), (), {"base": False})
    model.save(tmp_path / "x.keras")
    with pytest.warns(UserWarning, match="base/kernel, base/bias were frozen after they had been trained"):
        found = read(tmp_path / "x.keras")
    names = ("base/kernel", "base/bias", "head/kernel", "head/bias")
    assert (found.step, found.names) == (3, names)
    for place, name in enumerate(names):
        np.testing.assert_array_equal(found.first_moment[name], np.asarray(model.optimizer._momentums[place]))


def test_where_shapes_leave_open_which_layers_were_trained(tmp_path: Path) -> None:
    """And what the error says to do works."""
    model = frozen_model((4, 4, 1), ("head",), {"head": True})
    path = tmp_path / "x.keras"
    model.save(path)
    with pytest.raises(
        StateError, match=r"may be those of base/kernel, .* or of head/kernel, .*Say which layers"
    ) as caught:
        read(path)
    assert "for 4 parameters and the model trains 6" in str(caught.value)
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        loaded = keras.models.load_model(path)
    loaded.get_layer("head").trainable = False
    loaded.compile(keras.optimizers.Adam(0.05), "mse")
    loaded.optimizer.build(loaded.trainable_variables)
    loaded.load_weights(path)
    loaded.save(path)
    found = read(path)
    assert found.names == ("base/kernel", "base/bias", "top/kernel", "top/bias")
    for place, name in enumerate(found.names):
        np.testing.assert_array_equal(found.first_moment[name], np.asarray(model.optimizer._momentums[place]))


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ([(2, 3), (3,)], [("a/kernel", "a/bias")]),
        ([(3, 3), (3,)], [("b/kernel", "b/bias"), ("c/kernel", "c/bias")]),
        ([(3, 3), (3,), (3, 3), (3,)], [("b/kernel", "b/bias", "c/kernel", "c/bias")]),
        ([(3, 3)], [("b/kernel",), ("c/kernel",)]),
        ([(2, 3)], [("a/kernel",)]),
        ([(9,)], []),
    ],
)
def test_whole_layers_in_order(shapes: Any, found: Any) -> None:
    layers = {"a": (2, 3), "b": (3, 3), "c": (3, 3)}
    candidates: dict[str, tuple[int, ...]] = {}
    for name, shape in layers.items():
        candidates |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
    assert sorted(places_of(shapes, candidates)) == sorted(found)


def test_a_search_among_many_layers_ends(tmp_path: Path) -> None:
    many = {f"layer{number}/kernel": (4, 4) for number in range(400)}
    assert len(places_of([(4, 4)] * 200, many)) == 2
    assert places_of([(4, 4)] * 400, many) == [tuple(many)]
    assert places_of([(4, 5)], many) == []


def test_a_file_without_moments_is_a_pattern_and_no_source(tmp_path: Path) -> None:
    """Compiled and never trained: Keras would begin with zeros, which are nobody's state."""
    model, fresh = fitted(network(), keras.optimizers.Adam(0.05)), network()
    fresh.compile(keras.optimizers.Adam(0.05), "mse")
    model.save(tmp_path / "run.keras")
    fresh.save(tmp_path / "fresh.keras")
    for attempt in (
        lambda: read(tmp_path / "fresh.keras"),
        lambda: convert(open_document(tmp_path / "fresh.keras"), tmp_path / "out.safetensors"),
    ):
        with pytest.raises(StateError, match=r"fresh\.keras: holds no moments: the optimizer had made no step"):
            attempt()
    like = open_document(tmp_path / "fresh.keras")
    convert(open_document(tmp_path / "run.keras"), tmp_path / "out.keras", like=like).carry_out()
    assert_same(read(tmp_path / "out.keras"), truth(model))


def test_a_configuration_that_does_not_name_the_optimizer(tmp_path: Path) -> None:
    """After a save as .h5 Keras forgets it, and makes RMSprop of it when it reads the file."""
    model = fitted(network(), keras.optimizers.Adam(0.05, amsgrad=True))
    model.save(tmp_path / "x.h5")
    model.save(tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as file:
        config = json.loads(file.read("config.json"))
    if "optimizer" in config["compile_config"]:
        pytest.skip("this Keras does not forget")
    with pytest.warns(UserWarning, match="the configuration does not name the optimizer"):
        found = read(tmp_path / "x.keras")
    assert_same(found, truth(model))
    assert found.hyperparameters == {}
    with pytest.warns(UserWarning, match="does not name"):
        like = open_document(tmp_path / "x.keras")
    with pytest.raises(StateError, match="compile the model anew"):
        write(tmp_path / "out.keras", found, like=like)


# Into files of Keras whose optimizer is wrapped.


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_into_a_file_with_a_wrapped_optimizer(policy: str, half: None, tmp_path: Path) -> None:
    """Keras itself goes on from it, under the policy of the program that wrote the pattern."""
    keras.mixed_precision.set_global_policy("float32")
    source = fitted(network(), keras.optimizers.Adam(0.05), epochs=7)
    source.save(tmp_path / "run.keras")
    keras.mixed_precision.set_global_policy(policy)
    wrapped = keras.optimizers.Adam(0.05)
    pattern = network()
    pattern = fitted(pattern, wrapped if policy != "float32" else keras.optimizers.LossScaleOptimizer(wrapped))
    pattern.save(tmp_path / "like.keras")
    pattern.save_weights(tmp_path / "like.weights.h5")
    with pytest.warns(UserWarning, match=SCALE):
        like = open_document(tmp_path / "like.keras")
    convert(open_document(tmp_path / "run.keras"), tmp_path / "out.keras", like=like).carry_out()
    loaded = keras.models.load_model(tmp_path / "out.keras")
    assert type(loaded.optimizer) is keras.optimizers.LossScaleOptimizer
    assert_same(truth(loaded), truth(source))

    with pytest.warns(UserWarning, match=SCALE):
        like = open_document(tmp_path / "like.weights.h5")
    options: dict[str, Any] = {"rename": "order", "state_only": True}
    convert(open_document(tmp_path / "run.keras"), tmp_path / "out.weights.h5", like=like, **options).carry_out()
    pattern.load_weights(tmp_path / "out.weights.h5")
    again, wanted = AdamState.of(adam_of(pattern)), AdamState.of(source.optimizer)
    assert again.step == 7
    for role in ("first_moment", "second_moment"):
        for one, other in zip(again.tensors[role].values(), wanted.tensors[role].values(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_file_that_would_grow_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adamcompat.state.files import tensorflow as state_files

    monkeypatch.setattr(state_files, "_LARGEST", 1 << 20)
    fitted(network(), keras.optimizers.Adam()).save(tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as old, zipfile.ZipFile(tmp_path / "y.keras", "w") as new:
        for name in ("metadata.json", "config.json"):
            new.writestr(name, old.read(name))
        new.writestr("model.weights.h5", bytes((1 << 20) + 1), zipfile.ZIP_DEFLATED)
    with pytest.raises(StateError, match=r"model\.weights\.h5 would be 1048577 bytes"):
        read(tmp_path / "y.keras")


def test_parameters_that_stay_those_of_the_pattern_are_named(tmp_path: Path) -> None:
    model, fresh = fitted(network(), keras.optimizers.Adam()), fitted(network(), keras.optimizers.Adam(), epochs=1)
    model.save_weights(tmp_path / "run.weights.h5")
    fresh.save(tmp_path / "fresh.keras")
    like = open_document(tmp_path / "fresh.keras")
    with pytest.warns(
        UserWarning, match=r"run\.weights\.h5 has no parameters: .*out\.keras gets those of .*fresh\.keras"
    ):
        conversion = convert(open_document(tmp_path / "run.weights.h5"), tmp_path / "out.keras", like=like)
    conversion.carry_out()
    loaded = keras.models.load_model(tmp_path / "out.keras")
    assert loaded.optimizer.iterations == 3
    assert all(map(np.array_equal, loaded.get_weights(), fresh.get_weights()))


# Whole models in .h5 files.

KERAS2: dict[str, Make] = {
    "new": lambda: tf_keras.optimizers.Adam(0.05),
    "new, amsgrad": lambda: tf_keras.optimizers.Adam(0.05, amsgrad=True),
    "new, AdamW": lambda: tf_keras.optimizers.AdamW(0.05),
    "new, averages": lambda: tf_keras.optimizers.Adam(0.05, use_ema=True),
    "legacy": lambda: tf_keras.optimizers.legacy.Adam(0.05),
    "legacy, amsgrad": lambda: tf_keras.optimizers.legacy.Adam(0.05, amsgrad=True),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", KERAS2)
def test_a_whole_model_of_keras_2(name: str, wrapped: bool, tmp_path: Path) -> None:
    optimizer = KERAS2[name]()
    model = fitted(network(tf_keras), tf_keras.mixed_precision.LossScaleOptimizer(optimizer) if wrapped else optimizer)
    path = tmp_path / "x.h5"
    model.save(path)
    found = noted(path, SCALE if wrapped else "")
    assert_same(found, truth(model))
    assert found.dialect == ("tf26" if "legacy" in name else "keras3_adamw" if "AdamW" in name else "keras3")
    assert found.hyperparameters["learning_rate"] == pytest.approx(0.05)


def noted(path: Path, said: str) -> AdamState:
    """What is read, with the warning that must come, or none."""
    if not said:
        return read(path)
    with pytest.warns(UserWarning, match=said):
        return read(path)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_whole_model_of_keras_3(options: str, wrapped: bool, tmp_path: Path) -> None:
    optimizer = keras.optimizers.Adam(**OPTIONS[options])
    model = fitted(network(), keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer)
    model.save(tmp_path / "x.h5")
    found = noted(tmp_path / "x.h5", rf"{SCALE} \(32768\)" if wrapped else "")
    assert_same(found, truth(model))
    assert open_document_form(tmp_path / "x.h5") == "keras-h5"
    if not wrapped:
        convert(open_document(tmp_path / "x.h5"), tmp_path / "out.safetensors").carry_out()
        assert_same(read(tmp_path / "out.safetensors"), truth(model))


def open_document_form(path: Path) -> str:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_document(path).form


def test_whole_models_without_state_and_as_targets(tmp_path: Path) -> None:
    model = fitted(network(), keras.optimizers.Adam(0.05))
    model.save(tmp_path / "less.h5", include_optimizer=False)
    with pytest.raises(StateError, match="without the state of its optimizer"):
        read(tmp_path / "less.h5")
    model.save(tmp_path / "x.h5")
    with pytest.raises(StateError, match="are read, and not written"):
        write(tmp_path / "x.h5", truth(model), like=open_document(tmp_path / "x.h5"))
    content = (tmp_path / "x.h5").read_bytes()
    for broken in (b"", content[: len(content) // 2]):
        (tmp_path / "x.h5").write_bytes(broken)
        with pytest.raises(StateError, match="not a whole file"):
            read(tmp_path / "x.h5")


@pytest.mark.parametrize("name", ["new", "new, amsgrad", "new, averages"])
def test_keras_files_of_keras_2(name: str, tmp_path: Path) -> None:
    model = fitted(network(tf_keras), KERAS2[name]())
    model.save(tmp_path / "x.keras")
    assert_same(read(tmp_path / "x.keras"), truth(model))


def test_half_precision_in_keras_2(half: None, tmp_path: Path) -> None:
    model = fitted(network(tf_keras), tf_keras.optimizers.Adam(0.05))
    model.save(tmp_path / "x.keras")
    assert_same(noted(tmp_path / "x.keras", SCALE), truth(model))


def test_the_legacy_optimizer_is_not_in_keras_files(tmp_path: Path) -> None:
    fitted(network(tf_keras), tf_keras.optimizers.legacy.Adam(0.05)).save(tmp_path / "x.keras")
    with pytest.raises(StateError, match="does not save those of its legacy optimizers"):
        read(tmp_path / "x.keras")


# Weights alone, which number the variables and tell no options.


@pytest.mark.parametrize("amsgrad", [False, True])
def test_wrapped_optimizers_in_weights(amsgrad: bool, tmp_path: Path) -> None:
    adam = keras.optimizers.Adam(0.05, amsgrad=amsgrad)
    model = fitted(network(), keras.optimizers.LossScaleOptimizer(adam))
    model.save_weights(tmp_path / "x.weights.h5")
    assert_same(noted(tmp_path / "x.weights.h5", rf"{SCALE} \(32768\)"), truth(model), names=False)


@pytest.mark.parametrize("options", ["averages", "accumulation", "everything"])
@pytest.mark.parametrize("sizes", [(3, 1), (4, 4, 4)])
def test_weights_that_do_not_tell_averages_from_gradients(options: str, sizes: Any, tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    outputs = inputs
    for size in sizes:
        outputs = keras.layers.Dense(size, use_bias=False)(outputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(**OPTIONS[options]), "mse", run_eagerly=True)
    model.fit(X, X[:, : sizes[-1]], verbose=0)
    model.save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(StateError, match=r"averages of the parameters or accumulates gradients|in \d ways"):
        read(tmp_path / "x.weights.h5")


def test_a_part_of_divided_weights(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(300), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(X, Y, verbose=0)
    model.save_weights(tmp_path / "x.weights.json", max_shard_size=6e-6)
    parts = sorted(tmp_path.glob("*.h5"))
    assert len(parts) > 2
    for path in parts[1:]:
        with pytest.raises(StateError, match="holds a part of the optimizer, which"):
            read(path)
    with pytest.raises(StateError, match="divided among files are not read"):
        read(tmp_path / "x.weights.json")
    (tmp_path / "x.weights.json").unlink()
    with pytest.raises(StateError, match=r"not all of the optimizer's variables are there|in no way|holds no moments"):
        read(parts[-1])


OTHERS = ("Adamax", "Ftrl", "Lamb", "Nadam", "RMSprop", "SGD", "Lion")


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("suffix", ["keras", "h5", "weights.h5", "checkpoint"])
def test_other_optimizers_are_refused(name: str, suffix: str, tmp_path: Path) -> None:
    """Some of them keep what looks like Adam's moments."""
    optimizer = getattr(keras.optimizers, name)(0.01)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(4, use_bias=False)(keras.layers.Dense(4, use_bias=False)(inputs)))
    model.compile(optimizer, "mse", run_eagerly=True)
    model.fit(X, X, verbose=0)
    path = str(tmp_path / f"x.{suffix}")
    if suffix == "checkpoint":
        path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(str(tmp_path / "ck"))
    elif suffix == "weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    with pytest.raises(StateError, match=r"not Adam|no state of Adam|keeps something else|expected keras\.optimizers"):
        read(path)


def test_several_optimizers_in_one(tmp_path: Path) -> None:
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    both = keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.1), {"head/.*": keras.optimizers.Adam(0.2)})
    model = fitted(network(), keras.optimizers.MultiOptimizer(both))
    model.save(tmp_path / "x.keras")
    model.save_weights(tmp_path / "x.weights.h5")
    prefix = tf.train.Checkpoint(optimizer=model.optimizer).save(str(tmp_path / "ck"))
    for path in (tmp_path / "x.keras", tmp_path / "x.weights.h5"):
        with pytest.raises(StateError, match="several optimizers inside a MultiOptimizer"):
            read(path)
    with pytest.raises(StateError, match=r"several optimizers|no state of Adam"):
        read(prefix)
    with pytest.raises(StateError, match="pass each of its optimizers"):
        AdamState.of(model.optimizer)
    assert [AdamState.of(optimizer).step for optimizer in model.optimizer.optimizers] == [3, 3]


def test_weights_of_an_optimizer_that_nobody_names(tmp_path: Path) -> None:
    """Older Kerases do not say whose variables they are; a second moment is never negative."""
    import h5py

    model = fitted(network(), keras.optimizers.Adam(0.05))
    path = tmp_path / "x.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        file["optimizer/vars"].attrs.pop("name", None)
    assert_same(read(path), truth(model), names=False)
    with h5py.File(path, "r+") as file:
        file["optimizer/vars/3"][...] = -1.0
    with pytest.raises(StateError, match="optimizer/vars/3 has negative elements"):
        read(path)


# Checkpoints.


@pytest.mark.parametrize("options", ["plain", "amsgrad", "averages", "schedule"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_checkpoints_by_the_names_of_variables(options: str, wrapped: bool, tmp_path: Path) -> None:
    optimizer = keras.optimizers.Adam(**OPTIONS[options])
    model = fitted(network(), keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer)
    prefix = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "ck"))
    found = noted(Path(prefix), rf"{SCALE} \(32768\)" if wrapped else "")
    assert_same(found, truth(model))
    assert found.parameters is not None


def test_checkpoints_that_do_not_tell_the_number_of_gradients(tmp_path: Path) -> None:
    model = fitted(network(), keras.optimizers.Adam(gradient_accumulation_steps=2))
    prefix = tf.train.Checkpoint(optimizer=model.optimizer).save(str(tmp_path / "ck"))
    with pytest.raises(StateError, match="does not tell how many make an update"):
        read(prefix)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", KERAS2)
def test_checkpoints_and_saved_models_of_keras_2(name: str, wrapped: bool, tmp_path: Path) -> None:
    optimizer = KERAS2[name]()
    model = fitted(network(tf_keras), tf_keras.mixed_precision.LossScaleOptimizer(optimizer) if wrapped else optimizer)
    prefix = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "ck"))
    model.save(tmp_path / "saved", save_format="tf")
    wanted = truth(model)
    for path in (Path(prefix), tmp_path / "saved"):
        found = noted(path, rf"{SCALE} \(32768\)" if wrapped else "")
        assert_same(found, wanted, names="legacy" not in name)
        assert found.names[0].endswith("kernel"), "in the order of the optimizer"


def test_several_optimizers_in_a_checkpoint(tmp_path: Path) -> None:
    one, other = (fitted(network(), keras.optimizers.Adam(0.05)) for _ in range(2))
    prefix = tf.train.Checkpoint(one=one.optimizer, other=other.optimizer).save(str(tmp_path / "ck"))
    with pytest.raises(StateError, match="holds several optimizers: one, other; save each optimizer in a checkpoint"):
        read(prefix)


def test_the_loss_scale_of_tensorflow_1(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        weight = tf.compat.v1.get_variable("net/w", initializer=np.ones((2, 3), np.float32))
        inner = tf.compat.v1.train.AdamOptimizer(0.1)
        optimizer = tf.compat.v1.mixed_precision.MixedPrecisionLossScaleOptimizer(inner, "dynamic")
        train = optimizer.minimize(tf.reduce_sum(weight**2))
        session.run(tf.compat.v1.global_variables_initializer())
        for _ in range(4):
            session.run(train)
        prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "model"))
    assert noted(Path(prefix), SCALE).step == 4


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001", "checkpoint"])
def test_no_checkpoint_is_waited_for(part: str, tmp_path: Path) -> None:
    import os

    model = fitted(network(), keras.optimizers.Adam())
    prefix = Path(tf.train.Checkpoint(optimizer=model.optimizer).save(str(tmp_path / "ck")))
    path = tmp_path / part if part == "checkpoint" else Path(f"{prefix}.{part}")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StateError, match=f"{path.name}: cannot be read: it is a FIFO"):
        read(tmp_path if part == "checkpoint" else prefix)


def test_the_command_carries_what_keras_passes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], half: None
) -> None:
    import adamcompat.cli as cli

    monkeypatch.chdir(tmp_path)
    model = fitted(network(), keras.optimizers.Adam(0.05))
    model.save("mixed.keras")
    keras.mixed_precision.set_global_policy("float32")
    frozen_model((3, 1), ("base",), {"base": True}).save("unfrozen.keras")
    zeros = {"base.weight": (3, 4), "base.bias": (3,), "head.weight": (1, 3), "head.bias": (1,)}
    tensors = {name: np.zeros(shape, np.float32) for name, shape in zeros.items()}
    betas = {"beta1": 0.9, "beta2": 0.999}
    fresh = AdamState(step=0, first_moment=tensors, second_moment=tensors, parameters=tensors, hyperparameters=betas)
    write("fresh.ckpt", fresh)
    for name, said in (("mixed", SCALE), ("unfrozen", "were frozen when the optimizer was built")):
        assert cli.main(["state", "show", f"{name}.keras"]) == 0
        assert cli.main(["state", "convert", f"{name}.keras", f"{name}.ckpt", "--like", "fresh.ckpt"]) == 0
        shown = capsys.readouterr()
        assert f"adamcompat state: note: {name}.keras:" in shown.err
        assert said in shown.err
        assert "Skipping variable loading" not in shown.err
        found = read(f"{name}.ckpt")
        assert found.step > 0
        assert np.asarray(found.first_moment["head.weight"]).any()
    wanted = truth(model).first_moment["base/kernel"]
    np.testing.assert_array_equal(np.asarray(read("mixed.ckpt").first_moment["base.weight"]), np.asarray(wanted).T)

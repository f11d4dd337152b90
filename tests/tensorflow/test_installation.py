"""TensorFlow's and Keras's names for Adam, ours while adamcompat is installed."""

from __future__ import annotations

import builtins
import copy
import gc
import inspect
import json
import os
import pickle
import subprocess
import sys
import types
import zipfile
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import adamcompat
import adamcompat.tensorflow
import adamcompat.tensorflow.v1
from adamcompat.installation.names import _modules
from tests.tensorflow.tf_helpers import ROOT, run_python

pytestmark = pytest.mark.frameworks

STOCK, STOCK_W = keras.optimizers.Adam, keras.optimizers.AdamW
STOCK_V1 = tf.compat.v1.train.AdamOptimizer
INPUTS = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
TARGETS = np.random.default_rng(1).standard_normal((16, 3)).astype(np.float32)


@pytest.fixture
def ours() -> Iterator[adamcompat.installation.Installed]:
    # This module's own names of the stock classes are handed over as well, and back.
    with adamcompat.installed() as found:
        yield found


def originals() -> tuple[Any, Any, Any]:
    """The stock classes, whatever their names mean now."""
    classes = adamcompat.tensorflow.Adam, adamcompat.tensorflow.v1.AdamOptimizer, adamcompat.tensorflow.AdamW
    foreign = [[c for c in found.__mro__ if not c.__module__.startswith("adamcompat")] for found in classes]
    return foreign[0][0], foreign[1][0], foreign[2][0]


def trained(optimizer: Any, epochs: int = 3) -> Any:
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(optimizer, keras.losses.MeanSquaredError())
    model.fit(INPUTS, TARGETS, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model


def weights(model: Any) -> list[Any]:
    return [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]


def equal(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(map(np.array_equal, a, b))


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_every_public_name_is_ours(name: str, ours: Any) -> None:
    drop_in = getattr(adamcompat.tensorflow, name)
    of_keras = getattr(keras.optimizers, name)
    for found in (
        getattr(tf.keras.optimizers, name),
        getattr(tf.optimizers, name),
        {"Adam": STOCK, "AdamW": STOCK_W}[name],
        type(keras.optimizers.get(name.lower())),
        type(keras.optimizers.deserialize({"class_name": name, "config": {}})),
        type(trained(name.lower(), 1).optimizer),
    ):
        assert issubclass(found, drop_in)
        assert found is of_keras
    assert issubclass(tf.compat.v1.train.AdamOptimizer, adamcompat.tensorflow.v1.AdamOptimizer)
    assert inspect.signature(of_keras) == inspect.signature(drop_in)
    entries = {entry.original: entry for entry in ours.report.replaced}
    assert [made for made, entry in entries.items() if entry.stepped] == [f"tf.keras.optimizers.{name}"]
    assert not entries["tf.compat.v1.train.AdamOptimizer"].stepped
    assert ours.report.in_use


def test_uninstalling_leaves_every_namespace_as_it_was() -> None:
    def snapshot() -> dict[int, tuple[ModuleType, dict[Any, Any]]]:
        return {
            id(module): (
                module,
                {
                    name: (id(value), {k: id(v) for k, v in value.items()} if type(value) is dict else None)
                    for name, value in vars(module).items()
                },
            )
            for module in _modules()
        }

    _ = tf.optimizers.Adam, tf.compat.v1.train.AdamOptimizer
    with adamcompat.installed():
        pass
    # TensorFlow's caches follow the garbage collection.
    gc.collect()
    gc.disable()
    try:
        before = snapshot()
        with adamcompat.installed() as ours:
            during = snapshot()
        after = snapshot()
    finally:
        gc.enable()
    assert ours.report.names >= 14

    def changed(old: Any, new: Any) -> list[str]:
        return [
            f"{module.__name__}.{name}"
            for key, (module, names) in old.items()
            for name in names.keys() | new[key][1].keys()
            if names.get(name) != new[key][1].get(name)
            # What this function itself does to its namespace, and pytest to the environment.
            and not module.__name__.startswith(("_pytest", "pytest", "warnings", "re"))
        ]

    assert changed(before, after) == []
    assert len(changed(before, during)) >= 12, "the comparison sees what is replaced"


def test_classes_and_instances_from_before() -> None:
    class Child(STOCK):  # type: ignore[misc, valid-type]
        pass

    stock, child = STOCK(), Child()
    original = originals()[0]
    with adamcompat.installed():
        name = tf.keras.optimizers.Adam
        assert isinstance(stock, name)
        assert isinstance(child, name)
        assert issubclass(Child, name)
        assert isinstance(name(), original)
        assert Child.__mro__[1] is original, "a class that exists keeps its parents"
        assert not isinstance(keras.optimizers.SGD(), name)
        # As with the originals.
        assert isinstance(keras.optimizers.AdamW(), name) and not isinstance(name(), keras.optimizers.AdamW)

        class Later(keras.optimizers.Adam, ABC):  # type: ignore[misc]
            @abstractmethod
            def anything(self) -> None: ...

        class Concrete(Later):
            def anything(self) -> None: ...

        assert isinstance(Concrete(), adamcompat.tensorflow.Adam)
        assert not isinstance(stock, Concrete)
        with pytest.raises(TypeError, match="abstract"):
            Later()
        assert equal(weights(trained(stock)), weights(trained("adam")))
    assert not isinstance(stock, adamcompat.tensorflow.Adam)
    assert isinstance(Concrete(), keras.optimizers.Adam)


@pytest.mark.parametrize(("name", "suffix"), [("Adam", "keras"), ("Adam", "h5"), ("AdamW", "keras")])
@pytest.mark.filterwarnings("ignore")
def test_files_go_both_ways(tmp_path: Path, name: str, suffix: str) -> None:
    of_ours, of_stock = tmp_path / f"ours.{suffix}", tmp_path / f"stock.{suffix}"
    stock = trained(name.lower())
    reference = weights(stock)
    stock.save(of_stock)
    # What is read from an .h5 file is not all that was written, with the stock class either.
    read = weights(keras.models.load_model(of_stock))
    with adamcompat.installed():
        model = trained(name.lower())
        assert type(model.optimizer) is getattr(keras.optimizers, name)
        assert equal(weights(model), reference)
        model.save(of_ours)
        loaded = keras.models.load_model(of_stock)
        assert isinstance(loaded.optimizer, getattr(adamcompat.tensorflow, name))
        assert equal(weights(loaded), read)
    loaded = keras.models.load_model(of_ours)
    assert type(loaded.optimizer) is {"Adam": STOCK, "AdamW": STOCK_W}[name]
    assert equal(weights(loaded), read)
    if suffix == "keras":
        assert equal(read, reference)
        configs = []
        for path in (of_ours, of_stock):
            config = compiled(path)
            # Older versions of Keras keep what `compile` was given: a name.
            if not isinstance(config, str):
                del config["config"]["name"]
            configs.append(config)
        assert configs[0] == configs[1]


def compiled(path: Path) -> Any:
    """What a file says about its optimizer."""
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("config.json"))["compile_config"]["optimizer"]


@pytest.mark.filterwarnings("ignore")
def test_a_file_opens_where_there_is_no_adamcompat(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with adamcompat.installed():
        model = trained("adam")
    model.save(path)
    config = compiled(path)
    assert config == "adam" or (config["module"], config["class_name"]) == ("keras.optimizers", "Adam"), (
        "the public name, not a private one"
    )
    program = (
        "import sys; sys.modules['adamcompat'] = None\n"
        f"import keras; optimizer = keras.models.load_model({str(path)!r}).optimizer\n"
        "print(type(optimizer).__module__, optimizer.iterations.numpy())"
    )
    assert run_python(program, fresh=True, PYTHONPATH="").split() == ["keras.src.optimizers.adam", "6"]


def test_checkpoints_go_both_ways(tmp_path: Path) -> None:
    def fresh(kind: Any) -> tuple[Any, tf.Variable]:
        variable = tf.Variable([1.0, 2.0])
        return kind(0.1), variable

    def step(optimizer: Any, variable: tf.Variable) -> None:
        optimizer.apply_gradients([(tf.constant([0.5, -0.25]), variable)])

    stock = originals()[0]
    with adamcompat.installed():
        ours = keras.optimizers.Adam
    for writer, reader in ((stock, ours), (ours, stock)):
        optimizer, variable = fresh(writer)
        step(optimizer, variable)
        prefix = tf.train.Checkpoint(optimizer=optimizer, variable=variable).save(str(tmp_path / writer.__module__))
        other, copied = fresh(reader)
        other.build([copied])
        tf.train.Checkpoint(optimizer=other, variable=copied).restore(prefix).assert_consumed()
        step(optimizer, variable)
        step(other, copied)
        assert np.array_equal(variable.numpy(), copied.numpy())


def test_copies_and_pickles(ours: Any) -> None:
    for name, kind in (("adam", keras.optimizers.Adam), ("adamw", keras.optimizers.AdamW)):
        optimizer = trained(name, 1).optimizer
        read = pickle.loads(pickle.dumps(optimizer))
        assert type(read) is type(copy.deepcopy(optimizer)) is kind
        assert pickle.loads(pickle.dumps(kind)) is kind
    assert pickle.loads(pickle.dumps(Picklable)) is Picklable


class Picklable(adamcompat.tensorflow.Adam):
    """A class of a user at the top level of a module."""


def test_v1_in_a_session(ours: Any) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("w", initializer=[1.0, 2.0])
        optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
        assert isinstance(optimizer, adamcompat.tensorflow.v1.AdamOptimizer)
        train = optimizer.minimize(tf.reduce_sum(variable**2))
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(train)
        assert np.allclose(session.run(variable), [0.9, 1.9])
    entries = {entry.original: entry for entry in ours.report.replaced}
    assert entries["tf.compat.v1.train.AdamOptimizer"].stepped


class Meta(type):
    """A metaclass of a user."""


class AbstractMeta(ABCMeta):
    """Another one."""


class WithMeta(metaclass=Meta):
    """A parent that brings a metaclass along."""


def beside(parent: Any) -> Any:
    class After(parent, WithMeta):  # type: ignore[misc]
        pass

    return After


def by_keyword(kind: Any, parent: Any) -> Any:
    class After(parent, metaclass=kind):  # type: ignore[misc, metaclass]
        def greet(self) -> Any:
            return super().__init__, __class__  # type: ignore[name-defined]

    return After


METACLASSES: dict[str, tuple[Any, type]] = {
    "none": (lambda parent: by_keyword(type, parent), type),
    "a metaclass": (lambda parent: by_keyword(Meta, parent), Meta),
    "an abstract one": (lambda parent: by_keyword(AbstractMeta, parent), AbstractMeta),
    "a grandchild": (lambda parent: by_keyword(Meta, by_keyword(type, parent)), Meta),
    "a great-grandchild": (lambda parent: by_keyword(type, by_keyword(Meta, by_keyword(type, parent))), Meta),
    "two parents": (beside, Meta),
    "another parent": (lambda parent: Meta("After", (by_keyword(type, parent), WithMeta), {}), Meta),
    "a function": (
        lambda parent: by_keyword(lambda name, bases, space: Meta(name, bases, space), parent),
        Meta,
    ),
    "type()": (lambda parent: type("After", (parent,), {}), type),
    "new_class": (lambda parent: types.new_class("After", (parent,)), type),
    "ABCMeta()": (lambda parent: ABCMeta("After", (parent,), {"f": abstractmethod(lambda self: None)}), ABCMeta),
}


@pytest.mark.parametrize("name", ["Adam", "AdamOptimizer", "AdamW"])
@pytest.mark.parametrize("case", METACLASSES)
def test_classes_with_metaclasses_of_their_own(case: str, name: str) -> None:
    make, metaclass = METACLASSES[case]
    original = originals()[["Adam", "AdamOptimizer", "AdamW"].index(name)]
    assert type(make(original)) is metaclass, "as it is with the original"
    with adamcompat.installed():
        parent: Any = getattr(tf.compat.v1.train if name == "AdamOptimizer" else keras.optimizers, name)
        child = make(parent)
        ours = getattr(adamcompat.tensorflow.v1 if name == "AdamOptimizer" else adamcompat.tensorflow, name)
        assert type(child) is metaclass
        assert issubclass(child, parent) and issubclass(child, original) and issubclass(child, ours)
        if case != "ABCMeta()":
            assert isinstance(child(), parent)
            assert not isinstance(original(), child)
            assert child().__class__ is child
        else:
            with pytest.raises(TypeError, match="abstract"):
                child()
        assert type(parent()) is parent
    assert type(make(original)) is metaclass
    assert type(by_keyword(Meta, child) if metaclass is Meta else child) is metaclass


def test_python_builds_classes_itself_again() -> None:
    before = builtins.__build_class__
    with adamcompat.installed():
        assert builtins.__build_class__ is not before
        with adamcompat.installed():
            pass
        assert builtins.__build_class__ is not before
    assert builtins.__build_class__ is before

    def somebodys(*args: Any, **keywords: Any) -> Any:
        return below(*args, **keywords)

    with adamcompat.installed():
        below = builtins.__build_class__
        builtins.__build_class__ = somebodys
    try:
        assert builtins.__build_class__ is somebodys
        with adamcompat.installed():
            assert type(by_keyword(Meta, keras.optimizers.Adam)) is Meta
        assert builtins.__build_class__ is somebodys
        assert type(by_keyword(Meta, originals()[0])) is Meta
    finally:
        builtins.__build_class__ = before


# Frameworks that are imported after install, in every order of import that programs use.
LATE = """
import adamcompat
adamcompat.install()
import sys
assert not {{"tensorflow", "keras", "tf_keras"}} & set(sys.modules)
{imports}
optimizer = {name}(0.1)
import adamcompat.tensorflow, adamcompat.tensorflow.v1, adamcompat.tensorflow.legacy
assert isinstance(optimizer, adamcompat.tensorflow.{ours}), type(optimizer).__mro__
import tensorflow as tf
variable = tf.Variable([1.0, 2.0])
assert not adamcompat.installed().report.in_use
optimizer.apply_gradients([(tf.constant([0.5, -0.25]), variable)])
assert adamcompat.installed().report.in_use
adamcompat.uninstall()
assert not isinstance({name}(0.1), adamcompat.tensorflow.{ours})
assert isinstance(optimizer, {name})
print("done")
"""


@pytest.mark.parametrize(
    ("imports", "name", "ours", "legacy"),
    [
        ("import tensorflow as tf", "tf.keras.optimizers.Adam", "Adam", "0"),
        ("import keras", "keras.optimizers.Adam", "Adam", "0"),
        ("from tensorflow.keras.optimizers import AdamW", "AdamW", "AdamW", "0"),
        ("import tensorflow.compat.v1 as tf1", "tf1.train.AdamOptimizer", "v1.AdamOptimizer", "0"),
        ("import tensorflow as tf", "tf.keras.optimizers.AdamW", "AdamW", "1"),
        ("from tensorflow.keras.optimizers.legacy import Adam", "Adam", "legacy.Adam", "1"),
    ],
)
def test_a_framework_that_is_imported_later(imports: str, name: str, ours: str, legacy: str) -> None:
    program = LATE.format(imports=imports, name=name, ours=ours)
    assert run_python(program, fresh=True, TF_USE_LEGACY_KERAS=legacy) == "done\n"


def test_tf_keras_files_and_strings(tmp_path: Path) -> None:
    program = f"""
    import json, zipfile
    import numpy as np
    import tensorflow as tf
    import adamcompat, adamcompat.tensorflow, adamcompat.tensorflow.legacy
    x, y = np.ones((8, 4), "f"), np.zeros((8, 3), "f")
    stock, stock_w = tf.keras.optimizers.Adam, tf.keras.optimizers.AdamW
    legacy = tf.keras.optimizers.legacy.Adam
    def trained(optimizer):
        tf.keras.utils.set_random_seed(7)
        model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])
        model.compile(optimizer, "mse")
        model.fit(x, y, epochs=3, verbose=0)
        return model
    def same(a, b):
        pairs = zip([*a.get_weights(), *a.optimizer.variables], [*b.get_weights(), *b.optimizer.variables])
        return all(np.array_equal(np.asarray(p), np.asarray(q)) for p, q in pairs)
    reference, reference_w = trained("adam"), trained("adamw")
    reference.save({str(tmp_path)!r} + "/stock.keras")
    with adamcompat.installed() as ours:
        model = trained("adam")
        assert isinstance(model.optimizer, adamcompat.tensorflow.Adam), type(model.optimizer)
        assert same(model, reference)
        model.save({str(tmp_path)!r} + "/ours.keras")
        model.save({str(tmp_path)!r} + "/ours.h5")
        model.save({str(tmp_path)!r} + "/saved_model")
        loaded = tf.keras.models.load_model({str(tmp_path)!r} + "/stock.keras")
        assert isinstance(loaded.optimizer, adamcompat.tensorflow.Adam)
        assert same(loaded, reference)
        model_w = trained("adamw")
        assert isinstance(model_w.optimizer, adamcompat.tensorflow.AdamW) and same(model_w, reference_w)
        assert isinstance(tf.keras.optimizers.experimental.AdamW(), adamcompat.tensorflow.AdamW)
        model_w.save({str(tmp_path)!r} + "/adamw.keras")
        legacy_model = trained(tf.keras.optimizers.legacy.Adam(0.01))
        assert isinstance(legacy_model.optimizer, adamcompat.tensorflow.legacy.Adam)
        legacy_model.save({str(tmp_path)!r} + "/legacy.keras")
    assert ours.report.in_use
    for name in ("ours.keras", "ours.h5", "saved_model"):
        loaded = tf.keras.models.load_model({str(tmp_path)!r} + "/" + name)
        assert type(loaded.optimizer) is stock, (name, type(loaded.optimizer))
        # tf_keras leaves the moments out of a SavedModel, with the stock class too.
        assert name == "saved_model" or same(loaded, reference), name
    assert type(tf.keras.models.load_model({str(tmp_path)!r} + "/legacy.keras").optimizer) is legacy
    loaded = tf.keras.models.load_model({str(tmp_path)!r} + "/adamw.keras")
    assert type(loaded.optimizer) is stock_w and same(loaded, reference_w)
    configs = [
        json.loads(zipfile.ZipFile({str(tmp_path)!r} + "/" + name).read("config.json"))["compile_config"]["optimizer"]
        for name in ("ours.keras", "stock.keras")
    ]
    assert configs[0] == configs[1], configs
    print("done")
    """
    assert run_python(program, TF_USE_LEGACY_KERAS="1") == "done\n"


def test_the_page_runs_unchanged_with_ours() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "adamcompat", "run", "--report", str(ROOT / "tests" / "data" / "page_tensorflow.py")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_USE_LEGACY_KERAS": "1"},
        timeout=240,
    )
    assert result.stdout == "[[ 5.8998876 11.100113 ]\n [12.299808  24.700195 ]]\n"
    assert "adamcompat: installed, in use" in result.stderr
    assert "tf.compat.v1.train.AdamOptimizer is adamcompat.tensorflow.v1.AdamOptimizer" in result.stderr
    assert "1 made, in use" in result.stderr

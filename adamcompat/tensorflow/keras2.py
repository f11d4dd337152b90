"""tf_keras's Adam and AdamW (TF_USE_LEGACY_KERAS=1), updating the whole list of variables at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf
import tf_keras

from adamcompat import corrections as mending
from adamcompat.correction import make_correction
from adamcompat.mapping.model import Form
from adamcompat.mapping.tables import MAPPING
from adamcompat.once import warn_once
from adamcompat.tensorflow import operations, sparse, terms, update
from adamcompat.tensorflow.arguments import (
    FIXED,
    dialect_of,
    is_number,
    is_scalar,
    moments_of,
    refuse_no_gradients,
    refuse_session,
    stand_still,
)
from adamcompat.tensorflow.construction import construct
from adamcompat.tensorflow.hooks import Hooks
from adamcompat.tensorflow.state import Copied
from adamcompat.tensorflow.traced import Traced

# What the mixin is mixed with, for the type checker.
_Mixed: Any = tf_keras.optimizers.Optimizer if TYPE_CHECKING else object
_OWN = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation="bool | None")
    for name in ("fused", "corrections")
]
_NOT_HERE = (
    "{} is Keras 3's, and TF_USE_LEGACY_KERAS=1 selects tf_keras, which has no counterpart; leave it out, or unset "
    "TF_USE_LEGACY_KERAS"
)
# Named as in TensorFlow 2.6.
_MOMENTS = moments_of(MAPPING.dialects["tf26"])

# tf_keras's adaptive_epsilon is the epsilon of the paper.
_ADAPTIVE = make_correction(Form("paper", "both"))


@cache
def _parameters(original: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of the constructor of a class of tf_keras."""
    return inspect.signature(original.__init__).parameters


def _signature(original: Any) -> inspect.Signature:
    """Return the signature of tf_keras's constructor, with our own keywords."""
    *named, more = _parameters(original).values()
    return inspect.Signature([*named, *_OWN, more])


class Keras2Step(Copied, _Mixed):  # type: ignore[misc]
    """Make the step of an Adam of tf_keras; the mixin stands before the original."""

    _adapter: ClassVar[str]
    _original: ClassVar[Any]
    # The methods of tf_keras that are replaced as a whole, and those that are called within the update of one variable.
    _step_hooks: ClassVar[Hooks]
    _inner_hooks: ClassVar[Hooks]
    _copied_patterns = "_exclude_from_weight_decay_names"

    def __init__(self, *args: Any, fused: bool | None = None, corrections: bool | None = None, **kwargs: Any) -> None:
        adapter = MAPPING.adapter("tensorflow", self._adapter)
        if fused is not None and not isinstance(fused, bool):
            raise TypeError(f"fused must be True, False or None, got {fused!r}")
        corrects = mending.wanted(corrections, TypeError)
        # Keras 3's parameters, at their defaults: a configuration of Keras 3 holds them.
        parameters = _parameters(self._original)
        absent = [fact.name for fact in dialect_of(adapter).parameters if fact.name not in parameters]
        kwargs = {name: value for name, value in kwargs.items() if name not in absent or value is not None}
        named = dict(zip(list(parameters)[1:-1], args, strict=False))
        if named.keys() & kwargs.keys() or len(args) > len(named):
            # Python's own error for what is given twice, and for too many.
            super().__init__(*args, **kwargs)
        construct(adapter, super().__init__, {**named, **kwargs}, {name: _NOT_HERE.format(name) for name in absent})
        if kwargs.get("lr"):
            warn_once(
                f"lr={kwargs['lr']!r}: tf_keras ignores it, and so does this drop-in; pass learning_rate= instead",
                "tf_keras",
                "lr",
                stacklevel=3,
            )
        self.fused = fused
        self.corrections = corrects
        self.__corrections_given = corrections
        self.__traced = Traced(first_row=0)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_adapter" in vars(cls) and cls.__module__.startswith("adamcompat."):
            # The generated signature is Keras 3's, whose fifth parameter is another one.
            del cls.__init__
            tf_keras.saving.register_keras_serializable(package="adamcompat")(cls)

    def get_config(self) -> dict[str, Any]:
        """Return tf_keras's own configuration, with `fused` and `corrections` where they were given."""
        own = {"fused": self.fused, "corrections": self.__corrections_given}
        # tf_keras forgets it, and a copy would be another optimizer.
        own["adaptive_epsilon"] = getattr(self, "adaptive_epsilon", False) or None
        return {**super().get_config(), **{name: value for name, value in own.items() if value is not None}}

    def build(self, var_list: Sequence[Any]) -> None:
        """Create the state; what a copy or a pickle brought along is filled in.

        Args:
            var_list: the variables to train.

        Raises:
            ValueError: state was brought along for variables of other shapes.
        """
        super().build(var_list)
        try:
            self._copied_fill(var_list)
        except ValueError:
            self._built = False
            raise

    def _copied_excluded(self) -> list[int]:
        keys = getattr(self, "_exclude_from_weight_decay", [])
        return [index for key, index in getattr(self, "_index_dict", {}).items() if key in keys]

    def _copied_exclude(self, variables: Sequence[Any]) -> None:
        self._exclude_from_weight_decay = [self._var_key(variable) for variable in variables]

    def add_variable_from_reference(
        self, model_variable: Any, variable_name: str, shape: Any = None, initial_value: Any = None
    ) -> Any:
        """Add a state variable, as tf_keras does.

        The moments of bfloat16 variables that would stand still are kept in float32.

        Args:
            model_variable: the variable that the state belongs to.
            variable_name: names the kind of state: ``"m"``, ``"v"``, ``"vhat"`` and so on.
            shape: of the state; None stands for the variable's.
            initial_value: a tensor, or None for zeros.

        Returns:
            The new variable.
        """
        add = super().add_variable_from_reference
        narrow = getattr(model_variable, "true_dtype", model_variable.dtype) == tf.bfloat16
        if variable_name not in _MOMENTS or not narrow or not stand_still(self.beta_1, self.beta_2):
            return add(model_variable, variable_name, shape, initial_value)
        with tf.variable_creator_scope(operations.in_float32):
            return add(model_variable, variable_name, shape, initial_value)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]], *args: Any, **kwargs: Any) -> Any:
        """Update variables with their gradients, as tf_keras.optimizers.Adam does.

        Args:
            grads_and_vars: pairs of a gradient (a tensor, IndexedSlices or None) and its variable.
            args: more arguments of tf_keras's method.
            kwargs: the same by name.

        Returns:
            The step counter.

        Raises:
            ValueError: no gradient at all.
            RuntimeError: in a graph that runs in a Session.
        """
        refuse_session("tf_keras", MAPPING.adapter("tensorflow", self._adapter))
        pairs = list(grads_and_vars)
        refuse_no_gradients(gradient for gradient, _ in pairs)
        plain = super().apply_gradients

        def make() -> Any:
            # Somebody's own code runs after the update.
            if any(getattr(variable, "constraint", None) is not None for _, variable in pairs):
                self.__keep_everything(variable for _, variable in pairs)
            return plain(pairs, *args, **kwargs)

        return self.__traced.whole(self._iterations, make)

    def __keep_everything(self, variables: Iterable[Any], *, after: bool = True) -> None:
        """Hold all that the step may change; see `Traced.keep_everything`."""
        rates = getattr(self, "_current_learning_rate", None)
        self.__traced.keep_everything(lambda: [*variables, *self.variables, rates], after=after)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if self.weight_decay is not None:
            self.__traced.keep("decay", variables)
            self.__traced.first.keep_to_the_end()
        super()._apply_weight_decay(variables)

    def update_step(self, gradient: Any, variable: Any) -> None:
        """Update one variable and its state.

        Args:
            gradient: a tensor or IndexedSlices.
            variable: the tf.Variable that it belongs to.
        """
        calls = callable(self.beta_1) or callable(self.beta_2)
        # tf_keras's own fails with these, stands still, or is not what was asked for.
        ours = variable.dtype in operations.FLOATS and (self.fused or calls or self.__widened(variable))
        fits = not isinstance(gradient, tf.IndexedSlices) and self._inner_hooks.untouched(self)
        if ours or (fits and self.__takes([variable])):
            self.__update([gradient], [variable], whole=False)
        else:
            super().update_step(gradient, variable)

    def __widened(self, variable: Any) -> bool:
        """Tell whether a bfloat16 variable stands still with tf_keras, or has moments in float32 because it would."""
        return variable.dtype == tf.bfloat16 and (
            stand_still(self.beta_1, self.beta_2)
            or self._momentums[self._index_dict[self._var_key(variable)]].dtype != tf.bfloat16
        )

    def __takes(self, variables: Sequence[Any]) -> bool:
        """Return whether the formula of the kernel has tf_keras's bits for these: it is written for plain numbers."""
        kinds = {one.dtype for one in variables}
        return (
            all(is_number(beta) or callable(beta) for beta in (self.beta_1, self.beta_2))
            and is_number(self.epsilon)
            and isinstance(self.amsgrad, FIXED)
            and not getattr(self, "adaptive_epsilon", False)
            and is_scalar(self.learning_rate)
            and all(isinstance(one, tf.Variable) for one in variables)
            and kinds <= operations.FLOATS
            and (tf.bfloat16 not in kinds or self.fused or all(map(self.__widened, operations.narrow(variables))))
        )

    def _distributed_apply_gradients_fn(
        self, distribution: Any, grads_and_vars: Sequence[tuple[Any, Any]], **kwargs: Any
    ) -> Any:
        plain = super()._distributed_apply_gradients_fn
        gradients, variables = zip(*grads_and_vars, strict=True)
        distinct = len({id(variable) for variable in variables}) == len(variables)
        if (
            tf.distribute.has_strategy()
            or self.use_ema
            or not distinct
            or not self._step_hooks.untouched(self)
            or not self.__takes(variables)
        ):
            self.__keep_everything(variables)
            return plain(distribution, grads_and_vars, **kwargs)
        prepare = None
        if tf.executing_eagerly():
            constants: tuple[Any, ...] = ()
            if any(isinstance(gradient, tf.IndexedSlices) for gradient in gradients):
                constants = self.beta_1, self.beta_2, self.epsilon
            key = (self.fused, bool(self.amsgrad), *constants)
            state = self.__traced.state(self)
            prepare = self.__traced.function(key, self.__update, gradients, variables, variables, state)
        if prepare is None:
            self.__keep_everything(variables, after=False)
            self.__update(gradients, variables)
        else:
            self.__traced.make(prepare(self.__hyper()))
        return plain(distribution, [], **kwargs)

    def __hyper(self) -> terms.Hyper:
        """Return the hyperparameters of this step; betas may be callables."""
        if self.__traced.hyper is not None:
            return self.__traced.hyper
        beta1, beta2 = (beta() if callable(beta) else beta for beta in (self.beta_1, self.beta_2))
        return terms.Hyper(tf.convert_to_tensor(self.learning_rate), beta1, beta2, self.epsilon)

    def __update(self, gradients: Sequence[Any], variables: Sequence[Any], whole: bool = True) -> None:
        hyper, rows = self.__hyper(), []
        calls = callable(self.beta_1) or callable(self.beta_2)
        for gradient, variable in zip(gradients, variables, strict=True):
            # tf_keras decays the moments of all rows and then adds to some: two roundings.
            sparse_here = isinstance(gradient, tf.IndexedSlices)
            if sparse_here and not (self.fused or calls or self.__widened(variable)):
                super().update_step(gradient, variable)
                continue
            index = self._index_dict[self._var_key(variable)]
            vhat = self._velocity_hats[index] if self.amsgrad else None
            dense = sparse.dense(gradient, variable.shape)
            rows.append(terms.Row(variable, dense, self._momentums[index], self._velocities[index], vhat))
        step, compiled = self.iterations + 1, operations.inside_xla()
        if getattr(self, "adaptive_epsilon", False):
            # Variables come one by one here.
            kind = operations.arithmetic(variables[0].dtype)
            rate, given = terms.number(hyper.learning_rate, kind), terms.number(hyper.epsilon, kind)
            _, epsilon = _ADAPTIVE(rate, given, *terms.powers(hyper, step, kind), 1, tf.sqrt)
            hyper = hyper._replace(epsilon=epsilon)
        first = self.__traced.first if whole and tf.executing_eagerly() else None
        if self.fused:
            if first is not None:
                first.together(len(rows))
            numerics = MAPPING.numerics[MAPPING.dialects["tf26"].numerics]
            update.update_fused(rows, numerics, hyper, self.iterations, step, inside_xla=compiled)
            return
        numerics = MAPPING.numerics[dialect_of(MAPPING.adapter("tensorflow", self._adapter)).numerics]
        update.update_list(rows, numerics, hyper, self.iterations, step, inside_xla=compiled, whole=whole, first=first)


class Keras2Adam(Keras2Step, tf_keras.optimizers.Adam):  # type: ignore[misc]
    """Base of the drop-in on tf_keras; use `adamcompat.tensorflow.Adam`."""

    _original = tf_keras.optimizers.Adam

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    __init__.__signature__ = _signature(_original)  # type: ignore[attr-defined]


class Keras2AdamW(Keras2Step, tf_keras.optimizers.AdamW):  # type: ignore[misc]
    """Base of the drop-in on tf_keras; use `adamcompat.tensorflow.AdamW`."""

    _original = tf_keras.optimizers.AdamW

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    __init__.__signature__ = _signature(_original)  # type: ignore[attr-defined]


for _kind in (Keras2Adam, Keras2AdamW):
    _kind._step_hooks = Hooks(_kind._original, _kind, ("_distributed_apply_gradients_fn",))
    _kind._inner_hooks = Hooks(_kind._original, _kind, ("update_step",), inner=True)

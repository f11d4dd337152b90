"""Write a weight decay that the learning rate scales for one that it does not scale, and the other way round."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace

from adamcompat.mapping.facts import ParameterFact
from adamcompat.translation.arguments import UNKNOWN, form
from adamcompat.translation.conversion import Value
from adamcompat.translation.messages import Message, error, info, warning
from adamcompat.translation.names import Signature
from adamcompat.translation.rates import RATE, Writer

_ABSOLUTE, _SCALED, _L2 = "absolute_weight_decay", "decoupled_weight_decay", "l2_weight_decay"
# The flag with which an L2 weight decay is the scaled one.
_SWITCH = "decouples_decay"
_COUNTERPARTS = {_ABSOLUTE: _SCALED, _SCALED: _ABSOLUTE}
# Expressions that may be evaluated twice: they call nothing and change nothing.
_REPEATABLE = (ast.expr_context, ast.operator, ast.unaryop, ast.Name, ast.Attribute, ast.Subscript, ast.Constant)
_ARITHMETIC = (ast.BinOp, ast.UnaryOp)


def decouple(values: dict[str, Value], target: Signature, say: Callable[[Message], None]) -> None:
    """Read an L2 weight decay as the decoupled one that a flag makes of it.

    Args:
        values: the hyperparameters of the call, by canonical names; they change.
        target: the class to call. Where it has such a flag itself, nothing changes.
        say: takes a message.
    """
    flag, decay = values.get(_SWITCH), values.get(_L2)
    if flag is None or decay is None or flag.value is not True or target.named(_SWITCH) is not None:
        return
    fact = replace(decay.fact, canonical=_SCALED, mistaken="refuse")
    read = [
        (_SCALED, replace(value, fact=fact)) if name == _L2 else (name, value)
        for name, value in values.items()
        if name != _SWITCH
    ]
    values.clear()
    values.update(read)
    say(info("decoupled-decay", f"{decay} with {flag} is decoupled weight decay, as AdamW has it"))


class Decays(Writer):
    """Write the arguments of one conversion; here those of decoupled weight decay."""

    def switched(self, value: Value) -> tuple[ParameterFact, ParameterFact] | None:
        """Return the target's L2 weight decay and the flag that makes it decoupled, or None.

        Args:
            value: a hyperparameter of the call that the target does not have.

        Returns:
            The two parameters; None where the value is no decoupled weight decay, the call sets L2 weight decay too, or
            the target lacks one of the two.
        """
        decay, flag = self.target.named(_L2), self.target.named(_SWITCH)
        free = value.fact.canonical == _SCALED and _L2 not in self.values
        return (decay, flag) if free and decay is not None and flag is not None else None

    def switch(self, value: Value, decay: ParameterFact, flag: ParameterFact) -> None:
        """Write a decoupled weight decay as an L2 one with the flag that makes it decoupled.

        Args:
            value: the decoupled weight decay of the call.
            decay: the target's L2 weight decay.
            flag: the target's flag.
        """
        self.write(decay, value.text, value)
        self.write(flag, "True", replace(value, text="True", value=True, position=None))
        self.say(info("decoupled-decay", f"{value} is decoupled weight decay, so {flag.name}=True stands beside it"))

    def counterpart(self, value: Value) -> ParameterFact | None:
        """Return the target's decay of the other kind: scaled by the learning rate, or not; or None.

        Args:
            value: a hyperparameter of the call that the target does not have.
        """
        other = _COUNTERPARTS.get(value.fact.canonical)
        return self.target.named(other) if other is not None and other not in self.values else None

    def rescale(self, value: Value, fact: ParameterFact) -> None:
        r"""Write a decay :math:`d` divided by the learning rate :math:`\eta`, or multiplied by it.

        A decay :math:`d` that the learning rate does not scale takes as much off as the scaled decay :math:`d / \eta`.
        Where the learning rate is no constant, there is no such number, and an error says so.

        Args:
            value: the decay of the call.
            fact: the target's decay of the other kind.
        """
        rate = self.values[RATE]
        divides = value.fact.canonical == _ABSOLUTE
        sign = "/" if divides else "*"
        one, other = (self.source, self.target) if divides else (self.target, self.source)
        text = f"{value}: {other.title} multiplies its decay by the learning rate, {one.title} does not"
        changing = [item for name in _CHANGING if (item := self.values.get(name)) is not None and item.matters]
        if not value.matters:
            self.write(fact, "0.0", value)
        elif changing or not self.constant(rate) or rate.value == 0:
            why = f"with {' and '.join(map(str, [rate, *changing]))} there is no number that means the same"
            self.say(error("scaled-decay", f"{text}; {why}"))
        elif not self.constant(value):
            self.say(error("other-form", f"{value}: {self.target.title}'s {fact.name!r} must be a number"))
        elif UNKNOWN in (value.value, rate.value):
            written = f"{_operand(value)} {sign} {_operand(rate)}"
            self.write(fact, written, replace(value, value=UNKNOWN))
            text += f", so it is {fact.name}={written} there: right where both are numbers that stay as they are"
            self.say(warning("scaled-decay", text))
        else:
            number = value.value / rate.value if divides else value.value * rate.value
            self.write(fact, repr(number), replace(value, value=number))
            text += f", so it is {fact.name}={number!r} there"
            later = f"where the learning rate is changed later, the decay of {other.title} changes with it"
            self.say(info("scaled-decay", f"{text}; {later}"))

    def constant(self, value: Value) -> bool:
        """Return whether an expression may be a number, and may be evaluated twice.

        Args:
            value: a hyperparameter of the call.
        """
        if value.node is None or value.value is not UNKNOWN:
            return True
        shape = form(value.node, self.context.values)
        return shape in ("number", "unknown") and all(
            isinstance(node, (*_REPEATABLE, *_ARITHMETIC)) for node in ast.walk(value.node)
        )


# Hyperparameters with which the learning rate is another one at each step.
_CHANGING = ("inverse_time_decay",)


def _operand(value: Value) -> str:
    return f"({value.text})" if isinstance(value.node, _ARITHMETIC) else value.text

"""Find the class that computes the same, where the one that was asked for does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from adamcompat.mapping.model import Mapping
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.translation.conversion import Conversion
from adamcompat.translation.messages import Message, Severity
from adamcompat.translation.names import Signature, drop_in, original, shims
from adamcompat.translation.trained import home

# The remark on where the parameters come from, which says nothing of what is computed.
_OF_PARAMETERS = "parameters-not-read"
# The remark that matters least in most trainings.
_NEAR = "other-epsilon"
# Remarks on what the asked-for class computes; another one may compute what is meant.
_OF_MEANING = {
    *("bias-correction", "no-counterpart", "other-epsilon", "other-maximum", "other-meaning", "other-skips"),
    *("other-start", "scaled-decay"),
}


def candidates(source: Signature, target: Signature, mapping: Mapping) -> Iterator[Signature]:
    """Yield the classes that may stand in for a framework's own class.

    Args:
        source: the class that is called.
        target: the class that was asked for.
        mapping: the dialects that there are.

    Yields:
        The other originals of the target's runtime, then our classes for that runtime, those in the source's style
        first. There are none where the target is ours, or where we have no drop-in for it.
    """
    own = drop_in(target.dialect)
    if own is None or target.adapter is not None:
        return
    for name in RUNTIMES[own.runtime].originals:
        dialect = mapping.dialects[name]
        if dialect not in (source.dialect, target.dialect):
            yield original(dialect, mapping)
    yield from sorted(
        shims(target.dialect), key=lambda item: (item.dialect.name != source.dialect.name, not akin(item, source))
    )


def akin(one: Signature, other: Signature) -> bool:
    """Return whether two originals have the same name, each in its own module.

    Args:
        one: an original.
        other: another one.
    """
    names = [signature.dialect.member for signature in (one, other)]
    return names[0] == names[1]


def advise(conversion: Conversion, others: Iterable[tuple[Signature, Conversion]]) -> None:
    """Name the first class that computes what is meant in the gravest remark on what a class computes.

    Where no class computes it and the asked-for class is refused, the first that differs in epsilon alone is named.

    Args:
        conversion: the conversion for the class that was asked for; the text of one message may change.
        others: other classes, and the conversions for them; they are made only as far as they are needed.
    """
    concerned = [i for i, item in enumerate(conversion.messages) if _concerns(item) and item.code in _OF_MEANING]
    if not concerned:
        return
    rest = {item.code for item in conversion.messages if _concerns(item)} - _OF_MEANING
    place = max(concerned, key=lambda i: (conversion.messages[i].severity is Severity.ERROR, i))
    near = ""
    clauses: list[str] = []
    for signature, other in others:
        call = f"{signature.name}({', '.join(map(str, other.arguments))})"
        concerning = {item.code for item in other.messages if _concerns(item)}
        left = concerning - rest - {_OF_PARAMETERS}
        if not left:
            own = f", where it is given {home(signature).library}'s own parameters"
            clauses = [f"{call} computes the same{own if _OF_PARAMETERS in concerning else ''}"]
            break
        if other.ok and left == {_NEAR} and not near:
            near = f"{call} differs in epsilon alone"
    else:
        refused = conversion.messages[place].severity is Severity.ERROR and conversion.messages[place].code != _NEAR
        clauses = [near] if refused and near else []
    if clauses:
        remark = conversion.messages[place]
        conversion.messages[place] = replace(remark, text="; ".join([remark.text, *clauses]))


def _concerns(message: Message) -> bool:
    return message.severity is not Severity.INFO

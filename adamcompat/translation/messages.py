"""Hold the remarks of translation and migration, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """Grade how much a message matters."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one remark on one call.

    Attributes:
        code: what kind of remark, one of the codes in docs/translate.md.
        severity: INFO (nothing to do), WARNING (the result will differ or must be looked at) or ERROR
            (there is no translation).
        text: the reason, in a sentence.
    """

    code: str
    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"{self.severity.value} {self.code}: {self.text}"


def info(code: str, text: str) -> Message:
    """Return a remark that asks for nothing.

    Args:
        code: the kind of remark, one of the codes in docs/translate.md.
        text: the reason, in a sentence.
    """
    return Message(code, Severity.INFO, text)


def warning(code: str, text: str) -> Message:
    """Return a remark on something that will differ.

    Args:
        code: the kind of remark, one of the codes in docs/translate.md.
        text: the reason, in a sentence.
    """
    return Message(code, Severity.WARNING, text)


def error(code: str, text: str) -> Message:
    """Return a remark that says why there is no translation.

    Args:
        code: the kind of remark, one of the codes in docs/translate.md.
        text: the reason, in a sentence.
    """
    return Message(code, Severity.ERROR, text)

"""Hold what translation and migration have to say, as data."""

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
    """One remark on one call.

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
    """A remark that asks for nothing."""
    return Message(code, Severity.INFO, text)


def warning(code: str, text: str) -> Message:
    """A remark on something that will differ."""
    return Message(code, Severity.WARNING, text)


def error(code: str, text: str) -> Message:
    """A reason why there is no translation."""
    return Message(code, Severity.ERROR, text)

"""Translate a call of one Adam into a call of another."""

from adamcompat.translation.messages import Message, Severity
from adamcompat.translation.translate import Translation, TranslationError, translate

__all__ = ["Message", "Severity", "Translation", "TranslationError", "translate"]

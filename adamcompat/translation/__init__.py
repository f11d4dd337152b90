"""Translate a call of one Adam into a call of another, and show how two of them correspond."""

from adamcompat.translation.messages import Message, Severity
from adamcompat.translation.table import Table, table
from adamcompat.translation.translate import Translation, TranslationError, translate

__all__ = ["Message", "Severity", "Table", "Translation", "TranslationError", "table", "translate"]

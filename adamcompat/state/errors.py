"""Define what can go wrong when state is read, matched or loaded."""

from __future__ import annotations


class StateError(ValueError):
    """State that cannot be read, matched or loaded; nothing has changed."""

"""Record real training: the gradients that an optimizer was given, and what it made of them."""

from adamcompat.recording.file import Recording, read
from adamcompat.recording.record import record
from adamcompat.recording.recorder import Recorder

__all__ = ["Recorder", "Recording", "read", "record"]

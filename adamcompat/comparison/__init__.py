"""Send the same gradients through several optimizers, to see how far they drift apart, and why."""

from adamcompat.comparison.result import Cause, Comparison, Pair, Point, Run
from adamcompat.comparison.run import compare
from adamcompat.comparison.streams import Stream, load_stream, random_stream

__all__ = ["Cause", "Comparison", "Pair", "Point", "Run", "Stream", "compare", "load_stream", "random_stream"]

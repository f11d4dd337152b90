"""Drive any Adam, stock or ours, on given weights and gradients, with NumPy arrays at every seam.

    driver = open_driver("mindspore", weights, {"learning_rate": 0.01, "epsilon": 1e-7})
    driver.step(gradients)
    driver.parameters(), driver.slots()

A framework is imported when one of its optimizers is opened, and not before.
"""

from adamcompat.drive.catalogue import Entry, entries, find
from adamcompat.drive.driver import Driver, Opened, open_driver, prepare, start

__all__ = ["Driver", "Entry", "Opened", "entries", "find", "open_driver", "prepare", "start"]

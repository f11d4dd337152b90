"""Give the frameworks' own names for Adam to this package: code that names theirs gets ours, unedited.

`install` replaces, `uninstall` puts everything back, `installed` does both around a block and tells
what is replaced. A framework that is imported later is taken care of then.
"""

from adamcompat.installation.manager import Installed, install, installed, uninstall
from adamcompat.installation.report import Replaced, Report

__all__ = ["Installed", "Replaced", "Report", "install", "installed", "uninstall"]

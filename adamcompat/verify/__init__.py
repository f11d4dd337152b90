"""Check whether the mapping tells the truth about the frameworks that are installed.

``adamcompat.verify.tensorflow``, ``.mindspore`` and ``.torch`` look at the originals and run
the probes of this folder on them; what they find is plain data (`observation`), which `judge`
compares with a mapping. Nothing here imports a framework. To call this module is to call `verification.verify`.
"""

from adamcompat.called import let_call
from adamcompat.verify.verification import Verification, verify

__all__ = ["Verification", "verify"]

let_call(__name__, verify)

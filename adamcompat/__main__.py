"""``python -m adamcompat`` is the same as ``adamcompat``."""

import sys

from adamcompat.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""Hold the commands of the command line, one module each.

A module has ``add(commands)``, which adds its parser, and ``run(options, console)``, which returns
the exit status. Adding a parser must stay light: what a command needs is imported when it runs.
"""

from __future__ import annotations

# Wrong usage is what argparse exits with; a command that finds a mistake in its input later uses the same.
DONE, FOUND_A_PROBLEM, WRONG_USAGE = 0, 1, 2
# What shells give a program that Ctrl-C ended.
INTERRUPTED = 130

# In the order of `adamcompat --help`.
NAMES = ("table", "translate", "migrate", "run", "compare", "verify", "state", "demo", "doctor")

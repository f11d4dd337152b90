"""Tell what of a program's standard error is meant for the user from noise."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What the frameworks say on their own: TensorFlow when it is imported, MindSpore of what stock optimizers use.
_THEIRS = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\)|[IWE]0000 00:00:|\d{4}-\d\d-\d\d .*(tensorflow|cuda|xla)"
    r"|\[WARNING\] ME\(.*'FusedSparseAdam' is deprecated|^\s*$"
    # Of what state and carrying ask MindSpore for by old names.
    r"|\[WARNING\] ME\(.*'mindspore\.(dtype_to_nptype|common\.api)' is deprecated"
)
# What ours is meant to say there: remarks on calls and files, their count, what was ours in a run, and warnings
# that point at the user's own line.
_MEANT = re.compile(
    r"(\S+: )?(INFO|WARNING|ERROR) [\w-]+: |\d+ files? read, .* with an Adam to migrate"
    r"|adamcompat: (not )?installed|  \S+ is (adamcompat\.|not imported)|<string>:\d+: UserWarning: "
)


def not_meant(said: str, page: str = "") -> list[str]:
    """The lines of stderr that are neither a framework's own nor a remark for the user, nor shown on the page."""
    shown = (ROOT / page).read_text(encoding="utf-8").splitlines() if page else []
    lines = [line for line in said.splitlines() if not _THEIRS.search(line) and not _MEANT.match(line)]
    return [line for line in lines if line not in shown]

"""Rewrite the use of Adam in source files and notebooks. To call this module is to call `migration.migrate`."""

from adamcompat.called import let_call
from adamcompat.migrate.files import TARGETS, Outcome, find, migrate_file, migrate_files, write
from adamcompat.migrate.findings import Finding
from adamcompat.migrate.migration import Migration, migrate
from adamcompat.migrate.text import migrate_text

__all__ = [
    "TARGETS",
    "Finding",
    "Migration",
    "Outcome",
    "find",
    "migrate",
    "migrate_file",
    "migrate_files",
    "migrate_text",
    "write",
]

let_call(__name__, migrate)

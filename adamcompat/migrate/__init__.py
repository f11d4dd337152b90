"""Rewrite the use of Adam in source files and notebooks."""

from adamcompat.migrate.files import TARGETS, Outcome, find, migrate_file, migrate_files, write
from adamcompat.migrate.findings import Finding
from adamcompat.migrate.text import migrate_text

__all__ = ["TARGETS", "Finding", "Outcome", "find", "migrate_file", "migrate_files", "migrate_text", "write"]

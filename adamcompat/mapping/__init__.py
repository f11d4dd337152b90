"""The facts of mapping.yaml: how they are read, kept and compared."""

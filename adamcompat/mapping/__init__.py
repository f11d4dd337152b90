"""Read, keep and compare the facts of mapping.yaml."""

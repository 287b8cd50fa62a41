"""Task texts that ship, one YAML file per text and language."""

"""Event sources, one file for each recording format or camera SDK."""

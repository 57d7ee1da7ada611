"""Event writers, one file for each recording format."""

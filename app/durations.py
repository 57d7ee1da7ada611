"""Durations as people type them, for the commands; read where filters read theirs."""

from pipeline.schema.durations import parse_duration_us

__all__ = ["parse_duration_us"]

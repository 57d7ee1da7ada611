"""Filters of events: pure functions with a state that goes in and comes out. No filter ever invents an event."""

from pipeline.filters.chain import ChainState, FilterChain
from pipeline.filters.syntax import FilterKind, describe_filters, parse_filters

__all__ = ["ChainState", "FilterChain", "FilterKind", "describe_filters", "parse_filters"]

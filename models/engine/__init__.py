"""The streaming engine: a network's step is written down once, then run in memory that stays, skipping what is zero."""

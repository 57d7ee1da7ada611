"""Wiring, processes and commands: the roof of Saccade."""

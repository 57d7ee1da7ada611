"""Measures this machine: Saccade's own rates beside the limits of the hardware, found in the same run."""

"""Neurons, spiking networks, checkpoints and the recogniser."""

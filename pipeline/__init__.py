"""From event source to bus: no torch, no Qt, no CUDA."""

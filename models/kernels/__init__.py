"""Fast twins of the plain neuron steps."""

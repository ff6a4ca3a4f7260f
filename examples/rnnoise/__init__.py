"""RNNoise v0.1: gains of 22 bands that suppress noise in speech, with the weights as shipped."""

"""Networks: cells as data, the float model, the integer network. Reads nothing above it."""

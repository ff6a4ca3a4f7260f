"""A radio power amplifier, imitated by a GRU: regression, hard to quantize."""

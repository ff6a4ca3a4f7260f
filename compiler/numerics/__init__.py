"""Fixed-point formats, rounding and activation tables: arithmetic that model, training and gateware share."""

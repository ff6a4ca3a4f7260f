"""The ``gatewright`` command: a thin verb for each step of the flow."""

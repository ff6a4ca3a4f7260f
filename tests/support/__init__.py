"""Random programs, simulated boards and benches that tests share."""

"""Formats that host and gateware share: frames, commands, identity, flash image."""

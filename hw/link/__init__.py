"""From a serial line to the core: frames, commands, ledger, flash loader."""

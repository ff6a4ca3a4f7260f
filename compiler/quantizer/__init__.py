"""From a float model and data to a program; :mod:`.pipeline` runs the stages in order."""

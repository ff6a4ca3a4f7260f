"""From an integer network to tiles, beats, cycles and memory contents."""

"""The core: sequencer, lanes, element-wise unit, memories and ports."""

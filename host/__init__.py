"""The computer's side of a board. Needs no Amaranth."""

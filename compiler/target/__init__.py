"""What an FPGA offers and what a program needs of it."""

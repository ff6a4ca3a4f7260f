"""From a program to a board's bitstream with open tools."""

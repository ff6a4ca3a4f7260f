"""Primitives and limits of the FPGA families."""

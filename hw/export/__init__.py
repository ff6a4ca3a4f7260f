"""A program as Verilog, with wrappers for other designs."""

"""The FPGA families, a file each: ``DEVICES`` of a file names its devices, with their family."""

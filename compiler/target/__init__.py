"""Capacity of FPGAs, and the share of it that a program needs."""

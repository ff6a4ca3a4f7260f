"""Vendor-neutral parts that know nothing about networks; the family is an argument."""

"""Handwritten digits, row by row: trained again in fixed point."""

"""Figures of a program as data: results, cost, error."""

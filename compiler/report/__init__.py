"""The analysis for people: one HTML page, with plots."""

"""The analysis for people: text, and one HTML page with pictures."""

"""The search for the cheapest widths that keep a metric."""

"""Who is speaking? A GRU that tells nine speakers apart by one vowel."""

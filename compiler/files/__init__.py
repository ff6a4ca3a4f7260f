"""Files of the user: recordings to read, results written whole or not at all."""

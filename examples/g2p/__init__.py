"""Letters to phonemes: an encoder and a decoder whose output the host feeds back."""

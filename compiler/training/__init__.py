"""Quantization-aware training in PyTorch. Imported only when something is trained."""

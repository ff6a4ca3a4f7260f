"""The compiled form of the golden model: the codes of :mod:`gatewright.compiler.golden`, sooner."""

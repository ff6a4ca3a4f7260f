"""Model files of other frameworks, each translated to :mod:`gatewright.compiler.ir.model`."""

"""The version, for whoever must not import the whole package surface."""

__version__ = "0.1.0"

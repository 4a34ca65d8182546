"""Synthetic people who talk to each other, with exact truth for everything."""

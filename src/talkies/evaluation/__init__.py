"""Measures that mean something: who speaks with whose voice, how well, how true to the picture. Reads files only."""

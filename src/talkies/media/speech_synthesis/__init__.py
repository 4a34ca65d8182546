"""Texts spoken by synthetic voices: one small protocol, several engines."""

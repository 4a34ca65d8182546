"""Talkies: a picture of people, one voice per person and a prompt become a video in which they talk to each other."""

__version__ = "0.1.0"

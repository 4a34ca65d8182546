"""Footage of real people as clips: cut, tracked, heard, judged, written in the format of `media.shards`."""

"""Pictures, sound and film in and out: decoded within limits, streamed, never half-written."""

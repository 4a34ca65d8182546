"""The HTTP service and the studio page."""

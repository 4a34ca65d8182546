"""The studio: a page for people who would rather look than read, on the same service and queue."""

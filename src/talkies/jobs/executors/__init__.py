"""What starts workers: processes of this machine, or a Ray cluster. The store knows nothing of either."""

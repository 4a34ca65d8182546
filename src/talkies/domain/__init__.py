"""What a conversation and a clip are, in plain Python: no torch, no I/O."""

"""Networks that metrics look through, as plain modules; weights are safetensors."""

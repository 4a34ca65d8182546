"""Training: data, objectives, optimisers, the loop, and the recipes that made the small model."""

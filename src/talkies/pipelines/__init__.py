"""The parts put together, as diffusers pipelines."""

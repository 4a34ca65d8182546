"""From noise to latents: schedules, guidance, the long-video loop. Frozen values, no hidden state."""

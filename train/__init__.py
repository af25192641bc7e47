"""Published shards to a latent video diffusion model."""

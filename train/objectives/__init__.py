"""What a denoiser is trained for: schedules, targets, weights, timesteps, noise priors. Pure functions of tensors.

One meaning of t everywhere: the noise level in [0, 1], 0 is data and 1 is noise, of shape [B, T]: one per latent frame.
One corruption: x = alpha(t) z + sigma(t) n.
"""

"""Training of autoencoders: reconstruction, perceptual and adversarial losses, and the step that joins them."""

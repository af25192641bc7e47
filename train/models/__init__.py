"""Networks and codecs: plain torch, no parallelism inside.

Shapes: B = clips, T = frames (of latents, after the codec), C = channels, H, W = rows and columns, N = B * T,
L = words, D = width of a vector. Videos are uint8 RGB `video_BTHWC`, latents are float `z_BTCHW`.
"""

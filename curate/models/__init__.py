"""Pretrained models and their stages: found on disk or on the hub, loaded once, arrays in, arrays out."""

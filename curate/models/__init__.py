"""Pretrained models behind the model stages: found on disk or on the hub, loaded once, arrays in, arrays out."""

"""Raw videos to scored rows to exact clips in shards. Ray lives in `run_ray` alone."""

"""The order of reading, computed: which samples, how often, in which batches, as which pictures. Torch-free."""

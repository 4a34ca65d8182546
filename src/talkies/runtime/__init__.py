"""How a model runs on the machine at hand: precision, offload, quantisation, caching, compilation, parallelism."""

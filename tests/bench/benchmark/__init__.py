"""The benchmark: every method and seed on three datasets in an hour of two cores; `make benchmark`."""

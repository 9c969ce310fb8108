"""Settings that are tried: drawn once for all methods, and chosen by what they did."""

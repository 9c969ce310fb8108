"""Intervals and paired contrasts by resampling documents and seeds: what more than one room measures is compared here."""

"""(Ground) Decoders with open weights: built small or loaded from a folder, watched head by head, and what they write."""

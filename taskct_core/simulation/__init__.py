"""The low-dose scan of a slice: dose in words, photon counts, and samples, stored once or drawn anew in every epoch."""

"""Schedulers: which trials are stopped early, decided from the values of all trials at an epoch."""

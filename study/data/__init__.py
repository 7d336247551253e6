"""Volumes to shards, and shards to batches."""

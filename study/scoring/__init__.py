"""Scores without training: references, trained trials on other data, networks from elsewhere."""

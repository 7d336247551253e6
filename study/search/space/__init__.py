"""What is searched: a search space, its dimensions, and the ranges and choices that they are."""

from study.search.space.search_space import SearchSpace

__all__ = ["SearchSpace"]

"""The space of the project's question: how alpha trades image quality for the task."""

from search_spaces.alpha import LOGIT
from search_spaces.optimisation import LEARNING_RATE

SPACE = {"alpha": LOGIT, "learning_rate": LEARNING_RATE}

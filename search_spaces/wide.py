"""Everything at once: alpha, both losses, architectures with their parameters, and the optimiser."""

from search_spaces.alpha import LOGIT
from search_spaces.architectures import ARCHITECTURE
from search_spaces.losses import IMAGE_LOSS, TASK_LOSS
from search_spaces.optimisation import BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY

SPACE = {
    "alpha": LOGIT,
    "image_loss": IMAGE_LOSS,
    "task_loss": TASK_LOSS,
    "architecture": ARCHITECTURE,
    "learning_rate": LEARNING_RATE,
    "weight_decay": WEIGHT_DECAY,
    "batch_size": BATCH_SIZE,
}

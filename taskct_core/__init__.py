"""The science of task-adaptive low-dose CT: physics, networks, losses, metrics. No cluster needed."""

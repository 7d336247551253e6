"""The search of a study: its space, samplers, Optuna storage, lock, and the bridge to Ray Tune."""

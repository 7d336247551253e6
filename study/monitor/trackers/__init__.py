"""Tools that a study's trials are logged to, one file each: a run a trial, with its values, curves and state."""

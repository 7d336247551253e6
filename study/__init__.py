"""Running it: simulation jobs, trials and studies on Ray, and the command line."""

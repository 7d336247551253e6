"""One trial: the loop over epochs, what executes it, and the folder it leaves."""

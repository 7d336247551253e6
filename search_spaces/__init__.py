"""What is searched: alpha, losses, architectures and optimiser settings, as data."""

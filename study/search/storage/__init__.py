"""What is kept of a study: Optuna's storage, and its trials as plain records, given points and fingerprint."""

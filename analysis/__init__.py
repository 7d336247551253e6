"""Understanding it: results table, fronts, statistics, figures, report. No Ray, no torch."""

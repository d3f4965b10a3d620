"""The seam with TRL, the supervised cold start, and the run that puts the stages together."""

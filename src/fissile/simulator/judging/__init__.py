"""Judging a diagnosis: what its text claims (`claims`), what is true (`truths`), how often they agree (`report`)."""

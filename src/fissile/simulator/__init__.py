"""The error simulator S_phi: who writes a diagnosis that reads like a run-time error, how it is taught and judged."""

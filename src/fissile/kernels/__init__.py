"""What makes it fast on a CPU: shared prefixes, prepacked layers, packed updates, scoring of labelled tokens."""

"""Language models that recover from their tool errors."""

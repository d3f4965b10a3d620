"""Who produces tokens: transformers, and a scripted policy for tests."""

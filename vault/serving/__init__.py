"""Processes that serve: their fences against a destruction, and what they note when they begin and end."""

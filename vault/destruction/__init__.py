"""Destruction: the one function that destroys keys, its steps in order, and what follows it."""

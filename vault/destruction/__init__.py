"""Destruction: the one function that destroys keys, its steps in order, what begins one, and what follows it."""

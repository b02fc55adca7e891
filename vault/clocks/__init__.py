"""Time: what the clocks say, and whether they may be believed."""

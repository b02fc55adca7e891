"""The machine that a vault runs on: its home folder, its processes and their fences, the embedded store."""

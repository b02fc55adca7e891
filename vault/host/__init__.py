"""The machine that a vault runs on: its processes, their hardening, whole files, the embedded store."""

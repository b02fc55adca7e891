"""Whose keys, and who uses them: the custodians of the masters, and the uses of record keys in this process."""

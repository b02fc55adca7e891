"""The keys in use: the trees at work, their mirror in the bucket, and the custodians of their masters."""

"""The key trees at work: opened, staged anew, mirrored in the bucket, and what is left when a custodian ended one."""

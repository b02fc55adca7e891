"""The ledger: the journal's Merkle log at work, published in the bucket, shown, verified, watched and witnessed."""

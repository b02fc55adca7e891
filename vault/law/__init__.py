"""The law as rules: the policy, who may approve what, and the one predicate."""

"""The law as rules: the policy, its people, the calendar of a sunset, and the one predicate."""

"""Receipts: the code on an applicant's paper, and what is answered to it."""

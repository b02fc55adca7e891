"""Receipts: what is answered to the code on an applicant's paper."""

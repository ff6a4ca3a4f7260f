"""Runnable examples on real data; each folder's README says where the data comes from."""

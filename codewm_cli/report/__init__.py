"""Rows in, table or JSON out: pure functions."""

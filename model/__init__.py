"""Chains in, a trained world model out (torch), and scores from the engine (no torch)."""

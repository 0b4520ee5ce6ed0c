"""Displacements in, calibrated surprise out: numpy only, never torch."""

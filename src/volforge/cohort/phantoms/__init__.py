"""Phantom cohorts: anatomy drawn from implicit functions, with exact truth, deterministic from a seed."""

"""Probes: each measures some bars in the process it is started in, and returns figures and curves."""

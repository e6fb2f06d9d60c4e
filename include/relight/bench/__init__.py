"""Measures replay against what people do today, side by side, on this machine."""

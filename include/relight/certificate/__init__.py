"""The promotion certificate: what was rebuilt from what, how it was checked, and who says so."""

"""Networks → files that other programs load."""

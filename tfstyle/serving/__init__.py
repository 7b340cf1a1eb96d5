"""Exports networks for other programs."""

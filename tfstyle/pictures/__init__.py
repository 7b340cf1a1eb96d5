"""Reads picture files: recognizes them within limits, decodes them, and converts their colors to sRGB."""

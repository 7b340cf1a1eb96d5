"""Networks that stylize an image in one pass."""

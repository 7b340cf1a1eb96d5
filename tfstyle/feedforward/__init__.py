"""Images → image: networks that stylize in one pass."""

"""Pictures → pictures: networks that paint in one pass."""

"""Picture files → pixels: recognized within limits, decoded, converted to sRGB."""

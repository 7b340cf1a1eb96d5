"""Trains the networks of `feedforward` on folders of content and style images."""

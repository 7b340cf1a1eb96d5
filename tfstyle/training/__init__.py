"""Trains the networks of `feedforward`: photographs and paintings → a network."""

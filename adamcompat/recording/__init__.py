"""Recordings of real training: what gradients an optimizer was given, and what it made of them."""

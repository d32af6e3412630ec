"""A Django app with vectors in it."""

"""A way down a curve."""

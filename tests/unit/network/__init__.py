"""Tests of the whole network."""

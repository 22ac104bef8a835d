"""What was seen, written down so that others can read and check it (the last room of the house)."""

"""Slow versions written from the papers alone; they share no line with what they judge."""

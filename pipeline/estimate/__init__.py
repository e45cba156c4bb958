"""The expected hours, calls, money and hardware of a recipe."""

"""What a recipe will cost: hours, calls, money and machines."""

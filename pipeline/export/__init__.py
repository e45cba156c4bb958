"""A build in the formats that other systems read."""

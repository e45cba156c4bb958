"""Tests of the README and the documentation: what they show runs, what they name exists."""

"""A timeline becomes tokens and labels (paper, Algorithm 2), and back."""

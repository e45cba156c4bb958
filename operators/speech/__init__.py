"""From text to verified speech: rewrite, render, gate (paper, appendix B.4)."""

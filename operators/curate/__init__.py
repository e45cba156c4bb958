"""Hierarchical event curation (paper, section 3.2): scene planning, retrieval, grounding and clip verification."""

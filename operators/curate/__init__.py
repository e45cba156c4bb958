"""Hierarchical event curation (paper, section 3.2): bag, scenario, grounding and the clip verifier."""

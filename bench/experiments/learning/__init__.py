"""The learning proof: a corpus made by the pipeline teaches a small model when to speak and what to say."""

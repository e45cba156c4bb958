"""What the model is told and what it answers, as versioned templates with a content hash."""

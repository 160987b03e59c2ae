"""Tasks: text in, labelled text out."""

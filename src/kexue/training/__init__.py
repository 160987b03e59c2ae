"""What the stock transformers.Trainer lacks."""

"""The nouns: frames, labels, datasets, predictions, and the protocols engines and families implement."""

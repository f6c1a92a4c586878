"""Losses of label maps, one file per family; called with logits, labels and, where they need them, distances."""

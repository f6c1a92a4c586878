"""Losses of label maps: one file per family. Every loss is called with logits, labels and, where it needs them, distances."""

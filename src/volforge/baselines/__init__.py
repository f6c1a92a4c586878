"""What no learning gives: one file per task. An arm that does not beat its baselines has learnt nothing."""

"""Networks that only measure: what they learn from real scans, and what they say of made ones."""

"""What commands do with files that are named by hand, without a configuration."""

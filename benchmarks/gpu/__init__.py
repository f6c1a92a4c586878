"""What `benchmarks/gpu.sh` runs, part by part."""

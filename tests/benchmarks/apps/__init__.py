"""What the benchmarks run in processes of its own."""

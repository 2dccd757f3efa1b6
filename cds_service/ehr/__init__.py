"""Who asks, and what the chart holds. The network lives here and nowhere else."""

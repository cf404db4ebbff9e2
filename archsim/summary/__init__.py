"""The summary: what the floors left, as a `Result`. No simulation and no file; sums and quotients only."""

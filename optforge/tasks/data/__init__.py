"""Real data from installed packages: each set is built at first use and cached."""

"""What `search_throughput.py` measures; each module is one section of its report."""

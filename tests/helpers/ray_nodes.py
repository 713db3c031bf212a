"""A real Ray cluster whose nodes are processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}


@contextmanager
def ray_nodes(count: int) -> Iterator[Any]:
    """Start a cluster of so many nodes of one core: Ray's own ``Cluster``.

    Skips the test where this machine lets no node start, as some sandboxes do.
    """
    import ray
    from ray.cluster_utils import Cluster

    try:
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    except Exception as error:
        pytest.skip(f"Ray starts no node on this machine: {type(error).__name__}: {error}")
    try:
        for _ in range(count - 1):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()

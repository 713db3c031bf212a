"""A real Ray cluster whose nodes are processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}
_PATIENCE = 120.0  # seconds for a node to start; on most machines it takes five


@contextmanager
def ray_nodes(count: int) -> Iterator[Any]:
    """Start a cluster of so many nodes of one core: Ray's own ``Cluster``.

    Skips the test where this machine lets no node start, as some sandboxes do.
    """
    import ray
    from ray.cluster_utils import Cluster

    def start() -> Any:
        return Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})

    threads = ThreadPoolExecutor(1)
    try:
        cluster = threads.submit(start).result(_PATIENCE)
    except Exception as error:
        pytest.skip(f"Ray starts no node on this machine: {type(error).__name__}: {error}")
    finally:
        threads.shutdown(wait=False)
    try:
        for _ in range(count - 1):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()

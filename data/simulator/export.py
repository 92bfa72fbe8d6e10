"""A simulated world's inventory written to files, for the inventory source to read."""

from pathlib import Path

from data.simulator.telemetry import write_tables
from data.simulator.world import World


def write_inventory(world: World, out_dir: Path) -> None:
    """Write hosts.parquet, vms.parquet and entities.parquet as they are now, by `data.contracts.INVENTORY`."""
    write_tables(world.inventory(), out_dir)

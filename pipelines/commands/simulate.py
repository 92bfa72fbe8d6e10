"""Commands that make simulated worlds."""

from dataclasses import asdict
from datetime import date

from pipelines.commands.common import COMMON, Common, Day
from pipelines.output import Output


def fleet(
    *,
    hosts: int = 600,
    vms: int = 6_000,
    days: int = 120,
    start: Day = date(2026, 1, 1),
    seed: int = 7,
    acceleration: float = 10.0,
    disks_per_host: int = 8,
    dimms_per_host: int = 16,
    plant: tuple[str, ...] = (),
    common: Common = COMMON,
) -> Output:
    """A seeded fleet with ground truth: telemetry, inventory, and a world that carries orders out.

    Args:
        hosts: How many hosts.
        vms: How many VMs, aimed at.
        days: Days of telemetry.
        start: The first day.
        seed: The same seed gives the same fleet.
        acceleration: How many times as often as ordinary parts its parts fail.
        disks_per_host: Drives in each host.
        dimms_per_host: DIMMs in each host.
        plant: A shared cause, NAME=VALUE[+NAME=VALUE]*FACTOR@DAY: parts with that rack, power_feed, switch, firmware,
            kernel, hardware_model, model, part_firmware or lot fail FACTOR times as often from that day on. May be
            repeated.
        common: See every command.
    """
    from data.simulator.fleet import FleetSpec
    from data.simulator.plants import parse
    from pipelines.steps import simulate

    spec = FleetSpec(
        hosts=hosts,
        vms=vms,
        days=days,
        start=start,
        seed=seed,
        acceleration=acceleration,
        disks_per_host=disks_per_host,
        dimms_per_host=dimms_per_host,
        planted=tuple(parse(text) for text in plant),
    )
    return Output(asdict(simulate.fleet(common.settings(), spec)))


def overlay(
    *,
    on: Day,
    slots: int = 12,
    vms_per_host: float = 10.0,
    seed: int = 7,
    common: Common = COMMON,
) -> Output:
    """Simulated hosts and VMs on top of the drives that are held: placement is simulated, failures are real.

    Args:
        on: The day at whose end the simulated world begins.
        slots: Drives per host.
        vms_per_host: VMs per host, on average.
        seed: The same seed gives the same placement.
        common: See every command.
    """
    from data.simulator.overlay import OverlaySpec
    from pipelines.steps import simulate

    spec = OverlaySpec(seed=seed, slots=slots, vms_per_host=vms_per_host)
    return Output(asdict(simulate.overlay(common.settings(), on, spec)))

"""What smartctl prints as JSON for a drive of each kind, cut to what is read, in the shapes of smartmontools 7."""

from datetime import UTC, datetime
from typing import Any

READ_AT = datetime(2026, 1, 5, 2, 3, tzinfo=UTC)


def _printed(serial: str, protocol: str, at: datetime, exit_status: int) -> dict[str, Any]:
    return {
        "json_format_version": [1, 0],
        "smartctl": {"version": [7, 3], "argv": ["smartctl", "--json", "-x", "/dev/sda"], "exit_status": exit_status},
        "local_time": {"time_t": int(at.timestamp()), "asctime": f"{at:%c} UTC"},
        "device": {"name": "/dev/sda", "protocol": protocol},
        "serial_number": serial,
        "smart_status": {"passed": True},
    }


def ata(serial: str = "ZA1", *, at: datetime = READ_AT, exit_status: int = 0, **raw: int) -> dict[str, Any]:
    """A Seagate, which packs more into raw temperature and power-on time; `raw` overrides attributes, named `a5`."""
    told = {5: 8, 9: 0x2A0000_3039, 194: 0x10_0000_0022, 197: 1, 240: 7} | {int(k[1:]): v for k, v in raw.items()}
    shown = {9: "12345h+42m", 194: "34 (0 16 0 0 0)"}
    table = [{"id": n, "name": "x", "raw": {"value": v, "string": shown.get(n, str(v))}} for n, v in told.items()]
    return _printed(serial, "ATA", at, exit_status) | {
        "model_name": "ST4000DM000",
        "firmware_version": "CC52",
        "user_capacity": {"blocks": 7814037168, "bytes": 4000787030016},
        "ata_smart_attributes": {"revision": 10, "table": table},
        "power_on_time": {"hours": 12345, "minutes": 42},
        "temperature": {"current": 34},
    }


def nvme(serial: str = "NV1", *, at: datetime = READ_AT, exit_status: int = 0, **log: int) -> dict[str, Any]:
    """An NVMe drive; `log` overrides entries of its health log."""
    return _printed(serial, "NVMe", at, exit_status) | {
        "model_name": "INTEL SSDPE2KX080T8",
        "firmware_version": "VDV10131",
        "nvme_total_capacity": 8001563222016,
        "nvme_smart_health_information_log": {
            "critical_warning": 0, "temperature": 29, "available_spare": 100, "available_spare_threshold": 10,
            "percentage_used": 3, "data_units_read": 20, "data_units_written": 30, "power_cycles": 22,
            "power_on_hours": 12164, "unsafe_shutdowns": 8, "media_errors": 2, "num_err_log_entries": 5,
        } | log,
    }  # fmt: skip


def scsi(serial: str = "SC1", *, at: datetime = READ_AT) -> dict[str, Any]:
    """A SAS drive."""
    counters = {access: {"total_uncorrected_errors": n} for access, n in {"read": 3, "write": 1, "verify": 0}.items()}
    return _printed(serial, "SCSI", at, 0) | {
        "scsi_model_name": "TOSHIBA AL15SEB24EQY",
        "scsi_revision": "EF06",
        "user_capacity": {"blocks": 4688430768, "bytes": 2400476553216},
        "scsi_grown_defect_list": 6,
        "scsi_error_counter_log": counters,
        "scsi_start_stop_cycle_counter": {"accumulated_load_unload_cycles": 23491, "accumulated_start_stop_cycles": 82},
        "power_on_time": {"hours": 12437, "minutes": 29},
        "temperature": {"current": 32, "drive_trip": 65},
    }

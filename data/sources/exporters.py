"""What exporters' metrics mean: which entity a series speaks of, and what a step in it is.

- node exporter: corrected and uncorrected errors by csrow or DIMM (`node_edac_...`), failed disks of an array
  (`node_md_disks`), temperature of the host.
- DCGM exporter: the last Xid error, ECC errors, retired pages, remapped rows, temperature of each GPU.

smartctl_exporter's metrics are read by the day: see `data/sources/smart_series.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from data.sources.known import Known

Labels = Mapping[str, str]
GPU_LABELS: Final = ("Hostname", "UUID", "DCGM_FI_DEV_SERIAL", "gpu")


@dataclass(frozen=True)
class Named:
    """The entity that a series speaks of, and the part of it; or `unknown`, a word for why nobody knows it."""

    entity_id: str = ""
    part: str = ""
    unknown: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric, the labels that tell its entities apart, and what it becomes.

    `how`: `rise` makes an event of what a counter grew by; `change` of each new value that is not 0 of a gauge;
    `state` of each change, to 0 too; `peak` of the highest value of a day.
    """

    name: str
    component: str
    kind: str
    how: Literal["rise", "change", "state", "peak"]
    labels: Sequence[str]
    entity: Callable[[Known, str, Labels], Named]
    match: str = ""


def _csrow(known: Known, host: str, labels: Labels) -> Named:
    """A DIMM by controller and layers, as rasdaemon calls one whose label is not known."""
    del known
    row = labels.get("csrow", "")
    return Named(f"{host}/mc{labels.get('controller', '0')}/{row if row.isdigit() else -1}/-1/-1")


def _channel(known: Known, host: str, labels: Labels) -> Named:
    """A DIMM by the label of its slot, where the driver knows it."""
    layers = f"{host}/mc{labels.get('controller', '0')}/{labels.get('csrow')}/{labels.get('channel')}/-1"
    label = labels.get("dimm_label", "")
    return Named(known.part("memory", f"{host}/{label}", layers) if label not in {"", "unknown"} else layers)


def _gpu(known: Known, host: str, labels: Labels) -> Named:
    """A GPU by its serial number, where the exporter is set to tell it, or else by its UUID."""
    del host
    names = [labels[name] for name in ("DCGM_FI_DEV_SERIAL", "UUID") if labels.get(name)]
    return Named(known.part("gpu", *names)) if names else Named(unknown="no_serial_number")


def _node(known: Known, host: str, labels: Labels) -> Named:
    return Named(known.node(host), labels.get("device", ""))


_ROW: Final = ("controller", "csrow")
_SLOT: Final = (*_ROW, "channel", "dimm_label")
METRICS: Final = (
    Metric("node_edac_channel_correctable_errors_total", "memory", "ce", "rise", _SLOT, _channel),
    Metric("node_edac_channel_uncorrectable_errors_total", "memory", "ue", "rise", _SLOT, _channel),
    Metric("node_edac_csrow_correctable_errors_total", "memory", "ce", "rise", _ROW, _csrow),
    Metric("node_edac_csrow_uncorrectable_errors_total", "memory", "ue", "rise", _ROW, _csrow),
    Metric("node_md_disks", "node", "md_disks_failed", "state", ("device",), _node, 'state="failed"'),
    Metric("node_hwmon_temp_celsius", "node", "temperature_peak", "peak", (), _node),
    Metric("DCGM_FI_DEV_XID_ERRORS", "gpu", "xid", "change", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "gpu", "ecc_single_bit", "rise", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "gpu", "ecc_double_bit", "rise", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_RETIRED_SBE", "gpu", "retired_pages_single_bit", "rise", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_RETIRED_DBE", "gpu", "retired_pages_double_bit", "rise", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "gpu", "remapped_rows_corrected", "rise", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "gpu", "remapped_rows_uncorrected", "rise", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gpu", "row_remap_failure", "state", GPU_LABELS, _gpu),
    Metric("DCGM_FI_DEV_GPU_TEMP", "gpu", "temperature_peak", "peak", GPU_LABELS, _gpu),
)
BY_CHANNEL: Final = "node_edac_channel_"
BY_ROW: Final = "node_edac_csrow_"

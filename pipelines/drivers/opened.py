"""The driver that the settings name: each module here has an `opened(section, folder)`, which gives its driver."""

from importlib import import_module
from typing import Final

from data.errors import SettingsError
from pipelines.drivers import Driver
from pipelines.settings import Settings

STATE: Final = "drive"
"""Folder in the home in which drivers keep what back ends do not."""


def opened(settings: Settings) -> Driver:
    """The driver, ready for use.

    Raises:
        SettingsError: its library is not installed, or it is not told what to drive.
    """
    kind = settings.drive.kind
    if kind == "simulated":
        msg = 'drive.kind = "simulated" moves no real VMs: set it to "libvirt", "nova" or "kubevirt".'
        raise SettingsError(msg)
    folder = settings.home / STATE
    folder.mkdir(parents=True, exist_ok=True)
    try:
        driver: Driver = import_module(f"pipelines.drivers.{kind}").opened(getattr(settings.drive, kind), folder)
    except ModuleNotFoundError as error:
        msg = f"drive.kind = \"{kind}\" needs more packages: install Foreshock as 'foreshock[{kind}]' ({error})."
        raise SettingsError(msg) from error
    return driver

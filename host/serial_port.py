"""A serial port as a transport of the host. No Amaranth here."""

from __future__ import annotations

import errno
import os
from typing import Any

from ..compiler.errors import CheckError, InputError, MissingToolError

__all__ = ["SerialPort", "ports"]

LONGEST = 260  # bytes of a frame on the line


class SerialPort:
    """A serial port, 8N1 without handshake; see :class:`.session.Transport`.

    Parameters
    ----------
    name : str
        Such as ``/dev/ttyUSB1`` or ``COM3``.
    baud : int
        That of the board's bitstream.

    Raises
    ------
    MissingToolError
        pyserial is not installed.
    InputError
        There is no such port, it may not be opened, or another program has it.
    """

    def __init__(self, name: str, baud: int) -> None:
        try:
            import serial
        except ImportError:
            raise MissingToolError(
                "pyserial is not installed: pip install 'gatewright[host]'"
            ) from None
        self.name = name
        # USB bridges hold bytes back for up to 16 ms; slow rates take longer for a frame.
        self.silence = max(0.1, 3 * LONGEST * 10 / baud)
        self._error = serial.SerialException
        try:
            self._port: Any = serial.Serial(name, baud, timeout=0, write_timeout=5, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            raise InputError(_reason(name, baud, error)) from error

    def _lost(self, error: Exception) -> CheckError:
        return CheckError(
            f"{self.name}: the port was lost ({error}); plug the board in again and repeat the command"
        )

    def write(self, data: bytes) -> None:
        """Send bytes; return when the system has taken them."""
        try:
            self._port.write(data)
        except (self._error, OSError) as error:
            raise self._lost(error) from error

    def read(self, timeout: float) -> bytes:
        """Return what has come, waiting for one byte at least."""
        try:
            self._port.timeout = timeout
            data: bytes = self._port.read(1) if timeout else b""
            return data + self._port.read(self._port.in_waiting)
        except (self._error, OSError, TypeError) as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _reason(name: str, baud: int, error: Exception) -> str:
    """Say why a port cannot be opened, and the way out."""
    code = getattr(error, "errno", None)
    if code == errno.ENOENT or not (os.name == "nt" or os.path.exists(name)):
        found = ", ".join(ports()) or "none"
        return f"{name}: there is no such port; found: {found}. Is the board plugged in?"
    if code == errno.EACCES or "denied" in str(error):
        return (
            f"{name}: no permission to open the port; add yourself to the group that owns it (on Linux: sudo "
            "usermod -aG dialout $USER, then log in again), or close the program that uses it"
        )
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK) or "lock" in str(error):
        return f"{name}: another program uses the port; close it"
    return f"{name} cannot be opened at {baud} baud: {error}; name a serial port, see --help"


def ports() -> list[str]:
    """Return the serial ports of this machine."""
    from serial.tools.list_ports import comports

    return sorted(port.device for port in comports())

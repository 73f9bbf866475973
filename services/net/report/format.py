"""How Linux prints addresses in /proc/net."""

from __future__ import annotations


def words_of(address: bytes) -> str:
    """An address as 32-bit words in the machine's order."""
    return "".join(
        f"{int.from_bytes(address[at : at + 4], 'little'):08X}" for at in range(0, len(address), 4)
    )


def endpoint(where: tuple[bytes, int] | None, wide: bool) -> str:
    """Address and port for a table of IPv6 (`wide`) or IPv4; None: not connected."""
    address, port = where or (bytes(4), 0)
    if wide and len(address) == 4:
        address = bytes(10) + b"\xff\xff" + address if any(address) else bytes(16)
    elif not wide and len(address) == 16:
        address = bytes(4)
    return f"{words_of(address)}:{port:04X}"

"""Does a master in packet mode learn what happens at the slave, once, and only when it asks?"""

from __future__ import annotations

from services.proc.tty import packet
from services.proc.tty import termios as t
from services.proc.tty.packet import Packets

CC = bytearray(19)
CC[t.VSTART], CC[t.VSTOP] = packet.CTRL_Q, packet.CTRL_S


def settings(iflag: int = t.IXON, lflag: int = 0, stop: int = packet.CTRL_S) -> t.Termios:
    cc = bytearray(CC)
    cc[t.VSTOP] = stop
    return t.Termios(iflag, 0, 0, lflag, cc=bytes(cc))


def listening() -> Packets:
    packets = Packets()
    packets.switch(True)
    return packets


def test_nothing_is_kept_while_nobody_listens() -> None:
    packets = Packets()
    assert not packets.tell(packet.FLUSHREAD)
    packets.switch(True)
    assert packets.take() == b""


def test_news_add_up_and_are_told_once() -> None:
    packets = listening()
    assert packets.tell(packet.FLUSHREAD)
    assert packets.tell(packet.FLUSHWRITE)
    assert (packets.take(), packets.take()) == (b"\x03", b"")


def test_the_last_of_stop_and_start_counts() -> None:
    packets = listening()
    assert packets.output_is(stopped=True)
    assert not packets.output_is(stopped=True), "that is no news"
    assert packets.output_is(stopped=False)
    assert packets.take() == bytes((packet.START,))


def test_other_keys_than_the_usual_mean_no_flow_control() -> None:
    packets = listening()
    assert packets.settings(settings(), settings(stop=1))
    assert packets.take() == bytes((packet.NOSTOP,))
    assert packets.settings(settings(iflag=0), settings())
    assert packets.take() == bytes((packet.DOSTOP,))
    assert not packets.settings(settings(), settings())


def test_external_processing_tells_of_every_change() -> None:
    packets = listening()
    assert packets.settings(settings(lflag=t.EXTPROC), settings())
    assert packets.take() == bytes((packet.IOCTL,))

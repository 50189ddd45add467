# SPDX-License-Identifier: GPL-2.0
"""The host's end of network cards, and the files of frames that guestctl reads and writes."""

import socket
import unittest

from ..guest.pci import Machine
from ..scenario.cases import virtio_net
from ..vm.nic import HEADER, Nic, NicError, frame, pack, unpack

HOST, GUEST = "52:54:00:00:00:01", "52:54:00:00:00:02"


class Frames(unittest.TestCase):
    """frame(), pack() and unpack()"""

    def test_frame(self):
        """Addresses, type, and what it carries."""
        one = frame(GUEST, HOST, b"hello")
        self.assertEqual(one.hex(), "525400000002525400000001" "88b5" "68656c6c6f")

    def test_file(self):
        """What is packed is unpacked; what is not complete is left out."""
        frames = [bytes([number]) * size for number, size in enumerate((1, 300, 5000))]
        data = pack(frames)
        self.assertEqual(unpack(data), frames)
        self.assertEqual(unpack(data[:-1]), frames[:2])
        self.assertEqual(unpack(data[:1]), [])
        self.assertEqual(unpack(b""), [])

    def test_numbered(self):
        """Each is like no other, and of the size that was asked for."""
        frames = {virtio_net.numbered(number, GUEST, HOST, 100) for number in range(10)}
        self.assertEqual((len(frames), {len(one) for one in frames}), (10, {100}))


class Card:
    """What QEMU does with the sockets."""

    def __init__(self, nic):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(nic.card))
        self.socket.settimeout(5)
        self._host = str(nic.path)

    def send(self, data):
        """A frame of the guest."""
        self.socket.sendto(data, self._host)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Sockets(unittest.TestCase):
    """Nic"""

    def test_both_ways(self):
        """What is sent arrives, as it was; what arrives is kept, but for what others send."""
        with Nic() as nic, Card(nic) as card:
            nic.send(frame(GUEST, HOST, b"ping" * 1000))
            self.assertEqual(card.socket.recv(1 << 16), frame(GUEST, HOST, b"ping" * 1000))
            card.send(bytes(60))
            card.send(frame(HOST, GUEST, b"one"))
            card.send(frame(HOST, GUEST, b"two"))
            self.assertEqual([one[HEADER:] for one in nic.wait(2)], [b"one", b"two"])
            with self.assertRaises(NicError):
                nic.wait(3, timeout=0.1)

    def test_pause(self):
        """A host that does not read takes nothing until it does again, and loses nothing."""
        with Nic() as nic, Card(nic) as card:
            nic.pause()
            card.socket.setblocking(False)
            count = 0
            try:
                while count < 10000:
                    card.send(frame(HOST, GUEST, b"%d" % count))
                    count += 1
            except BlockingIOError:
                pass
            self.assertLess(count, 10000)
            self.assertEqual(nic.frames(), [])
            nic.resume()
            self.assertEqual([one[HEADER:] for one in nic.wait(count)],
                             [b"%d" % number for number in range(count)])

    def test_refused(self):
        """A card that is not there, or that takes nothing, is told."""
        with Nic() as nic:
            with self.assertRaises(NicError):
                nic.send(b"x")
            with Card(nic), self.assertRaises(NicError):
                for _ in range(10000):
                    nic.send(bytes(60), timeout=0.2)

    def test_arguments(self):
        """QEMU is told of both sockets, and of no boot ROM."""
        with Nic() as nic:
            words = Machine().nic("nic0", nic, host_mtu=9000).arguments()
            self.assertIn(f"dgram,id=nic0.net,local.type=unix,local.path={nic.card},"
                          f"remote.type=unix,remote.path={nic.path}", words)
            self.assertIn("virtio-net-pci,id=nic0,bus=nic0.port,netdev=nic0.net,"
                          f"mac={nic.mac},romfile=,host_mtu=9000", words)


if __name__ == "__main__":
    unittest.main()

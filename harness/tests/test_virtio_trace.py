# SPDX-License-Identifier: GPL-2.0
"""Lines of QEMU's trace that are about virtio devices; the host's end of chardevs."""

import socket
import unittest

from ..common.run import HarnessError
from ..vm import virtio_trace as vt
from ..vm.chardev import Chardev, ChardevError, Egd

OLD = "24612@1795662957.639274:virtio_set_status vdev 0x55d0c0ffee00 val 15"
NEW = "2026-11-26T03:15:57.639274Z virtio_set_status vdev 0x55d0c0ffee00 val 0"


class Lines(unittest.TestCase):
    """parse_line()"""

    def test_status(self):
        """With both kinds of prefix."""
        self.assertEqual(vt.parse_line(OLD), vt.Event("status", "0x55d0c0ffee00", 15))
        self.assertEqual(vt.parse_line(NEW), vt.Event("status", "0x55d0c0ffee00", 0))

    def test_others(self):
        """Each has a device or a port, and a value."""
        for line, want in (
                ("virtio_queue_notify vdev 0x1 n 3 vq 0x2", ("notify", "0x1", 3)),
                ("virtio_rng_pushed rng 0x1: 64 bytes pushed", ("pushed", "0x1", 64)),
                ("virtio_blk_handle_write vdev 0x1 req 0x2 sector 8 nsectors 128",
                 ("write", "0x1", 8)),
                ("virtio_blk_req_complete vdev 0x1 req 0x2 status 0",
                 ("complete", "0x1", 0)),
                ("virtqueue_fill vq 0x1 elem 0x2 len 312 idx 0", ("filled", "0x1", 312)),
                ("virtio_console_chr_read port 2, size 100", ("read", "2", 100)),
                ("virtio_serial_handle_control_message event 6, value 1",
                 ("message", "6", 1))):
            self.assertEqual(vt.parse_line("1@2.3:" + line), vt.Event(*want))

    def test_foreign(self):
        """What nobody asks for is nothing; what looks otherwise than known is an error."""
        for line in ("", "1@2.3:pci_cfg_write edu 01:00.0 @0x10 <- 0x0",
                     "1@2.3:virtio_serial_handle_control_message_port port 1"):
            self.assertIsNone(vt.parse_line(line))
        with self.assertRaises(HarnessError):
            vt.parse_line("1@2.3:virtio_set_status device 0x1 val 15")

    def test_values(self):
        """Of one kind and device, in their order."""
        events = [vt.parse_line(line) for line in (OLD, NEW)]
        self.assertEqual(vt.values(events, "status", "0x55d0c0ffee00"), [15, 0])
        self.assertEqual(vt.values(events, "status", "0x1"), [])

    def test_written(self):
        """What QEMU repeats when the machine stops and goes on is no write."""
        stop = "1@2.3:runstate_set current_run_state 9 (running) new_state 4 (paused)"
        events = [vt.parse_line(line) for line in (OLD, stop, OLD, OLD, NEW, stop, OLD)]
        self.assertEqual(vt.written(events, "0x55d0c0ffee00"), [15, 15, 0])
        self.assertEqual(vt.written(events, "0x1"), [])


class Sockets(unittest.TestCase):
    """Chardev and Egd"""

    def test_both_ways(self):
        """What is sent arrives, what arrives is kept."""
        with Chardev() as chardev, socket.socket(socket.AF_UNIX) as client:
            with self.assertRaises(ChardevError):
                chardev.send(b"nobody")
            client.connect(str(chardev.path))
            client.sendall(b"hello")
            self.assertEqual(chardev.wait(5), b"hello")
            chardev.send(b"there")
            self.assertEqual(client.recv(16), b"there")
            with self.assertRaises(ChardevError):
                chardev.wait(6, timeout=0.01)

    def test_requests(self):
        """Requests of entropy, and what is none."""
        with Egd() as egd, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(egd.path))
            client.sendall(b"\x02\x40\x02\x20")
            egd.wait_requests(2)
            self.assertEqual(egd.requests(), [64, 32])
            client.sendall(b"\x01\x00")
            egd.wait_requests(3)
            with self.assertRaises(ChardevError):
                egd.requests()


if __name__ == "__main__":
    unittest.main()

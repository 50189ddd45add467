# SPDX-License-Identifier: GPL-2.0
"""XXH64, the checksum of what is handed over, from its definition."""

MASK = (1 << 64) - 1
PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
          0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _rotate(value, bits):
    return (value << bits | value >> 64 - bits) & MASK


def _mix(value, lane):
    return _rotate((value + lane * PRIMES[1]) & MASK, 31) * PRIMES[0] & MASK


def xxh64(data, seed=0):
    """The checksum of some bytes."""
    lanes = [(seed + PRIMES[0] + PRIMES[1]) & MASK, (seed + PRIMES[1]) & MASK, seed,
             (seed - PRIMES[0]) & MASK]
    at = 0
    while len(data) - at >= 32:
        for i in range(4):
            lanes[i] = _mix(lanes[i], int.from_bytes(data[at:at + 8], "little"))
            at += 8
    found = (seed + PRIMES[4]) & MASK
    if at:
        found = sum(map(_rotate, lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            found = ((found ^ _mix(0, lane)) * PRIMES[0] + PRIMES[3]) & MASK
    found = (found + len(data)) & MASK
    for size, first, bits, second, third in ((8, None, 27, 0, 3), (4, 0, 23, 1, 2),
                                             (1, 4, 11, 0, None)):
        while len(data) - at >= size:
            lane = int.from_bytes(data[at:at + size], "little")
            found ^= _mix(0, lane) if first is None else lane * PRIMES[first] & MASK
            found = _rotate(found, bits) * PRIMES[second] & MASK
            found = (found + (0 if third is None else PRIMES[third])) & MASK
            at += size
    for bits, prime in ((33, 1), (29, 2), (32, None)):
        found ^= found >> bits
        found = found if prime is None else found * PRIMES[prime] & MASK
    return found

"""Computing, and nothing else."""
def sieve(n):
    s = bytearray([1]) * (n + 1); s[0:2] = b"\0\0"
    for i in range(2, int(n ** 0.5) + 1):
        if s[i]: s[i * i::i] = bytes(len(range(i * i, n + 1, i)))
    return sum(s)
def queens(n, row=0, cols=0, d1=0, d2=0):
    if row == n: return 1
    free, count = ~(cols | d1 | d2) & ((1 << n) - 1), 0
    while free:
        bit = free & -free; free ^= bit; count += queens(n, row + 1, cols | bit, (d1 | bit) << 1, (d2 | bit) >> 1)
    return count
print(sieve(2_000_000), queens(9))
x = 0.5
for i in range(2_000_000): x = 3.9999 * x * (1 - x)
print(repr(x), pow(3, 100003, 10 ** 50))
print("python done")

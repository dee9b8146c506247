// Finds the number for which SHA-256(salt + number) is the challenge. Written out, because crypto.subtle answers one
// promise per hash (slow for tens of thousands) and is missing on plain http.

const K = new Int32Array(64);
const START = new Int32Array(8);
for (let n = 2, found = 0; found < 64; n += 1) {
  let prime = true;
  for (let d = 2; d * d <= n; d += 1) if (n % d === 0) prime = false;
  if (!prime) continue;
  if (found < 8) START[found] = fraction(Math.sqrt(n));
  K[found] = fraction(Math.cbrt(n));
  found += 1;
}

function fraction(x) {
  return ((x - Math.floor(x)) * 0x100000000) | 0;
}

const W = new Int32Array(64);
const rotate = (x, by) => (x >>> by) | (x << (32 - by));

function block(H, bytes, at) {
  for (let t = 0; t < 16; t += 1) {
    const i = at + t * 4;
    W[t] = (bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3];
  }
  for (let t = 16; t < 64; t += 1) {
    const p = W[t - 15];
    const q = W[t - 2];
    const s0 = rotate(p, 7) ^ rotate(p, 18) ^ (p >>> 3);
    const s1 = rotate(q, 17) ^ rotate(q, 19) ^ (q >>> 10);
    W[t] = (W[t - 16] + s0 + W[t - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = H;
  for (let t = 0; t < 64; t += 1) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const one = (h + s1 + ((e & f) ^ (~e & g)) + K[t] + W[t]) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g; g = f; f = e; e = (d + one) | 0;
    d = c; c = b; b = a; a = (one + two) | 0;
  }
  H[0] += a; H[1] += b; H[2] += c; H[3] += d;
  H[4] += e; H[5] += f; H[6] += g; H[7] += h;
}

// The 32 bytes of the digest as eight signed words. `bytes` is the message.
export function sha256(bytes) {
  const padded = new Uint8Array((((bytes.length + 8) >> 6) + 1) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  new DataView(padded.buffer).setUint32(padded.length - 4, bytes.length * 8);
  const H = START.slice();
  for (let at = 0; at < padded.length; at += 64) block(H, padded, at);
  return H;
}

export function find({ challenge, salt, maxnumber }) {
  const text = new TextEncoder();
  const wanted = new Int32Array(8);
  for (let i = 0; i < 8; i += 1) wanted[i] = parseInt(challenge.slice(i * 8, i * 8 + 8), 16) | 0;
  for (let number = 0; number <= maxnumber; number += 1) {
    const got = sha256(text.encode(salt + number));
    if (got[0] === wanted[0] && got.every((word, i) => word === wanted[i])) return number;
  }
  return null;
}

if (typeof document === 'undefined') onmessage = ({ data }) => postMessage(find(data));

/** Bytes that options give in hexadecimal digits. */

export function bytesOf(hexText: string): Buffer {
  return Buffer.from(hexText.replaceAll(' ', ''), 'hex');
}

export function startsWith(bytes: Buffer, at: number, marker: Buffer): boolean {
  for (let i = 0; i < marker.length; i++) if (bytes[at + i] !== marker[i]) return false;
  return true;
}

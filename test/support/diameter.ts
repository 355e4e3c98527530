/** Writes and reads Diameter (RFC 6733) for tests, without vendor-specific AVPs. */

export const creditControl = 272;
export const capabilitiesExchange = 257;
export const deviceWatchdog = 280;

export const sessionId = 263;
export const originHost = 264;
export const resultCode = 268;
export const routeRecord = 282;
export const destinationHost = 293;

export type Avp = readonly [code: number, data: string | number];

/** Its End-to-End id is 1000 more than its Hop-by-Hop id. */
export function diameterOf(flags: number, command: number, id: number, ...avps: Avp[]): Buffer {
  const parts = avps.map(([code, data]) => {
    const text = typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.toString(16).padStart(8, '0'), 'hex');
    const avp = Buffer.alloc(8 + Math.ceil(text.length / 4) * 4);
    avp.writeUInt32BE(code);
    avp.writeUInt32BE(0x4000_0000 + 8 + text.length, 4);
    text.copy(avp, 8);
    return avp;
  });
  const header = Buffer.alloc(20);
  header.writeUInt32BE(0x0100_0000 + 20 + Buffer.concat(parts).length);
  header.writeUInt32BE(flags * 0x100_0000 + command, 4);
  header.writeUInt32BE(id, 12);
  header.writeUInt32BE(id + 1000, 16);
  return Buffer.concat([header, ...parts]);
}

/** What the bytes say: each message as its flags, command and Hop-by-Hop id, and its AVPs by code. */
export function readDiameter(bytes: Buffer) {
  const messages = [];
  for (let start = 0; start < bytes.length; start += bytes.readUIntBE(start + 1, 3)) {
    const message = bytes.subarray(start, start + bytes.readUIntBE(start + 1, 3));
    const avps: Record<number, string | number> = {};
    for (let at = 20; at < message.length; ) {
      const length = message.readUIntBE(at + 5, 3);
      const code = message.readUInt32BE(at);
      avps[code] = code === resultCode ? message.readUInt32BE(at + 8) : message.toString('latin1', at + 8, at + length);
      at += Math.ceil(length / 4) * 4;
    }
    const [flags, command, id] = [message[4], message.readUIntBE(5, 3), message.readUInt32BE(12)];
    messages.push({ flags, command, id, endToEnd: message.readUInt32BE(16), avps });
  }
  return messages;
}

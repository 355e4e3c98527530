/**
 * The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): the first bytes of a connection say whom a proxy speaks for.
 * Read on listeners that trust the proxy, written on links to backends that want to know the client.
 */
import { createRequire } from 'node:module';
import net from 'node:net';
import type IpAddr from 'ipaddr.js';
import type { Ends } from './runtime.ts';

export interface ProxyHeader {
  /** How many bytes the header takes. */
  readonly length: number;
  /** Undefined: the proxy speaks for itself, as in a health check, or does not know. */
  readonly ends: Ends | undefined;
}

export type ProxyProtocolVersion = 'v1' | 'v2';

let loaded: typeof IpAddr | undefined;

/** Loaded when it is needed: few configs speak the PROXY protocol. */
function ipaddr(): typeof IpAddr {
  loaded ??= createRequire(import.meta.url)('ipaddr.js') as typeof IpAddr;
  return loaded;
}

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const firstWord = Buffer.from('PROXY ', 'latin1');
/** The longest line of version 1, with its line break (section 2.1). */
const longestLine = 107;
const fixedBytes = 16;
const line =
  /^PROXY (?:UNKNOWN(?: [^\r\n]*)?|(TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))\r\n$/;

/**
 * Reads a header at the beginning of a connection.
 * @param bytes what has come so far
 * @returns the header, or `more` if the rest of it is still to come
 * @throws SyntaxError if it is none
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader | 'more' {
  if (begins(bytes, signature)) return bytes.length < fixedBytes ? 'more' : readBinary(bytes);
  if (begins(bytes, firstWord)) return readLine(bytes);
  throw new SyntaxError('the connection does not begin with a PROXY protocol header');
}

/** Whether the bytes begin as `mark` does, as far as they go. */
function begins(bytes: Buffer, mark: Buffer): boolean {
  const length = Math.min(bytes.length, mark.length);
  return bytes.compare(mark, 0, length, 0, length) === 0;
}

function readLine(bytes: Buffer): ProxyHeader | 'more' {
  const end = bytes.indexOf('\r\n');
  if (end < 0 && bytes.length < longestLine) return 'more';
  const length = end + 2;
  const match = end < 0 || length > longestLine ? null : line.exec(bytes.toString('latin1', 0, length));
  if (match === null) throw new SyntaxError('the PROXY protocol header is broken');
  const [, family, remoteAddress = '', localAddress = '', remotePort, localPort] = match;
  if (family === undefined) return { length, ends: undefined };
  const version = family === 'TCP4' ? 4 : 6;
  const isSound = net.isIP(remoteAddress) === version && net.isIP(localAddress) === version;
  if (!isSound || Number(remotePort) > 65_535 || Number(localPort) > 65_535) {
    throw new SyntaxError('the PROXY protocol header has an address that is none');
  }
  const ends = {
    remoteAddress: canonical(remoteAddress),
    remotePort: Number(remotePort),
    localAddress: canonical(localAddress),
    localPort: Number(localPort),
  };
  return { length, ends };
}

function readBinary(bytes: Buffer): ProxyHeader | 'more' {
  const versionAndCommand = bytes[12]!;
  const length = fixedBytes + bytes.readUInt16BE(14);
  const command = versionAndCommand & 0x0f;
  if (versionAndCommand >> 4 !== 2 || command > 1) throw new SyntaxError('the PROXY protocol header is broken');
  if (bytes.length < length) return 'more';
  // Streams and datagrams of one family have the same addresses; what is behind them, we have no use for.
  const family = bytes[13]! >> 4;
  const addressBytes = family === 1 ? 4 : family === 2 ? 16 : 0;
  if (command === 0 || addressBytes === 0) return { length, ends: undefined };
  if (length < fixedBytes + 2 * addressBytes + 4) throw new SyntaxError('the PROXY protocol header is too short');
  const ports = fixedBytes + 2 * addressBytes;
  const ipAt = (start: number) =>
    canonical(
      ipaddr()
        .fromByteArray([...bytes.subarray(start, start + addressBytes)])
        .toString(),
    );
  const ends = {
    remoteAddress: ipAt(fixedBytes),
    localAddress: ipAt(fixedBytes + addressBytes),
    remotePort: bytes.readUInt16BE(ports),
    localPort: bytes.readUInt16BE(ports + 2),
  };
  return { length, ends };
}

/** As Node.js writes it; an IPv4 address in its own form, though it came as an IPv6 one. */
const canonical = (address: string) => ipaddr().process(address).toString();

/**
 * Writes a header.
 * @param ends undefined, or without addresses: we speak for ourselves
 */
export function writeProxyHeader(version: ProxyProtocolVersion, ends: Ends | undefined): Buffer {
  const remote = net.isIP(ends?.remoteAddress ?? '');
  const local = net.isIP(ends?.localAddress ?? '');
  if (ends === undefined || remote === 0 || local === 0) {
    if (version === 'v1') return Buffer.from('PROXY UNKNOWN\r\n', 'latin1');
    return Buffer.concat([signature, Buffer.from([0x20, 0, 0, 0])]);
  }
  // Both addresses are of one family; an IPv4 address has a form in the other.
  const isIpv4 = remote === 4 && local === 4;
  const inFamily = (text: string) => {
    const address = ipaddr().parse(text.replace(/%.*/, '')); // without its zone
    return isIpv4 || !(address instanceof ipaddr().IPv4) ? address : address.toIPv4MappedAddress();
  };
  const [from, to] = [inFamily(ends.remoteAddress), inFamily(ends.localAddress)];
  if (version === 'v1') {
    const family = isIpv4 ? 'TCP4' : 'TCP6';
    return Buffer.from(`PROXY ${family} ${from} ${to} ${ends.remotePort} ${ends.localPort}\r\n`, 'latin1');
  }
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(ends.remotePort, 0);
  ports.writeUInt16BE(ends.localPort, 2);
  const addresses = Buffer.concat([Buffer.from(from.toByteArray()), Buffer.from(to.toByteArray()), ports]);
  return Buffer.concat([signature, Buffer.from([0x21, isIpv4 ? 0x11 : 0x21, 0, addresses.length]), addresses]);
}

/** Addresses as configs write them: `tcp://host:port`, `tls://host:port`, `unix:/path`. */

type Transport = 'tcp' | 'tls' | 'unix';

export interface Address {
  readonly transport: Transport;
  /** A host name, IPv4 or IPv6 address without brackets; empty for unix sockets. */
  readonly host: string;
  /** 0 to 65535 (0: any free port, for listeners); 0 for unix sockets. */
  readonly port: number;
  /** The path of a unix socket; else empty. */
  readonly path: string;
}

/** Schemes of the config format that this version does not speak yet. */
const later = new Set(['udp', 'ws', 'wss', 'fd']);

const hostAndPort = /^(?:\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;

/**
 * Reads an address.
 * @throws SyntaxError that says what an address looks like
 */
export function parseAddress(text: string): Address {
  const scheme = /^([a-z]+):/.exec(text)?.[1];
  if (scheme === 'unix') {
    const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (path === '') throw new SyntaxError(`"${text}" has no path; write unix:/run/name.sock`);
    return { transport: 'unix', host: '', port: 0, path };
  }
  if (scheme === 'tcp' || scheme === 'tls') {
    const match = hostAndPort.exec(text.slice(scheme.length + 1).replace(/^\/\//, ''));
    const port = Number(match?.[3]);
    if (match === null || port > 65_535) {
      throw new SyntaxError(`"${text}" is no address; write ${scheme}://host:port, an IPv6 host as [::1]`);
    }
    return { transport: scheme, host: match[1] ?? match[2] ?? '', port, path: '' };
  }
  if (scheme !== undefined && later.has(scheme)) {
    throw new SyntaxError(`"${text}": this version does not speak ${scheme}; it speaks tcp, tls and unix`);
  }
  throw new SyntaxError(`"${text}" is no address; write tcp://host:port, tls://host:port or unix:/path`);
}

/** Writes an address as configs do. */
export function formatAddress(address: Address): string {
  if (address.transport === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${address.transport}://${host}:${address.port}`;
}

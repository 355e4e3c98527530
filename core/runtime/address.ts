/**
 * Addresses as configs write them: `tcp://host:port`, `tls://…`, `udp://…`, `ws://host:port/path`, `wss://…`, `unix:/path`, and
 * `fd://3` or `fd://name` for a listening TCP socket that the process has been given.
 */

type Transport = 'tcp' | 'tls' | 'udp' | 'ws' | 'wss' | 'unix';

export interface Address {
  readonly transport: Transport;
  /** A host name, IPv4 or IPv6 address without brackets; empty for unix sockets. */
  readonly host: string;
  /** 0 to 65535 (0: any free port, for listeners); 0 for unix sockets. */
  readonly port: number;
  /** The path of a unix socket; of a WebSocket: that of its URL, empty for any; else empty. */
  readonly path: string;
  /** The file descriptor of a socket that listens already, or its name (LISTEN_FDNAMES). Undefined: the address is opened. */
  readonly fd?: string;
}

/** Transports that are secured with a certificate. */
export function isSecure({ transport }: Address): boolean {
  return transport === 'tls' || transport === 'wss';
}

export function isWebSocket({ transport }: Address): boolean {
  return transport === 'ws' || transport === 'wss';
}

/** Transports that bring messages one by one, and not a stream of bytes. */
export function delimits(address: Address): boolean {
  return address.transport === 'udp' || isWebSocket(address);
}

const hostAndPort = /^(?:\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?)\]|([A-Za-z0-9._-]+)):(\d{1,5})(\/[!-~]*)?$/;

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
  if (isWithHost(scheme)) {
    const match = hostAndPort.exec(text.slice(scheme.length + 1).replace(/^\/\//, ''));
    const [, bracketed, bare, port, path = ''] = match ?? [];
    const hasPath = scheme === 'ws' || scheme === 'wss';
    if (Number(port) > 65_535) throw new SyntaxError(`"${text}" is no address: ports end at 65535`);
    if (match === null || (path !== '' && !hasPath)) {
      throw new SyntaxError(`"${text}" is no address; write ${scheme}://host:port, an IPv6 host as [::1]`);
    }
    return { transport: scheme, host: bracketed ?? bare ?? '', port: Number(port), path };
  }
  if (scheme === 'fd') {
    const [, fd] = /^fd:\/\/([A-Za-z0-9._-]+)$/.exec(text) ?? [];
    if (fd === undefined) throw new SyntaxError(`"${text}" is no file descriptor; write fd://3 or fd://name`);
    return { transport: 'tcp', host: '', port: 0, path: '', fd };
  }
  throw new SyntaxError(`"${text}" is no address; write tcp://host:port, tls://host:port or unix:/path`);
}

function isWithHost(scheme: string | undefined): scheme is Exclude<Transport, 'unix'> {
  return scheme !== undefined && ['tcp', 'tls', 'udp', 'ws', 'wss'].includes(scheme);
}

/** The IP address of a peer: a socket that listens on :: sees IPv4 peers as mapped addresses, but they are the same peers. */
export function plainIp(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}

/** Writes an address as configs do. */
export function formatAddress(address: Address): string {
  if (address.fd !== undefined) return `fd://${address.fd}`;
  if (address.transport === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${address.transport}://${host}:${address.port}${address.path}`;
}

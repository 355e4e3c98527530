/**
 * Who may use the admin API: decided by where it listens, by tokens and by certificates; and what browsers must not be tricked
 * into.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { type ServerAddress, serverAddress } from 'pointsman';

export interface AccessOptions {
  readonly listen: string;
  readonly token?: string;
  readonly tls?: { readonly certificate: string; readonly key: string; readonly ca?: string };
  readonly hosts: readonly string[];
}

/**
 * Makes sure that nobody is let in by accident.
 * @throws Error that begins with the name of the option at fault
 */
export function checkAccess({ listen, token, tls }: AccessOptions): void {
  if (tls !== undefined) checkTls(tls);
  let address: ServerAddress;
  try {
    address = serverAddress(listen);
  } catch (error) {
    throw new Error(`listen: ${(error as Error).message}`);
  }
  if ('path' in address) return;
  const { host, port } = address;
  if (!isLoopback(host) && token === undefined && tls?.ca === undefined) {
    throw new Error(
      `listen: others can reach "${listen}"; give a "token" or "tls.ca", or listen on tcp://127.0.0.1:${port} or unix:/path`,
    );
  }
}

function checkTls({ certificate, key, ca }: NonNullable<AccessOptions['tls']>): void {
  try {
    process.getBuiltinModule('node:tls').createSecureContext({ cert: certificate, key, ca });
  } catch (error) {
    throw new Error(`tls: these certificates and keys cannot be used: ${(error as Error).message}`);
  }
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === 'localhost' : loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

/** Whether a token is the right one, in a time that does not depend on how much of it is right. */
export function tokenCheck(token: string | undefined): (given: string | undefined) => boolean {
  if (token === undefined) return () => true;
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const right = digest(token);
  return (given) => timingSafeEqual(digest(given ?? ''), right);
}

/** The part of a request that says who sends it, and from where. */
export interface Sender {
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly fetchSite: string | undefined;
}

/**
 * Why a request is refused that a page from elsewhere may have made a browser send; undefined if it is not. A page whose name has
 * been made to resolve to our address (DNS rebinding) is recognised by the Host header: an address or `localhost` cannot be made
 * to. One from another site is recognised by what browsers say about it.
 */
export function whyForeign({ host, origin, fetchSite }: Sender, hosts: readonly string[]): string | undefined {
  const name = nameOf(host);
  const isOurs = name === 'localhost' || isIP(name) !== 0 || hosts.some((each) => each.toLowerCase() === name);
  if (!isOurs) return `it is not called "${name}"; name that in the option "hosts" if it is`;
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') return 'another site asks for it';
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase()) return 'a page from elsewhere asks for it';
  return undefined;
}

const hostOf = (origin: string) => (URL.canParse(origin) ? new URL(origin).host : undefined);

/** The name or address in a Host header. */
const nameOf = (host = '') => {
  const [, bracketed, bare = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host) ?? [];
  return (bracketed ?? bare).toLowerCase();
};

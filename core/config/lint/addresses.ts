/** Checks addresses: that none is taken twice, that no listener feeds itself, and that peers can reach those they are told. */
import { type Address, formatAddress, parseAddress } from '../../runtime/address.ts';
import type { ListenerSettings, PluginUse, PoolSettings } from '../../settings.ts';
import type { Draft } from '../build.ts';
import { formatPlace } from '../locate.ts';
import type { Path } from '../path.ts';
import { observerPath } from './places.ts';

/** No two listeners or observers can open the same address. */
export function lintAddresses(
  draft: Draft,
  listeners: readonly ListenerSettings[],
  observers: readonly PluginUse[],
): void {
  const { findings, locator } = draft;
  const places: { what: string; path: Path; listen: Address }[] = [
    ...listeners.map(({ name, listen }) => ({
      what: `listener "${name}"`,
      path: ['listeners', name, 'listen'],
      listen,
    })),
    ...observers.flatMap((use) => {
      const listen = observedAt(use);
      const what = `observer "${use.plugin.name}"`;
      return listen === undefined ? [] : { what, path: [...observerPath(draft, use), 'listen'], listen };
    }),
  ];
  for (const [index, { path, listen }] of places.entries()) {
    const twin = places.slice(0, index).find((other) => collide(other.listen, listen));
    if (twin === undefined) continue;
    const { source, valueOffset } = locator.find(twin.path);
    const message = `${formatAddress(listen)} is taken by ${twin.what} (${formatPlace(source, valueOffset)})`;
    findings.add(path, { rule: 'address-taken', stage: 'lint', message });
  }
}

/** The address of an observer's server, by convention in its option `listen`. */
function observedAt({ options }: PluginUse): Address | undefined {
  const { listen } = options as { readonly listen?: unknown };
  try {
    return typeof listen === 'string' ? parseAddress(listen) : undefined;
  } catch {
    return undefined; // the observer says what is wrong with it
  }
}

function collide(one: Address, other: Address): boolean {
  if ((one.transport === 'udp') !== (other.transport === 'udp')) return false;
  if (one.transport === 'unix' || other.transport === 'unix') {
    return one.transport === other.transport && one.path === other.path;
  }
  if (one.port !== other.port || one.port === 0) return false;
  return one.host === other.host || takesAll(one, other) || takesAll(other, one);
}

/** `0.0.0.0` takes a port on every IPv4 address, `::` on every address. */
function takesAll({ host }: Address, other: Address): boolean {
  return host === '::' || (host === '0.0.0.0' && !other.host.includes(':'));
}

/** A listener must not be a backend of its own pool. */
export function lintCircle(
  { findings }: Draft,
  { name, listen }: ListenerSettings,
  pool: PoolSettings | undefined,
): void {
  for (const { name: backend, address } of pool?.backends ?? []) {
    // Of a listener on all addresses nobody knows which ones those are, but for this machine's own.
    const isHere = address.host === listen.host || /^(localhost|127\..*|::1)$/.test(address.host);
    if (listen.fd !== undefined || !isHere || !collide(listen, address)) continue;
    const message = `"${backend}" has the address of listener "${name}", which feeds it: messages would go round in a circle`;
    findings.warn('backend-is-listener', ['pools', pool!.name, 'backends', backend], message);
  }
}

/** Checks that peers are told an address that they can reach. */
export function lintAdvertised(
  { findings }: Draft,
  { name, listen, advertise }: ListenerSettings,
  framer: string,
): void {
  if (advertise !== undefined || !isNowhere(listen)) return;
  const message = `"${framer}" tells peers to reach us at ${formatAddress(listen)}, where they cannot; write an "advertise" of the form host:port`;
  findings.warn('advertise-missing', ['listeners', name, 'listen'], message);
}

/** Addresses that can be listened on but not connected to. */
function isNowhere({ host, port, transport, fd }: Address): boolean {
  if (transport === 'unix' || fd !== undefined) return false;
  return host === '0.0.0.0' || host === '::' || port === 0;
}

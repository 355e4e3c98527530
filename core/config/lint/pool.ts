/** Checks pools: that backends can be told apart, that some get new work, and that options have an effect. */
import { formatAddress } from '../../runtime/address.ts';
import type { PoolSettings } from '../../settings.ts';
import type { Draft } from '../build.ts';
import { formatPlace } from '../locate.ts';

export function lintPool(draft: Draft, pool: PoolSettings): void {
  lintDuplicates(draft, pool);
  lintNewWork(draft, pool);
  lintEffects(draft, pool);
}

/** No two backends have the same address, number or, but for letter case, name. */
function lintDuplicates({ findings, locator }: Draft, pool: PoolSettings): void {
  const path = ['pools', pool.name, 'backends'];
  const byFoldedName = new Map<string, string>();
  const byNumber = new Map<number, string>();
  const byAddress = new Map<string, string>();
  for (const { name, address, number } of pool.backends) {
    const at = [...path, name];
    const neighbour = byAddress.get(formatAddress(address));
    if (neighbour !== undefined) {
      const message = `"${name}" has the address of "${neighbour}": two names for one server`;
      findings.warn('duplicate-address', at, message);
    }
    byAddress.set(formatAddress(address), name);
    const twin = byFoldedName.get(name.toLowerCase());
    if (twin !== undefined) {
      const message = `"${name}" differs from "${twin}" in letter case only, which some protocols do not tell apart`;
      findings.add(at, { rule: 'ambiguous-name', stage: 'lint', message, atKey: true });
    }
    byFoldedName.set(name.toLowerCase(), name);
    if (number === undefined) continue;
    const owner = byNumber.get(number);
    if (owner !== undefined) {
      const place = locator.find([...path, owner, 'number']);
      const message = `number ${number} is that of backend "${owner}" (${formatPlace(place.source, place.valueOffset)})`;
      findings.add([...at, 'number'], { rule: 'duplicate-number', stage: 'lint', message });
    } else {
      byNumber.set(number, name);
    }
  }
}

function lintNewWork({ findings }: Draft, { name, backends }: PoolSettings): void {
  const path = ['pools', name, 'backends'];
  const chosen = backends.filter(({ weight, state = 'ready' }) => weight > 0 && state === 'ready');
  if (backends.length > 1 && chosen.length === 1) {
    const message = `only "${chosen[0]!.name}" is ready with a weight above 0, so that strategies have nothing to choose`;
    findings.warn('nothing-to-choose', path, message);
  }
  if (chosen.length === 0) {
    findings.warn('no-new-work', path, 'no backend is ready with a weight above 0, so that none gets new work');
  }
}

function lintEffects(
  { findings }: Draft,
  { name, backends, proxyProtocol, replay, replayBytes, tls }: PoolSettings,
): void {
  const path = ['pools', name];
  const datagrams = backends.find(({ address }) => address.transport === 'udp');
  if (proxyProtocol !== undefined && datagrams !== undefined) {
    const message = `the PROXY protocol is for connections; backend "${datagrams.name}" is reached over udp`;
    findings.add([...path, 'proxyProtocol'], { rule: 'proxy-protocol', stage: 'lint', message, atKey: true });
  }
  if (replayBytes !== undefined && replay !== 'once') {
    const message = 'nothing is kept to be replayed without "replay: once"';
    findings.warn('replay-without-effect', [...path, 'replayBytes'], message);
  }
  if (tls !== undefined && !backends.some(({ address }) => address.transport === 'tls')) {
    const message = 'no backend has a tls:// address, so that this has no effect';
    findings.warn('tls-without-effect', [...path, 'tls'], message);
  }
}

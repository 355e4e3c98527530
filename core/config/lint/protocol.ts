/** Checks that a listener and its pool ask only for what the protocol plugin can do. */
import type { Draft } from '../build.ts';
import { listed, suggest } from '../suggest.ts';
import type { ComposedListener } from './pipeline.ts';
import { entryPath } from './places.ts';

/** Where identifiers are numbers, every backend has one, and none is signed. */
export function lintNumbers({ findings }: Draft, { listener, pool, composed }: ComposedListener, framer: string): void {
  if (composed.facts.identifiers !== 'number') return;
  const { mode } = listener.identifiers;
  if (mode !== undefined && mode !== 'plain') {
    const message = `"${framer}" carries identifiers as numbers, which cannot be ${mode}`;
    const path = ['listeners', listener.name, 'identifiers', 'mode'];
    findings.add(path, { rule: 'identifier-mode', stage: 'apply', message });
  }
  for (const { name, number } of pool.backends) {
    if (number !== undefined) continue;
    const message = `backend "${name}" needs a number: in listener "${listener.name}" it is the identifier`;
    const path = ['pools', pool.name, 'backends', name];
    findings.add(path, { rule: 'number-missing', stage: 'apply', message, atKey: true });
  }
}

/** Checks what depends on the kind of links, and on whether answers can be correlated. */
export function lintLinks({ findings }: Draft, { listener, pool, composed }: ComposedListener, framer: string): void {
  const path = ['pools', pool.name];
  const { facts, links, exchanges } = composed;
  if (links === 'shared' && !facts.correlates) {
    const message = `"${framer}" cannot tell whose answer it is on a shared link in listener "${listener.name}"`;
    findings.add([...path, 'links'], { rule: 'links-mode', stage: 'apply', message });
  }
  if (links === 'shared' && pool.proxyProtocol !== undefined) {
    const message = `in listener "${listener.name}" links are shared by all clients, so that this tells the address of none; write "links: dedicated"`;
    findings.warn('proxy-protocol', [...path, 'proxyProtocol'], message);
  }
  if (pool.outliers?.latencyFactor !== undefined && exchanges === undefined) {
    const message = `in listener "${listener.name}" nobody measures how long answers take, as "${framer}" does not correlate them with requests`;
    findings.warn('not-measured', [...path, 'outliers', 'latencyFactor'], message);
  }
  for (const [index, { plugin, timing }] of (pool.checks ?? []).entries()) {
    if (timing.over !== 'link' || links === 'shared') continue;
    const message = `in listener "${listener.name}" each client has links of its own, so that no check can go over them`;
    const at = [...path, 'checks', index, plugin.name, 'over'];
    findings.add(at, { rule: 'check-over-link', stage: 'lint', message });
  }
}

/** Requests are replayed where both the pool and the protocol say so. */
export function lintReplay({ findings }: Draft, { listener, pool, composed }: ComposedListener, framer: string): void {
  const mayReplay = composed.facts.mayReplay !== undefined;
  if (pool.replay === 'once' && !mayReplay) {
    const message = `"${framer}" lets no request be replayed in listener "${listener.name}", so that this has no effect there`;
    const path = ['pools', pool.name, 'replay'];
    findings.add(path, { rule: 'replay-without-effect', stage: 'lint', severity: 'warning', message });
  } else if (pool.replay !== 'once' && mayReplay) {
    const message = `"${framer}" lets requests be replayed, but the pool "${pool.name}" has no "replay: once"`;
    findings.warn('replay-without-effect', entryPath(listener, framer), message);
  }
}

/** Strategies hash by keys that the protocol exposes. */
export function lintMessageKeys({ findings }: Draft, { listener, composed }: ComposedListener, framer: string): void {
  const exposed = ['message', ...Object.keys(composed.facts.keys ?? {})];
  for (const { plugin, key } of composed.messageKeys) {
    if (exposed.includes(key)) continue;
    const others = suggest(key, exposed) || `; there is ${listed(exposed, 'and')}`;
    const { options } = listener.pipeline.find((use) => use.plugin.name === plugin)!;
    const option = Object.entries(options as object).find(([, value]) => value === key);
    const path = [...entryPath(listener, plugin), ...(option === undefined ? [] : [option[0]])];
    findings.add(path, { rule: 'unknown-key', stage: 'apply', message: `"${framer}" has no key "${key}"${others}` });
  }
}

/** Checks that a config makes sense as a whole, down to the plugins' `apply`, which opens nothing. */
import { type Composed, composePipeline } from '../compose.ts';
import { PluginError } from '../errors.ts';
import { Checks } from '../health/checks.ts';
import { noBalancer, Observers } from '../observers/observers.ts';
import { Pool } from '../pool.ts';
import { type Address, formatAddress, isSecure, parseAddress } from '../runtime/address.ts';
import { dryServices } from '../services.ts';
import type { KeySettings, ListenerSettings, PluginUse, PoolSettings } from '../settings.ts';
import type { Built, Draft } from './build.ts';
import { listed, valueAt } from './describe.ts';
import type { Path, Remark } from './finding.ts';
import { lintListenerLimits, lintPoolLimits } from './lint-limits.ts';
import { lintLoad } from './lint-load.ts';
import { formatPlace } from './locate.ts';
import { suggest } from './suggest.ts';

/** A MAC is no harder to guess than its key. */
const leastSecretBytes = 16;

export function lint(draft: Draft, built: Built, secrets: ReadonlyMap<string, string>): void {
  const { config, findings } = draft;
  const listeners = [...built.listeners.values()];
  const whole = listeners.filter(({ name }) => findings.isSound(['listeners', name]));
  lintNames(draft);
  lintReferences(draft);
  lintKeys(draft);
  for (const pool of built.pools.values()) {
    lintPool(draft, pool);
    lintPoolLimits(draft, pool);
    lintHealth(draft, pool, secrets);
  }
  lintAddresses(draft, listeners, built.observers);
  for (const listener of whole) {
    lintListenerTls(draft, listener);
    lintListenerLimits(draft, listener.name, built.pools.get(listener.pool));
    if (hasWorkers(draft)) lintLimitsOfWorkers(draft, listener);
    lintCircle(draft, listener, built.pools.get(listener.pool));
  }
  const keys = findings.isSound(['keys']) ? built.keys : [someKey];
  for (const listener of listeners) {
    // Where the pool is not in order, the pipeline may be, or not, all the same.
    const isThere = membersOf(config.pools).includes(listener.pool);
    const pool = built.pools.get(listener.pool) ?? (isThere ? { ...somePool, name: listener.pool } : undefined);
    if (pool !== undefined) lintPipeline(draft, listener, pool, { ...built, keys }, secrets);
  }
  for (const use of built.observers) lintObserver(draft, use, secrets);
  if (Object.keys(config.listeners ?? {}).length === 0 && findings.isSound(['listeners'])) {
    findings.add([], { rule: 'no-listener', stage: 'lint', message: 'the config has no listeners' });
  }
}

/** Stands in for keys that are not in order. */
const someKey: KeySettings = { id: 'some', secret: Buffer.alloc(leastSecretBytes) };

/** Stands in for a pool that is not in order: it gives no cause for remarks. */
const somePool: Omit<PoolSettings, 'name'> = {
  backends: [],
  links: undefined,
  linksPerBackend: 1,
  queueBytes: 1,
  connectSeconds: 1,
  keepaliveSeconds: 0,
};

/** Statistics go by name, in objects that have members of some names from the start. */
function lintNames({ config, findings }: Draft): void {
  const pools = membersOf(config.pools);
  const ofBackends = (pool: string): Path[] =>
    membersOf(valueAt(config, ['pools', pool, 'backends'])).map((name) => ['pools', pool, 'backends', name]);
  const paths: Path[] = [
    ...pools.map((name) => ['pools', name]),
    ...pools.flatMap(ofBackends),
    ...membersOf(config.listeners).map((name) => ['listeners', name]),
  ];
  for (const path of paths) {
    const name = String(path.at(-1));
    if (!(name in Object.prototype) || !findings.isSound(path)) continue;
    const message = `"${name}" is no name: every object of JavaScript has a member of that name`;
    findings.add(path, { rule: 'bad-name', stage: 'lint', message, atKey: true });
  }
}

/** Names must be those of something; also checked where the rest of a listener is not in order. */
function lintReferences({ config, written, findings }: Draft): void {
  const pools = membersOf(config.pools);
  const listeners = membersOf(config.listeners);
  for (const name of listeners) check('pool', pools, ['listeners', name, 'pool']);
  for (const index of membersOf(config.tests)) check('listener', listeners, ['tests', index, 'listener']);
  const used = listeners.map((name) => valueAt(config, ['listeners', name, 'pool']) as string);
  for (const pool of pools) {
    // A misspelt one is remarked on already.
    if (used.includes(pool) || used.some((name) => !pools.includes(name))) continue;
    const message = `no listener feeds the pool "${pool}"`;
    findings.warn('unused-pool', ['pools', pool], message);
  }

  function check(kind: string, known: readonly string[], path: Path): void {
    const name = valueAt(config, path);
    if (typeof name !== 'string' || known.includes(name)) return;
    const shown = String(valueAt(written, path));
    const others = suggest(shown, known) || (known.length > 0 ? `; there is ${listed(known, 'and')}` : '');
    findings.add(path, { rule: 'unknown-name', stage: 'lint', message: `there is no ${kind} "${shown}"${others}` });
  }
}

/** The names of a section's members, or none if it is not what it should be. */
const membersOf = (section: unknown) => (typeof section === 'object' && section !== null ? Object.keys(section) : []);

function lintKeys({ config, written, findings }: Draft): void {
  const ids = new Set<string>();
  for (const index of membersOf(config.keys)) {
    if (!findings.isSound(['keys', index])) continue;
    const { id, secret } = config.keys![Number(index)]!;
    const secretBytes = Buffer.byteLength(secret);
    if (ids.has(id)) {
      const message = `the key "${id}" is there twice; ids tell keys apart`;
      findings.add(['keys', index, 'id'], { rule: 'duplicate-key-id', stage: 'lint', message });
    }
    ids.add(id);
    const path = ['keys', index, 'secret'];
    if (secretBytes < leastSecretBytes) {
      const message = `the secret has ${secretBytes} bytes; it needs at least ${leastSecretBytes}`;
      findings.add(path, { rule: 'weak-secret', stage: 'lint', message });
    } else if (!String(valueAt(written, path)).includes('${')) {
      const message = 'the secret stands in the config; take it from outside with "${env:NAME}" or "${file:PATH}"';
      findings.add(path, { rule: 'secret-in-config', stage: 'lint', severity: 'warning', message });
    }
  }
}

function lintPool({ findings, locator }: Draft, { name, backends, proxyProtocol, tls, ...pool }: PoolSettings): void {
  const path = ['pools', name];
  const byFoldedName = new Map<string, string>();
  const byNumber = new Map<number, string>();
  const byAddress = new Map<string, string>();
  for (const { name, address, number } of backends) {
    const at = [...path, 'backends', name];
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
      const place = locator.find([...path, 'backends', owner, 'number']);
      const message = `number ${number} is that of backend "${owner}" (${formatPlace(place.source, place.valueOffset)})`;
      findings.add([...at, 'number'], { rule: 'duplicate-number', stage: 'lint', message });
    } else {
      byNumber.set(number, name);
    }
  }
  const chosen = backends.filter(({ weight, state = 'ready' }) => weight > 0 && state === 'ready');
  if (backends.length > 1 && chosen.length === 1) {
    const message = `only "${chosen[0]!.name}" is ready with a weight above 0, so that strategies have nothing to choose`;
    findings.warn('nothing-to-choose', [...path, 'backends'], message);
  }
  if (backends.every(({ weight, state = 'ready' }) => weight === 0 || state !== 'ready')) {
    const message = 'no backend is ready with a weight above 0, so that none gets new work';
    findings.warn('no-new-work', [...path, 'backends'], message);
  }
  const datagrams = backends.find(({ address }) => address.transport === 'udp');
  if (proxyProtocol !== undefined && datagrams !== undefined) {
    const message = `the PROXY protocol is for connections; backend "${datagrams.name}" is reached over udp`;
    findings.add([...path, 'proxyProtocol'], { rule: 'proxy-protocol', stage: 'lint', message, atKey: true });
  }
  if (pool.replayBytes !== undefined && pool.replay !== 'once') {
    const message = 'nothing is kept to be replayed without "replay: once"';
    findings.warn('replay-without-effect', [...path, 'replayBytes'], message);
  }
  if (tls !== undefined && !backends.some(({ address }) => address.transport === 'tls')) {
    const message = 'no backend has a tls:// address, so that this has no effect';
    findings.warn('tls-without-effect', [...path, 'tls'], message);
  }
}

/** Whether what is to be known of the backends can be found out. */
function lintHealth(draft: Draft, settings: PoolSettings, secrets: ReadonlyMap<string, string>): void {
  const { findings } = draft;
  const path = ['pools', settings.name];
  const { backends, checks = [], minimumUp = 1, outliers } = settings;
  if (outliers !== undefined && outliers.maxEjectionSeconds < outliers.baseEjectionSeconds) {
    const message = `maxEjectionSeconds is less than baseEjectionSeconds, ${outliers.baseEjectionSeconds}`;
    const member = valueAt(draft.written, [...path, 'outliers', 'maxEjectionSeconds']) === undefined ? 'base' : 'max';
    findings.add([...path, 'outliers', `${member}EjectionSeconds`], {
      rule: 'contradicting-limits',
      stage: 'lint',
      message,
    });
  }
  if (minimumUp > 1 && new Set(backends.map(({ priority = 0 }) => priority)).size === 1) {
    const message = 'all backends are of one priority, so that this has no effect';
    findings.warn('priority-without-effect', [...path, 'minimumUp'], message);
  }
  if (outliers?.consecutiveFailures === 0 && outliers.latencyFactor === undefined) {
    const message = 'neither consecutiveFailures nor latencyFactor ejects anybody, so that this has no effect';
    findings.warn('outliers-without-effect', [...path, 'outliers'], message);
  }
  for (const [index, use] of checks.entries()) {
    const { plugin, timing } = use;
    const { intervalSeconds, timeoutSeconds, port, over } = timing;
    const entry = [...path, 'checks', index, plugin.name];
    if (timeoutSeconds >= intervalSeconds) {
      const message = `an attempt may take ${timeoutSeconds} s, but the next one begins after ${intervalSeconds} s; let timeoutSeconds be less than intervalSeconds`;
      findings.add([...entry, 'timeoutSeconds'], { rule: 'check-timing', stage: 'lint', message });
    }
    if (port !== undefined && over === 'link') {
      const message = "links lead to the port of the backend's address";
      findings.add([...entry, 'port'], { rule: 'check-port', stage: 'lint', message });
    } else if (port !== undefined && backends.some(({ address }) => address.transport === 'unix')) {
      const message = 'a backend of this pool is a unix socket, which has no ports';
      findings.add([...entry, 'port'], { rule: 'check-port', stage: 'lint', message });
    }
    try {
      new Checks(new Pool(settings), [use], dryServices([]), () => {});
    } catch (error) {
      if (!(error instanceof PluginError)) throw error;
      addFault(draft, entry, error, secrets);
    }
  }
}

function lintListenerTls({ findings }: Draft, { name, listen, tls, proxyProtocol }: ListenerSettings): void {
  const path = ['listeners', name];
  if (proxyProtocol !== undefined && (listen.transport === 'udp' || listen.transport === 'unix')) {
    const message = `the PROXY protocol is read on connections over TCP; "listen" is ${listen.transport}`;
    findings.add([...path, 'proxyProtocol'], { rule: 'proxy-protocol', stage: 'lint', message, atKey: true });
  }
  if (isSecure(listen) && tls === undefined) {
    const message = `a ${listen.transport}:// listener needs "tls" with certificate and key`;
    findings.add([...path, 'listen'], { rule: 'tls-missing', stage: 'lint', message });
  }
  if (!isSecure(listen) && tls !== undefined) {
    const secure = listen.transport === 'ws' ? 'wss' : 'tls';
    const message = `"listen" is ${listen.transport}, so that "tls" has no effect; write ${secure}:// there`;
    findings.add([...path, 'tls'], { rule: 'tls-without-effect', stage: 'lint', message, atKey: true });
  }
  if (tls !== undefined && tls.clientCertificate !== 'none' && tls.ca === undefined) {
    const message = 'client certificates need "ca", which says who may sign them';
    findings.add([...path, 'tls', 'clientCertificate'], { rule: 'client-ca-missing', stage: 'lint', message });
  }
}

/** `auto` is more than one, whatever machine this is: a config is to be judged alike everywhere. */
const hasWorkers = ({ config, findings }: Draft) => config.workers !== 1 && findings.isSound(['workers']);

/** Workers share no counts. */
function lintLimitsOfWorkers({ findings }: Draft, { name, limits }: ListenerSettings): void {
  const message = 'each worker counts for itself, so that one address may have as many connections to each of them';
  for (const limit of ['connectionsPerAddress', 'connectionsPerSecondPerAddress'] as const) {
    if (limits[limit] === 0) continue;
    const path = ['listeners', name, 'limits', limit];
    findings.add(path, { rule: 'limit-per-worker', stage: 'lint', severity: 'warning', message });
  }
}

/** Two of them cannot open one address. */
function lintAddresses(draft: Draft, listeners: readonly ListenerSettings[], observers: readonly PluginUse[]): void {
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

/** Where an observer has a server, which its option `listen` says by custom. */
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
function lintCircle({ findings }: Draft, { name, listen }: ListenerSettings, pool: PoolSettings | undefined): void {
  for (const { name: backend, address } of pool?.backends ?? []) {
    // Of a listener on all addresses nobody knows which ones those are, but for this machine's own.
    const isHere = address.host === listen.host || /^(localhost|127\..*|::1)$/.test(address.host);
    if (listen.fd !== undefined || !isHere || !collide(listen, address)) continue;
    const message = `"${backend}" has the address of listener "${name}", which feeds it: messages would go round in a circle`;
    findings.warn('backend-is-listener', ['pools', pool!.name, 'backends', backend], message);
  }
}

/** To listen on, such an address is all right, but nobody can connect to it. */
function isNowhere({ host, port, transport, fd }: Address): boolean {
  if (transport === 'unix' || fd !== undefined) return false;
  return host === '0.0.0.0' || host === '::' || port === 0;
}

function lintPipeline(
  draft: Draft,
  listener: ListenerSettings,
  poolSettings: PoolSettings,
  { keys, observers }: Built,
  secrets: ReadonlyMap<string, string>,
): void {
  const { findings } = draft;
  const path = ['listeners', listener.name];
  const entries = [...path, 'pipeline'];
  const { mode } = listener.identifiers;
  const modePath = [...path, 'identifiers', 'mode'];
  const lacksKeys = mode !== undefined && mode !== 'plain' && keys.length === 0;
  if (lacksKeys) {
    findings.add(modePath, { rule: 'keys-missing', stage: 'lint', message: `${mode} identifiers need "keys"` });
  }

  const pool = new Pool(poolSettings);
  const { composed, refusals } = composeWhatGoes(listener, pool, lacksKeys ? [someKey] : keys, observers);
  for (const [use, fault] of refusals) {
    const index = listener.pipeline.indexOf(use);
    const entry = index < 0 ? observerPath(draft, use) : [...entries, index, use.plugin.name];
    addFault(draft, entry, fault, secrets);
  }
  // What is missing may be what those would do that cannot be applied.
  const isWhole = !listener.pipeline.some((use) => refusals.has(use));

  const { hooks, facts, messageKeys } = composed;
  const [framer, ...moreFramers] = hooks.tappedBy('frame');
  if (framer === undefined && isWhole) {
    const message = 'no plugin of this pipeline taps frame; add a protocol plugin';
    findings.add(entries, { rule: 'no-protocol', stage: 'apply', message, atKey: true });
  }
  if (isWhole && hasWorkers(draft) && composed.affinity !== undefined && messageKeys.length === 0) {
    const message =
      'no worker knows where another has sent related messages that carry no identifier, ' +
      'should they come on other connections; choose by "hashing", as all workers do alike';
    findings.warn('affinity-per-worker', entries, message);
  }
  for (const plugin of moreFramers) {
    const message = `"${plugin}" taps frame, but "${framer}" does already; a pipeline has one protocol plugin`;
    findings.add(entryPath(plugin), { rule: 'second-protocol', stage: 'apply', message, atKey: true });
  }
  const strategies = hooks.tappedBy('chooseBackend');
  const always = new Set(listener.pipeline.flatMap(({ plugin }) => (plugin.alwaysChooses ? plugin.name : [])));
  const decisive = strategies.findIndex((name) => always.has(name));
  for (const idle of decisive < 0 ? [] : strategies.slice(decisive + 1)) {
    const message = `"${idle}" is never asked: "${strategies[decisive]}" before it always chooses a backend`;
    findings.warn('unreachable-tap', entryPath(idle), message);
  }
  if (strategies.length === 0 && isWhole) {
    const message = 'no plugin of this pipeline taps chooseBackend; add a strategy plugin';
    findings.add(entries, { rule: 'no-strategy', stage: 'apply', message, atKey: true });
  }
  if (framer === undefined) return; // the rest depends on what the protocol can do

  if (facts.identifiers === 'number') {
    if (mode !== undefined && mode !== 'plain') {
      const message = `"${framer}" carries identifiers as numbers, which cannot be ${mode}`;
      findings.add(modePath, { rule: 'identifier-mode', stage: 'apply', message });
    }
    for (const { name, number } of pool.backends) {
      if (number !== undefined) continue;
      const message = `backend "${name}" needs a number: in listener "${listener.name}" it is the identifier`;
      findings.add(['pools', pool.name, 'backends', name], {
        rule: 'number-missing',
        stage: 'apply',
        message,
        atKey: true,
      });
    }
  }
  if (composed.links === 'shared' && !facts.correlates) {
    const message = `"${framer}" cannot tell whose answer it is on a shared link in listener "${listener.name}"`;
    findings.add(['pools', pool.name, 'links'], { rule: 'links-mode', stage: 'apply', message });
  }
  if (composed.links === 'shared' && pool.settings.proxyProtocol !== undefined) {
    const message = `in listener "${listener.name}" links are shared by all clients, so that this tells the address of none; write "links: dedicated"`;
    findings.warn('proxy-protocol', ['pools', pool.name, 'proxyProtocol'], message);
  }
  if (pool.settings.outliers?.latencyFactor !== undefined && composed.exchanges === undefined) {
    const message = `in listener "${listener.name}" nobody measures how long answers take, as "${framer}" does not correlate them with requests`;
    const at = ['pools', pool.name, 'outliers', 'latencyFactor'];
    findings.warn('not-measured', at, message);
  }
  for (const [index, { plugin, timing }] of (pool.settings.checks ?? []).entries()) {
    if (timing.over !== 'link' || composed.links === 'shared') continue;
    const message = `in listener "${listener.name}" each client has links of its own, so that no check can go over them`;
    const at = ['pools', pool.name, 'checks', index, plugin.name, 'over'];
    findings.add(at, { rule: 'check-over-link', stage: 'lint', message });
  }
  lintLoad(draft, listener, poolSettings, composed);
  if (facts.advertises && listener.advertise === undefined && isNowhere(listener.listen)) {
    const message = `"${framer}" tells peers to reach us at ${formatAddress(listener.listen)}, where they cannot; write an "advertise" of the form host:port`;
    findings.warn('advertise-missing', [...path, 'listen'], message);
  }
  const replayPath = ['pools', pool.name, 'replay'];
  if (pool.settings.replay === 'once' && facts.mayReplay === undefined) {
    const message = `"${framer}" lets no request be replayed in listener "${listener.name}", so that this has no effect there`;
    findings.add(replayPath, { rule: 'replay-without-effect', stage: 'lint', severity: 'warning', message });
  } else if (pool.settings.replay !== 'once' && facts.mayReplay !== undefined) {
    const message = `"${framer}" lets requests be replayed, but the pool "${pool.name}" has no "replay: once"`;
    findings.warn('replay-without-effect', entryPath(framer), message);
  }
  for (const { plugin, text } of composed.advice) {
    const remark = { rule: 'plugin-advises', stage: 'lint', severity: 'warning', message: text } as const;
    const watcher = observers.find((use) => use.plugin.name === plugin);
    addRemark(draft, watcher === undefined ? entryPath(plugin) : observerPath(draft, watcher), text, remark, secrets);
  }
  const exposed = ['message', ...Object.keys(facts.keys ?? {})];
  for (const { plugin, key } of messageKeys) {
    if (exposed.includes(key)) continue;
    const others = suggest(key, exposed) || `; there is ${listed(exposed, 'and')}`;
    const option = Object.entries(listener.pipeline.find((use) => use.plugin.name === plugin)!.options as object).find(
      ([, value]) => value === key,
    );
    const message = `"${framer}" has no key "${key}"${others}`;
    findings.add([...entryPath(plugin), ...(option === undefined ? [] : [option[0]])], {
      rule: 'unknown-key',
      stage: 'apply',
      message,
    });
  }

  function entryPath(plugin: string): Path {
    const index = listener.pipeline.findLastIndex((use) => use.plugin.name === plugin);
    return [...entries, index, plugin];
  }
}

/** Composes a pipeline of the plugins that can be applied, and tells why the others cannot. */
function composeWhatGoes(
  listener: ListenerSettings,
  pool: Pool,
  keys: readonly KeySettings[],
  observers: readonly PluginUse[],
): { readonly composed: Composed; readonly refusals: ReadonlyMap<PluginUse, PluginError> } {
  let refusals: ReadonlyMap<PluginUse, PluginError> | undefined;
  const leftOut = new Set<PluginUse>();
  for (;;) {
    const refused = new Map<PluginUse, PluginError>();
    const isLeft = (use: PluginUse) => !leftOut.has(use);
    const services = dryServices(keys, observers.filter(isLeft));
    const onRefusal = (use: PluginUse, fault: PluginError) => void refused.set(use, fault);
    const pipeline = listener.pipeline.filter(isLeft);
    const composed = composePipeline({ ...listener, pipeline }, pool, { ...services, onRefusal });
    refusals ??= refused; // what is refused later may just miss what has been left out
    if (refused.size === 0) return { composed, refusals };
    for (const use of refused.keys()) leftOut.add(use); // which may have tapped hooks before it threw
  }
}

/** Where an observer stands in the config. */
function observerPath({ config }: Draft, { plugin, options }: PluginUse): Path {
  // Those before it may be left out, and there may be others of its name.
  const index = config.observers!.findIndex((entry) => entry?.[plugin.name] === options);
  return ['observers', index, plugin.name];
}

function lintObserver(draft: Draft, use: PluginUse, secrets: ReadonlyMap<string, string>): void {
  const { runtime, log } = dryServices([]);
  try {
    new Observers([use], { ...noBalancer, onReport() {} }, { clock: runtime, log });
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    addFault(draft, observerPath(draft, use), error, secrets);
  }
}

/** What a plugin cannot do with its options. */
function addFault(
  draft: Draft,
  entry: Path,
  { cause, message }: PluginError,
  secrets: ReadonlyMap<string, string>,
): void {
  const said = cause instanceof Error ? cause.message : '';
  addRemark(draft, entry, said, { rule: 'plugin-refuses', stage: 'apply', message }, secrets);
}

/**
 * Plugins begin what they say about an option with its name (`id.size: …`): that is where the remark stands then.
 * @param entry where the plugin stands in the config
 */
function addRemark(
  { written, findings }: Draft,
  entry: Path,
  said: string,
  remark: Remark,
  secrets: ReadonlyMap<string, string>,
): void {
  const [option = ''] = /^[\w.-]+(?=: )/.exec(said) ?? [];
  const place = [...entry, ...option.split('.')];
  const isOption = valueAt(written, place) !== undefined;
  const message = [...secrets].reduce((text, [secret, reference]) => hide(text, secret, reference), remark.message);
  findings.add(isOption ? place : entry, { ...remark, message, atKey: !isOption });
}

/** Texts shorter than this are no secrets, and turn up in messages by chance. */
const shortestHidden = 4;

function hide(text: string, secret: string, reference: string): string {
  return secret.length < shortestHidden ? text : text.replaceAll(secret, () => reference);
}

/** Turns a config into settings: reads addresses, loads files, and fills in the defaults that the schema cannot. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { networks } from '../limits/networks.ts';
import type { PluginDefinition } from '../plugin.ts';
import { type Address, isWebSocket, parseAddress } from '../runtime/address.ts';
import {
  type BackendSettings,
  defaultLimits,
  type KeySettings,
  type LinkTlsSettings,
  type ListenerSettings,
  type ListenerTlsSettings,
  type PluginUse,
  type PoolSettings,
  timingOf,
} from '../settings.ts';
import type { Findings } from './finding.ts';
import type { Locator } from './locate.ts';
import { whyUnreadable } from './parse.ts';
import { type Path, valueAt } from './path.ts';
import type { Rule } from './rules.ts';
import type { Config } from './schema.ts';

type PoolConfig = NonNullable<Config['pools']>[string];
type ListenerConfig = NonNullable<Config['listeners']>[string];

/** A config that has passed the schema, and what is needed to report findings about it. */
export interface Draft {
  readonly config: Config;
  /** The config as it was written: the values that findings may show. */
  readonly written: unknown;
  readonly plugins: ReadonlyMap<string, PluginDefinition>;
  readonly locator: Locator;
  readonly findings: Findings;
  /** Values that came from outside the config, each with the reference that stands for it in findings. */
  readonly secrets: ReadonlyMap<string, string>;
}

/** The settings of everything that is in order; the rest is in the findings. */
export interface Built {
  readonly keys: readonly KeySettings[];
  readonly pools: ReadonlyMap<string, PoolSettings>;
  /** All listeners whose pipeline is in order. If other members are not, they have their defaults. */
  readonly listeners: ReadonlyMap<string, ListenerSettings>;
  readonly observers: readonly PluginUse[];
  readonly workers: number;
  readonly stopSeconds: number;
}

export function buildSettings(draft: Draft): Built {
  const { config, findings } = draft;
  const keys = findings.isSound(['keys']) ? (config.keys ?? []) : [];
  const pools = buildEach(draft, 'pools', config.pools, buildPool);
  return {
    keys: keys.map(({ id, secret }) => ({ id, secret: Buffer.from(secret) })),
    pools: new Map([...pools].filter(([name]) => findings.isSound(['pools', name]))),
    listeners: buildEach(draft, 'listeners', config.listeners, buildListener),
    observers: usesOf(draft, ['observers'], config.observers),
    workers: findings.isSound(['workers']) ? workersOf(config.workers) : 1,
    stopSeconds: config.stopSeconds,
  };
}

const workersOf = (workers: Config['workers']) => (workers === 'auto' ? availableParallelism() : workers);

/** The value at a path; undefined if something is wrong with it. */
function sound<Value>({ findings }: Draft, path: Path, value: Value): Value | undefined {
  return findings.isSound(path) ? value : undefined;
}

/** Builds even entries with mistakes, in order to find more of them: `build` looks only at the members that are in order. */
function buildEach<Member, Settings>(
  draft: Draft,
  section: string,
  members: Readonly<Record<string, Member>> | undefined,
  build: (draft: Draft, path: Path, name: string, member: Member) => Settings | undefined,
): ReadonlyMap<string, Settings> {
  const built = new Map<string, Settings>();
  for (const [name, member] of Object.entries(members ?? {})) {
    if (typeof member !== 'object' || member === null) continue;
    const settings = build(draft, [section, name], name, member);
    if (settings !== undefined) built.set(name, settings);
  }
  return built;
}

function buildPool(draft: Draft, path: Path, name: string, pool: PoolConfig): PoolSettings {
  const backends = Object.entries(pool.backends ?? {}).flatMap(([name, backend]): BackendSettings | [] => {
    const at = [...path, 'backends', name];
    if (!draft.findings.isSound(at)) return [];
    if (typeof backend === 'string') return { name, address: readBackendAddress(draft, at, backend), weight: 1 };
    const { address, weight = 1, ...more } = backend;
    return { ...more, name, weight, address: readBackendAddress(draft, [...at, 'address'], address) };
  });
  const tls = sound(draft, [...path, 'tls'], pool.tls);
  // The core's part of the options has the schema that says so (schema.ts).
  const checks = usesOf(draft, [...path, 'checks'], pool.checks);
  return {
    ...pool,
    name,
    backends,
    tls: tls && readLinkTls(draft, [...path, 'tls'], tls),
    checks: checks.map((use) => ({ ...use, timing: timingOf(use.options) })),
  };
}

/** Undefined if its pipeline is not in order, or one of its plugins could not be loaded. */
function buildListener(draft: Draft, path: Path, name: string, listener: ListenerConfig): ListenerSettings | undefined {
  const member = <Name extends keyof ListenerConfig>(name: Name) => sound(draft, [...path, name], listener[name]);
  const [listen, advertise, tls] = [member('listen'), member('advertise'), member('tls')];
  const [allow, deny, proxyProtocol] = [member('allow'), member('deny'), member('proxyProtocol')];
  const address = listen === undefined ? nowhere : readAddress(draft, [...path, 'listen'], listen);
  if (advertise !== undefined && !/^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/.test(advertise)) {
    complain(draft, 'bad-address', [...path, 'advertise'], (written) => `"${written}" is not of the form host:port`);
  }
  checkNetworks(draft, [...path, 'allow'], allow);
  checkNetworks(draft, [...path, 'deny'], deny);
  checkNetworks(draft, [...path, 'proxyProtocol', 'from'], proxyProtocol?.from);
  const settings = {
    name,
    listen: address,
    pool: member('pool') ?? '',
    advertise,
    allow,
    deny,
    proxyProtocol,
    identifiers: member('identifiers') ?? {},
    limits: member('limits') ?? defaultLimits,
    tls: tls && readListenerTls(draft, [...path, 'tls'], tls),
    pipeline: usesOf(draft, [...path, 'pipeline'], listener.pipeline),
  };
  const { length } = settings.pipeline;
  return length > 0 && length === listener.pipeline.length ? settings : undefined;
}

/** Leaves out plugins that could not be loaded, and entries that are not in order. */
function usesOf(draft: Draft, path: Path, entries: ListenerConfig['pipeline'] | undefined): PluginUse[] {
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: ListenerConfig['pipeline'][number], index): PluginUse | [] => {
    const [[name, options] = ['', {}]] = Object.entries(sound(draft, [...path, index], entry) ?? {});
    const plugin = draft.plugins.get(name);
    return plugin === undefined ? [] : { plugin, options };
  });
}

const nowhere: Address = { transport: 'tcp', host: '', port: 0, path: '' };

function readAddress(draft: Draft, path: Path, text: string): Address {
  try {
    return parseAddress(text);
  } catch (error) {
    complain(draft, 'bad-address', path, (written) =>
      (error as Error).message.replace(`"${text}"`, () => `"${written}"`),
    );
    return nowhere;
  }
}

function checkNetworks(draft: Draft, path: Path, list: readonly string[] = []): void {
  for (const [index, text] of list.entries()) {
    try {
      networks([text]);
    } catch (error) {
      complain(draft, 'bad-network', [...path, index], (written) =>
        (error as Error).message.replace(`"${text}"`, () => `"${written}"`),
      );
    }
  }
}

/** A listener may leave its port to the system, but backends need one to connect to. */
function readBackendAddress(draft: Draft, path: Path, text: string): Address {
  const address = readAddress(draft, path, text);
  if (address.fd !== undefined) {
    complain(
      draft,
      'bad-address',
      path,
      (written) => `"${written}": that is for listeners; backends are reached by their address`,
    );
  } else if (isWebSocket(address)) {
    complain(draft, 'bad-address', path, (written) => `"${written}": backends are reached over tcp, tls, udp or unix`);
  } else if (address !== nowhere && address.transport !== 'unix' && address.port === 0) {
    complain(
      draft,
      'bad-address',
      path,
      (written) => `"${written}" has no port to connect to; write one from 1 to 65535`,
    );
  }
  return address;
}

function readListenerTls(draft: Draft, path: Path, tls: NonNullable<ListenerConfig['tls']>): ListenerTlsSettings {
  const settings = {
    certificate: readPem(draft, [...path, 'certificate'], tls.certificate, 'certificate'),
    key: readPem(draft, [...path, 'key'], tls.key, 'key'),
    ca: tls.ca === undefined ? undefined : readPem(draft, [...path, 'ca'], tls.ca, 'certificate'),
    clientCertificate: tls.clientCertificate,
    minVersion: tls.minVersion,
  };
  return { ...settings, certificateExpiresAtMs: tryTls(draft, path, settings) };
}

function readLinkTls(draft: Draft, path: Path, tls: NonNullable<PoolConfig['tls']>): LinkTlsSettings {
  const settings = {
    ca: tls.ca === undefined ? undefined : readPem(draft, [...path, 'ca'], tls.ca, 'certificate'),
    certificate:
      tls.certificate === undefined
        ? undefined
        : readPem(draft, [...path, 'certificate'], tls.certificate, 'certificate'),
    key: tls.key === undefined ? undefined : readPem(draft, [...path, 'key'], tls.key, 'key'),
    serverName: tls.serverName,
    verify: tls.verify,
    minVersion: tls.minVersion,
  };
  if ((tls.certificate === undefined) !== (tls.key === undefined)) {
    draft.findings.add(path, {
      rule: 'tls-unusable',
      stage: 'lint',
      message: 'certificate and key go together',
      atKey: true,
    });
  }
  return { ...settings, certificateExpiresAtMs: tryTls(draft, path, settings) };
}

/** The beginnings of PEM (RFC 7468), including those of older versions of OpenSSL. */
const pem = {
  certificate: /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/,
  key: /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/,
};

function readPem(draft: Draft, path: Path, file: string, kind: keyof typeof pem): string {
  let text: string;
  try {
    text = readFileSync(draft.locator.fileAt(path, file), 'utf8');
  } catch (error) {
    complain(draft, 'unreadable-file', path, (written) => `cannot read ${written}: ${whyUnreadable(error)}`);
    return '';
  }
  if (!pem[kind].test(text)) {
    complain(draft, 'tls-unusable', path, (written) => `${written} holds no ${kind} in PEM`);
  } else if (kind === 'key' && text.includes('ENCRYPTED')) {
    const advice = 'write one without: openssl pkey -in OLD -out NEW';
    complain(draft, 'tls-unusable', path, (written) => `the key in ${written} has a passphrase; ${advice}`);
  }
  return text;
}

/**
 * A certificate that does not go with its key, or is out of date, should show now, not at the first handshake.
 * @returns when the first one of the chain expires, in milliseconds since 1970; undefined: there is none, or it cannot be used
 */
function tryTls({ findings }: Draft, path: Path, tls: LinkTlsSettings | ListenerTlsSettings): number | undefined {
  if (!findings.isSound(path)) return undefined;
  try {
    // Not imported above, since few configs need it: it reads a megabyte of certificates.
    process.getBuiltinModule('node:tls').createSecureContext({ cert: tls.certificate, key: tls.key, ca: tls.ca });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isMismatch = code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH';
    const why = isMismatch ? 'the key is not that of the certificate' : message;
    const text = `these certificates and keys cannot be used: ${why}`;
    findings.add(path, { rule: 'tls-unusable', stage: 'lint', message: text, atKey: true });
    return undefined;
  }
  if (tls.certificate === undefined) return undefined;
  const { X509Certificate } = process.getBuiltinModule('node:crypto');
  const texts = tls.certificate.match(/-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[^-]+-----END \1-----/g) ?? [];
  const chain = texts.map((text) => new X509Certificate(text));
  const now = Date.now();
  for (const [index, { subject, validFrom, validTo }] of chain.entries()) {
    const which = index === 0 ? 'the certificate' : `the certificate of ${subject.replaceAll('\n', ', ')} in the chain`;
    if (now > Date.parse(validTo)) warn(`${which} has expired: it was valid until ${validTo}`);
    if (now < Date.parse(validFrom)) warn(`${which} is not valid yet: it will be from ${validFrom}`);
  }
  return Math.min(...chain.map(({ validTo }) => Date.parse(validTo)));

  function warn(message: string): void {
    findings.add([...path, 'certificate'], { rule: 'tls-expired', stage: 'lint', severity: 'warning', message });
  }
}

/** Adds a finding about a text, shown as it was written: values from outside must not be shown. */
function complain({ findings, written }: Draft, rule: Rule, path: Path, message: (written: string) => string): void {
  findings.add(path, { rule, stage: 'lint', message: message(String(valueAt(written, path))) });
}

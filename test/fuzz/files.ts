/** Fuzz targets for what is read as a whole: configs, captures, the headers of the PROXY protocol. */
import { fail } from 'node:assert';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Clients } from '../../core/capture/clients.ts';
import { CaptureError, packetsOf } from '../../core/capture/file.ts';
import { loadConfig } from '../../core/config/load.ts';
import type { Random } from '../../core/conformance/random.ts';
import { PointsmanError } from '../../core/errors.ts';
import { readProxyHeader, writeProxyHeader } from '../../core/runtime/proxy-protocol.ts';
import { pcap, pcapng } from '../support/capture.ts';
import type { Target } from './engine.ts';

/** Whoever reads a file gets settings or findings, each at a place in the file. */
class Config implements Target {
  readonly name = 'config';
  readonly seeds = readdirSync('test/examples')
    .filter((file) => file.endsWith('.yaml') && !file.endsWith('.test.yaml'))
    .map((file) => readFileSync(join('test/examples', file)));
  readonly words = [
    'pools:',
    'listeners:\n',
    '  ',
    '\n',
    ': ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    '&a ',
    '*a',
    '<<: *a',
    '"',
    "'",
    '|\n',
    '# ',
    '!!binary ',
    '---\n',
    '...\n',
    'null',
    '~',
    '-1',
    '1e400',
    '.inf',
    '.nan',
    '0x10',
    'true',
    '${env:HOME}',
    '${env:NO}',
    '${file:edge.yaml}',
    'backends:',
    'pipeline:',
    'sip:',
    'round-robin: {}',
    'keys: [{ id: k, secret: 0123456789abcdef0 }]',
    'tcp://127.0.0.1:1',
    'tls://[::1]:70000',
    'unix:/a',
    'workers: auto',
    'plugins: [x]',
    'tests:',
    '__proto__',
    'constructor',
    '\t',
    '\xff',
    '\u0000',
    '? ',
    'limits: { messageBytes: 0 }',
  ]; // prettier-ignore
  readonly #folder = mkdtempSync(join(tmpdir(), 'pointsman-'));

  constructor() {
    process.once('exit', () => rmSync(this.#folder, { recursive: true, force: true }));
  }

  async refresh(): Promise<void> {}

  async run(input: Buffer): Promise<void> {
    const file = join(this.#folder, 'edge.yaml');
    writeFileSync(file, input);
    const lines = input.toString('utf8').split('\n').length;
    try {
      const { settings, findings } = await loadConfig([file], { env: { HOME: '/home' } });
      const isError = findings.some(({ severity }) => severity === 'error');
      if (isError === (settings !== undefined)) fail('there are either settings or errors');
      for (const { line, column, message } of findings) {
        if (!(line >= 1 && line <= lines && column >= 1)) fail(`a finding is at ${line}:${column}, of ${lines} lines`);
        if (message === '' || message.includes('[object')) fail(`a finding says ${JSON.stringify(message)}`);
      }
    } catch (error) {
      if (!(error instanceof PointsmanError)) throw error;
    }
  }
}

/** A capture is read to its end, or refused. */
const capture: Target = {
  name: 'capture',
  seeds: (['ethernet', 'tagged', 'raw', 'loopback', 'cooked', 'cookedV2'] as const).flatMap((link) => {
    const packets = [
      { from: '192.0.2.1:1', to: '192.0.2.2:5060', flags: 'S', sequence: 9, link },
      { from: '192.0.2.1:1', to: '192.0.2.2:5060', sequence: 10, payload: 'hello', link },
      { from: '[2001:db8::1]:1', to: '[2001:db8::2]:5060', udp: true, payload: 'hello', link },
    ];
    return [pcap(packets), pcapng(packets)];
  }),
  words: [
    '\0',
    '\0\0\0\0',
    '\xff\xff\xff\xff',
    '\xa1\xb2\xc3\xd4',
    '\x0a\x0d\x0d\x0a',
    '\x45\0',
    '\x60\0\0\0',
    '\x86\xdd',
    '\x08\0',
    '\x81\0',
  ],
  async refresh() {},
  async run(input) {
    let at = 0;
    const read = (count: number) => input.subarray(at, (at = Math.min(input.length, at + count)));
    try {
      for (const transport of ['tcp', 'udp'] as const) {
        at = 0;
        const clients = new Clients(transport, [{ address: undefined, port: 5060 }]);
        let bytes = 0;
        for (const event of clients.events(packetsOf(read))) if (event.kind === 'bytes') bytes += event.bytes.length;
        if (bytes > 2 * input.length) fail(`${bytes} bytes come out of ${input.length}`);
      }
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
    }
  },
};

const ends = { remoteAddress: '192.0.2.1', remotePort: 1, localAddress: '192.0.2.2', localPort: 5060 };

/** A header is the same however much stands behind it, and is not found before all of it has come. */
const proxyProtocol: Target = {
  name: 'proxy-protocol',
  seeds: (['v1', 'v2'] as const).flatMap((version) => [
    writeProxyHeader(version, ends),
    writeProxyHeader(version, { ...ends, localAddress: '2001:db8::1' }),
    writeProxyHeader(version, undefined),
  ]),
  words: [
    'PROXY ',
    'TCP4 ',
    'TCP6 ',
    'UNKNOWN',
    '\r\n',
    ' ',
    '65535',
    '65536',
    '::',
    '::ffff:1.2.3.4',
    '\x21\x11\0\x0c',
    '\x20\0\0\0',
    '\xff\xff',
  ],
  async refresh() {},
  async run(input, random: Random) {
    const whole = headerIn(input);
    const cut = random.below(input.length + 1);
    const part = headerIn(input.subarray(0, cut));
    if (part !== 'more' && part !== whole) fail(`${part} in the first ${cut} bytes, ${whole} in all`);
    if (whole.startsWith('{') && cut < JSON.parse(whole).length && part !== 'more') fail(`found after ${cut} bytes`);
  },
};

function headerIn(bytes: Buffer): string {
  try {
    const header = readProxyHeader(bytes);
    return header === 'more' ? header : JSON.stringify(header);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return error.message;
  }
}

export const files: readonly Target[] = [new Config(), capture, proxyProtocol];

import { once } from 'node:events';
import net from 'node:net';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { freePort } from '../../../core/cli/demo/config.ts';
import { type Entry, Journal, Lane } from '../../../core/cli/demo/journal.ts';
import { lengthPrefixed } from '../../../core/cli/demo/length-prefixed.ts';
import { ndjson } from '../../../core/cli/demo/ndjson.ts';
import { sip } from '../../../core/cli/demo/sip.ts';
import { logLine, render } from '../../../core/cli/demo/view.ts';
import { demo } from '../../../core/cli/demo.ts';
import type { Signals } from '../../../core/cli/run.ts';
import { paint, widthOf } from '../../../core/cli/terminal/lines.ts';
import type { Out } from '../../../core/cli/terminal/screen.ts';

const at = new Date(2026, 0, 2, 10, 41, 7);

const entry = (facts: Partial<Entry>): Entry => ({
  at,
  session: 's1',
  told: ['{"session":"s1","n":1}', '', ''],
  backend: 'json-1',
  reason: 'strategy',
  ...facts,
});

/** Three lanes with a few messages in the first. */
function scene() {
  const journal = new Journal();
  const lanes = [
    new Lane(ndjson, 7100, ['json-1', 'json-2', 'json-3']),
    new Lane(lengthPrefixed, 7201, ['frame-1', 'frame-2', 'frame-3']),
    new Lane(sip, 5060, ['sip-1', 'sip-2', 'sip-3']),
  ] as const;
  const [lane] = lanes;
  journal.begin(lane, 's1');
  journal.begin(lane, 's2');
  journal.enter(lane, entry({}));
  journal.enter(lane, entry({ session: 's2', backend: 'json-2', told: ['{"session":"s2","n":1}', '', ''] }));
  const named: Entry['told'] = ['{"backend":"', 'json-1', '","session":"s1","n":2}'];
  journal.enter(lane, entry({ reason: 'identifier', told: named }));
  return { journal, lanes, elapsedSeconds: 65.9, configPath: '/tmp/demo.yaml' };
}

const shown = (what: ReturnType<typeof scene>, columns: number, rows: number) =>
  render(what, { columns, rows }).map((line) => paint(line, false).trimEnd());

describe('the live view', () => {
  it('fills 80 by 24', () => {
    expect(shown(scene(), 80, 24)).toEqual([
      'pointsman  one connection, many sessions, each at its backend   3 messages  1:05',
      'strategy chose it · identifier names it · affinity: a related message went there',
      '',
      'ndjson  127.0.0.1:7100  strategy: round-robin',
      '  json-1 ███████████████ 2  json-2 ███████▌ 1         json-3  0',
      '  10:41:07 s2   {"session":"s2","n":1}                       → json-2 strategy',
      '  10:41:07 s1   {"backend":"json-1","session":"s1","n":2}    → json-1 identifier',
      '  ✓ 2 sessions, none moved  s1 json-1 ×2  s2 json-2 ×1',
      `  try  printf '{"hello":"world"}\\n' | nc -w1 127.0.0.1 7100`,
      '',
      'length-prefixed  127.0.0.1:7201  strategy: least-loaded, port 7200 was in use',
      '  frame-1  0                frame-2  0                frame-3  0',
      '',
      '',
      '  ✓ 0 sessions, none moved',
      '  try  echo 00080000000000016869 | xxd -r -p | nc -w1 127.0.0.1 7201 | xxd',
      '',
      'sip  127.0.0.1:5060  strategy: hashing',
      '  sip-1  0                  sip-2  0                  sip-3  0',
      '',
      '',
      '  ✓ 0 sessions, none moved',
      '  try  sipp -sn uac -t t1 -m 1 127.0.0.1:5060',
      'Ctrl-C stops                                              config: /tmp/demo.yaml',
    ]);
  });

  it('has as many lines as the terminal, none of them wider, whatever its size', () => {
    const sizes = fc.record({ columns: fc.integer({ min: 1, max: 300 }), rows: fc.integer({ min: 1, max: 100 }) });
    fc.assert(
      fc.property(sizes, (size) => {
        const lines = render(scene(), size);
        expect(lines).toHaveLength(size.rows);
        expect(Math.max(...lines.map(widthOf))).toBeLessThanOrEqual(size.columns);
      }),
    );
  });

  it('says that a session has moved', () => {
    const moved = scene();
    moved.journal.answered(moved.lanes[0], 's1', 'json-3');
    expect(shown(moved, 80, 24)).toContain('  ✗ 1 of 2 sessions moved  s1 json-1+json-3 ×2  s2 json-2 ×1');
  });

  it('shows a message of yours, and why it was refused', () => {
    const refused = scene();
    const yours = entry({ session: undefined, backend: undefined, reason: 'malformed-json', told: ['{', '', ''] });
    refused.journal.enter(refused.lanes[0], yours);
    expect(shown(refused, 80, 24)).toContain(
      '  10:41:07 you  {                                            ✗ malformed-json',
    );
  });

  it('colours why a message went where it went, and the identifier that named its backend', () => {
    const line = render(scene(), { columns: 80, rows: 24 })[6]!;
    expect(paint(line, true)).toContain('{"backend":"\x1b[32mjson-1\x1b[39m","session"');
    expect(paint(line, true)).toContain('\x1b[32midentifier\x1b[39m');
  });

  it('lets no control character of a message through', () => {
    const what = scene();
    what.journal.enter(what.lanes[0], entry({ told: ['\x1b[2J\r\n', '\x9b', '\u202e'] }));
    expect(shown(what, 80, 24).join('')).toMatch(/s1 {3}·\[2J····/);
  });
});

describe('a line of the log', () => {
  const [lane] = scene().lanes;

  it('has the same facts', () => {
    const told: Entry['told'] = ['{"backend":"', 'json-1', '"}'];
    expect(logLine(lane, entry({ told, reason: 'identifier' }))).toBe(
      '10:41:07 ndjson          s1   -> json-1 identifier   {"backend":"json-1"}',
    );
    expect(
      logLine(lane, entry({ session: undefined, backend: undefined, reason: 'too-large', told: ['\n', '', ''] })),
    ).toBe('10:41:07 ndjson          you  refused: too-large     ·');
  });
});

it('takes the next port if one is in use', async () => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as net.AddressInfo;
  expect(await freePort(port)).toBeGreaterThan(port);
  taken.close();
});

/** What the demo writes, as it comes. */
class Recorder implements Out {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 80;
  readonly rows = 24;
  onWrite: (text: string) => void = () => {};
  onError: (error: NodeJS.ErrnoException) => void = () => {};

  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }
  write(text: string) {
    this.text += text;
    this.onWrite(text);
  }
  on(event: 'resize' | 'error', listener: (error: NodeJS.ErrnoException) => void) {
    if (event === 'error') this.onError = listener;
  }
  off() {}
}

class Keyboard implements Signals {
  exitCode: number | undefined;
  #listener: Parameters<Signals['on']>[1] = () => {};
  on(_signal: string, listener: Parameters<Signals['on']>[1]) {
    this.#listener = listener;
  }
  off() {}
  exit(code: number) {
    this.exitCode = code;
  }
  pressCtrlC() {
    this.#listener('SIGINT');
  }
}

/** The log's lines about messages, taken apart. */
const decisions = (text: string) =>
  Array.from(
    text.matchAll(/^\S+ (\S+) +(s\d+) +-> (\S+) (\S+) +(.*)$/gm),
    ([, lane, session, backend, reason, what]) => ({
      session: `${lane} ${session}`,
      backend,
      reason: `${lane} ${reason}`,
      what,
    }),
  );

describe('the demo', () => {
  it('keeps every session at one backend, by identifier and affinity', async () => {
    const out = new Recorder();
    expect(await demo({ messages: 120, anyPorts: true }, out, new Keyboard())).toBe(0);

    const routed = decisions(out.text);
    expect(routed).toHaveLength(120);
    const homes = new Map<string, Set<string | undefined>>();
    for (const { session, backend } of routed) homes.set(session, (homes.get(session) ?? new Set()).add(backend));
    expect([...homes.values()].every(({ size }) => size === 1)).toBe(true);
    expect(new Set(routed.map(({ backend }) => backend)).size).toBe(9);
    expect([...new Set(routed.map(({ reason }) => reason))].sort()).toEqual([
      'length-prefixed identifier',
      'length-prefixed strategy',
      'ndjson affinity',
      'ndjson identifier',
      'ndjson strategy',
      'sip affinity',
      'sip identifier',
      'sip strategy',
    ]);
    for (const method of ['INVITE', 'ACK', 'INFO', 'BYE', 'CANCEL']) {
      expect(routed.some(({ what }) => what!.startsWith(`${method} `))).toBe(true);
    }
    expect(out.text.match(/^(ndjson|length-prefixed|sip) .* yes$/gm)).toHaveLength(3);
    expect(out.text).toMatch(/^sip, from clients +40 = +40 \+ +0 \+ +0 \+ +0$/m);
    expect(out.text).not.toContain('\x1b');
  });

  it('gives the terminal back on Ctrl-C, then sums up', async () => {
    vi.stubEnv('TERM', 'xterm');
    const out = new Recorder(true);
    const keyboard = new Keyboard();
    out.onWrite = (text) => {
      if (text.includes('✓ 1 session, none moved')) keyboard.pressCtrlC();
    };
    expect(await demo({ anyPorts: true }, out, keyboard)).toBe(0);
    vi.unstubAllEnvs();

    const [view, afterwards, ...more] = out.text.split('\x1b[?7h\x1b[?25h\x1b[?1049l');
    expect(view!.startsWith('\x1b[?1049h\x1b[?25l\x1b[?7l')).toBe(true);
    expect(afterwards).toMatch(/^\n +sessions +messages .*\nndjson +1 +\d/);
    expect(more).toEqual([]);
    expect(keyboard.exitCode).toBeUndefined();
  });

  it('exits at once on a second Ctrl-C', async () => {
    const out = new Recorder();
    const keyboard = new Keyboard();
    out.onWrite = (text) => {
      if (!text.includes('-> json-1')) return;
      keyboard.pressCtrlC();
      const soon = performance.now();
      const clock = vi.spyOn(performance, 'now').mockReturnValue(soon + 1000);
      keyboard.pressCtrlC();
      clock.mockRestore();
    };
    await demo({ anyPorts: true }, out, keyboard);
    expect(keyboard.exitCode).toBe(130);
  });

  it('stops without a word when its reader has gone', async () => {
    const out = new Recorder();
    out.onWrite = (text) => {
      if (text.includes('-> json-1')) out.onError(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    };
    expect(await demo({ anyPorts: true }, out, new Keyboard())).toBe(0);
    expect(out.text).not.toContain('stayed put');
  });
});

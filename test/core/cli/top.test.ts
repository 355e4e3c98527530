import { EventEmitter } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { BackendRow } from '../../../core/cli/admin-client.ts';
import type { Signals } from '../../../core/cli/run.ts';
import { paint, widthOf } from '../../../core/cli/terminal/lines.ts';
import type { Out, Size } from '../../../core/cli/terminal/screen.ts';
import { type Overview, type Scene, view } from '../../../core/cli/top/view.ts';
import { top } from '../../../core/cli/top.ts';
import { temporaryFolder } from '../../support/peers.ts';
import { collect } from './streams.ts';

const backend = (name: string, facts: Partial<BackendRow> = {}): BackendRow => ({
  pool: 'calls',
  name,
  address: 'tcp://192.0.2.1:5060',
  state: 'ready',
  status: 'up',
  why: 'tcp-connect: passed in 0.4 ms',
  weight: 1,
  sessions: 1,
  messages: 1000,
  messagesPerSecond: 50,
  inFlight: 2,
  queued: 0,
  failedConnects: 0,
  unanswered: 0,
  idleSeconds: null,
  drained: false,
  p50Ms: 7,
  p99Ms: 64.5,
  ...facts,
});

const overview = (facts: Partial<Overview> = {}): Overview => ({
  version: '1.2.3',
  phase: 'running',
  workers: 1,
  uptimeSeconds: 3661,
  troubles: [],
  listeners: [
    {
      name: 'edge',
      listen: 'tcp://127.0.0.1:5060',
      pool: 'calls',
      connections: 8,
      inFlight: 4,
      rates: { requests: 100, answers: 99.5, refused: 0.5, discarded: 0 },
      routesPerSecond: { identifier: 60, affinity: 0, strategy: 40, correlation: 99.5 },
    },
  ],
  backends: [backend('a'), backend('b')],
  ...facts,
});

const shown = (scene: Scene, size: Size) => view(scene, size).map((line) => paint(line, false).trimEnd());
const url = 'http://127.0.0.1:9901';

describe('what top shows', () => {
  it('fits 80 by 24', () => {
    const down = backend('b', {
      status: 'down',
      why: 'it cannot be reached',
      failedConnects: 3,
      p50Ms: null,
      p99Ms: null,
    });
    const troubles = [
      { severity: 'bad', text: 'calls/b is down: it cannot be reached' },
      { severity: 'warn', text: 'edge refuses 0.5 messages/s: forged-identifier' },
    ];
    expect(
      shown({ overview: overview({ troubles, backends: [backend('a'), down] }), url }, { columns: 80, rows: 24 }),
    ).toEqual([
      'pointsman 1.2.3  running, 1 process, up 1 h 1 min',
      '✖ calls/b is down: it cannot be reached',
      '! edge refuses 0.5 messages/s: forged-identifier',
      '',
      '  listener  clients  requests/s  answers/s  refused/s  discarded/s  in flight',
      '  edge            8       100.0       99.5        0.5          0.0          4',
      '    tcp://127.0.0.1:5060 to calls: identifier 60 %, strategy 40 %',
      '',
      '  backend  state  msg/s  p50 ms  p99 ms  in flight  queued  errors',
      '✖ calls/b  down    50.0       -       -          2       0       3',
      '● calls/a  up      50.0       7    64.5          2       0       0',
      ...Array.from({ length: 11 }, () => ''),
      '',
      'q quits  http://127.0.0.1:9901',
    ]);
  });

  it('has room for why everything is as it is on a wide terminal', () => {
    const lines = shown({ overview: overview() }, { columns: 160, rows: Number.POSITIVE_INFINITY });
    expect(lines[1]).toBe('✓ nothing is wrong');
    expect(lines[4]).toMatch(/ 4 {2}tcp:\/\/127\.0\.0\.1:5060 to calls: identifier 60 %, strategy 40 %$/);
    expect(lines.at(-1)).toMatch(/ 1000 {2}tcp-connect: passed in 0\.4 ms$/);
  });

  it('counts the backends that it has no room for, those that are not up first', () => {
    const backends = Array.from({ length: 200 }, (_, index) =>
      backend(`b${index}`, index >= 190 ? { status: 'failing' } : {}),
    );
    const lines = (rows: number) => shown({ overview: overview({ backends }), url }, { columns: 80, rows });
    expect(lines(24)).toContain('  … 187 more, all up');
    expect(lines(24)[8]).toMatch(/^✖ calls\/b190 {2}failing/);
    expect(lines(15)).toContain('  … 196 more, 6 of them not up');
  });

  it('is never wider or longer than the terminal, and lets no control character through', () => {
    const scene: Scene = {
      overview: overview({
        troubles: Array.from({ length: 9 }, () => ({ severity: 'bad', text: '\x1b[2J\u202e' })),
        backends: [backend('\x1b]0;x\x07'), backend('b', { why: '\x9b2J\r\n' })],
      }),
      url,
    };
    const sizes = fc.record({ columns: fc.integer({ min: 1, max: 250 }), rows: fc.integer({ min: 1, max: 60 }) });
    fc.assert(
      fc.property(sizes, (size) => {
        const lines = view(scene, size);
        expect(lines.length).toBeLessThanOrEqual(size.rows);
        expect(Math.max(...lines.map(widthOf))).toBeLessThanOrEqual(size.columns);
        expect(lines.map((line) => paint(line, false)).join('')).not.toMatch(/\p{Cc}|\u202e/u);
      }),
    );
  });
});

/** A terminal whose screen is what was written to it, and whose keys can be pressed. */
class FakeTerminal extends EventEmitter implements Out {
  readonly isTTY = true;
  columns = 80;
  rows = 24;
  text = '';
  isRaw = false;
  readonly keys = Object.assign(new EventEmitter(), {
    isTTY: true,
    setRawMode: (isRaw: boolean) => (this.isRaw = isRaw),
    resume: () => {},
    pause: () => {},
  });
  readonly signals: Signals & EventEmitter = Object.assign(new EventEmitter(), { exit: () => {} });

  write(text: string): void {
    this.text += text;
    this.emit('written');
  }

  /** What is on the screen now. */
  get screen(): string {
    return this.text.slice(this.text.lastIndexOf('\x1b[H'));
  }

  async until(isThere: (screen: string) => boolean): Promise<void> {
    while (!isThere(this.screen)) await new Promise((resolve) => this.once('written', resolve));
  }
}

/** A balancer that is told when it is asked, and what to answer. */
async function fakeBalancer(answer: () => Overview | number): Promise<string> {
  const path = join(temporaryFolder(), 'admin.sock');
  const server = http.createServer((_, response) => {
    const told = answer();
    if (typeof told === 'number') response.writeHead(told).end('{"detail":"it is stopping"}');
    else response.end(JSON.stringify(told));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `unix:${path}`;
}

const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';

describe('the live screen', () => {
  beforeEach(() => void vi.stubEnv('TERM', 'xterm'));
  afterEach(() => void vi.unstubAllEnvs());

  it('shows what is new until q is pressed, follows the size of the terminal, and gives it back', async () => {
    let seconds = 0;
    const url = await fakeBalancer(() => overview({ uptimeSeconds: ++seconds }));
    const terminal = new FakeTerminal();
    const output = collect();
    const done = top({ url }, output, { out: terminal, ...terminal });
    await terminal.until((screen) => screen.includes('up 2 s'));
    expect(terminal.text.startsWith(enter)).toBe(true);
    expect(terminal.isRaw).toBe(true);
    expect(terminal.screen).not.toContain('tcp-connect');
    terminal.columns = 160;
    terminal.emit('resize');
    expect(terminal.screen).toContain('tcp-connect: passed');
    terminal.keys.emit('data', Buffer.from('xq'));
    expect(await done).toBe(0);
    expect(terminal.text.endsWith(leave)).toBe(true);
    expect([terminal.isRaw, terminal.listenerCount('resize'), terminal.keys.listenerCount('data')]).toEqual([
      false,
      0,
      0,
    ]);
    expect([output.stdout.text, output.stderr.text]).toEqual(['', '']);
  });

  it.each([
    ['Ctrl-C as a key', ({ keys }: FakeTerminal) => keys.emit('data', Buffer.from('\x03'))],
    ['SIGTERM', ({ signals }: FakeTerminal) => signals.emit('SIGTERM', 'SIGTERM')],
  ])('ends at %s', async (_, end) => {
    const terminal = new FakeTerminal();
    const url = await fakeBalancer(() => overview());
    const done = top({ url }, collect(), { out: terminal, ...terminal });
    await terminal.until((screen) => screen.includes('calls/a'));
    end(terminal);
    expect(await done).toBe(0);
    expect(terminal.text.endsWith(leave)).toBe(true);
  });

  it('says what is wrong with the balancer, and goes on when that has passed', async () => {
    const answers = [overview(), 503, overview({ uptimeSeconds: 7 })];
    const url = await fakeBalancer(() => answers.shift() ?? overview({ uptimeSeconds: 8 }));
    const terminal = new FakeTerminal();
    const done = top({ url }, collect(), { out: terminal, ...terminal });
    await terminal.until((screen) => screen.includes('✖ it is stopping; this is how it was'));
    expect(terminal.screen).toContain('calls/a');
    await terminal.until((screen) => /up [78] s/.test(screen));
    expect(terminal.screen).not.toContain('stopping');
    terminal.keys.emit('data', Buffer.from('q'));
    await done;
  });

  it('is not entered where nobody answers', async () => {
    const terminal = new FakeTerminal();
    const output = collect();
    expect(await top({ url: 'unix:/nowhere/admin.sock' }, output, { out: terminal, ...terminal })).toBe(2);
    expect(terminal.text).toBe('');
    expect(output.stderr.text).toMatch(/^pointsman: nobody answers at unix:\/nowhere/);
  });
});

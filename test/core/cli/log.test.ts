import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { createLog, setLogLevel } from '../../../core/cli/log.ts';
import { Faults } from '../../../core/faults.ts';
import { collect } from './streams.ts';

async function logAt(now = { ms: 0 }) {
  const { stdout } = collect();
  const log = await createLog({ level: 'info', stream: stdout, now: () => now.ms });
  const take = () => {
    const lines = stdout.text.split('\n').slice(0, -1);
    stdout.text = '';
    return lines.map((line) => {
      const { time, ...fields } = JSON.parse(line);
      expect(time).toMatch(/^\d{4}-\d\d-\d\dT/);
      return fields;
    });
  };
  return { log, take, now };
}

describe('the log', () => {
  it('is one JSON object a line, with what its children name', async () => {
    const { log, take } = await logAt();
    log.child({ listener: 'edge' }).info({ address: 'tcp://127.0.0.1:5060' }, 'listening');
    log.debug({}, 'not this');
    log.warn('plain');
    expect(take()).toEqual([
      { level: 'info', listener: 'edge', address: 'tcp://127.0.0.1:5060', msg: 'listening' },
      { level: 'warn', msg: 'plain' },
    ]);
  });

  it('takes another level, and so do its children', async () => {
    const { log, take } = await logAt();
    const child = log.child({ listener: 'edge' });
    setLogLevel(log, 'debug');
    child.debug({}, 'now this');
    child.child({ plugin: 'acme' }).debug({}, 'and this');
    setLogLevel(log, 'error');
    child.info({}, 'not this');
    expect(take().map(({ msg }) => msg)).toEqual(['now this', 'and this']);
  });

  it('says which worker speaks, where there are several', async () => {
    const { stdout } = collect();
    const log = await createLog({ level: 'info', stream: stdout, worker: 2 });
    log.child({ listener: 'edge' }).info({}, 'listening');
    expect(JSON.parse(stdout.text)).toMatchObject({ worker: 2, listener: 'edge', msg: 'listening' });
  });

  it('says once what went wrong in a plugin', async () => {
    const { log, take } = await logAt();
    log.error({ err: new Error('[sip] frame: boom', { cause: new Error('boom') }) }, 'a plugin failed');
    expect(take()).toMatchObject([{ err: { message: '[sip] frame: boom', cause: { message: 'boom' } } }]);
  });

  it('is readable on a terminal', async () => {
    const { stdout } = collect({ isTTY: true });
    (await createLog({ level: 'info', stream: stdout })).info({ listener: 'edge' }, 'listening');
    const text = stripVTControlCharacters(stdout.text);
    expect(text).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: listening \{"listener":"edge"\}\n$/);
  });

  it('tells a warning that repeats once a second, with how often it came', async () => {
    const { log, take, now } = await logAt();
    const edge = log.child({ listener: 'edge' });
    const other = log.child({ listener: 'other' });
    for (let i = 0; i < 5; i++) edge.warn({ i }, 'forged');
    other.warn({}, 'forged');
    edge.warn({}, 'too large');
    edge.error({}, 'forged');
    expect(take()).toEqual([
      { level: 'warn', listener: 'edge', i: 0, msg: 'forged' },
      { level: 'warn', listener: 'other', msg: 'forged' },
      { level: 'warn', listener: 'edge', msg: 'too large' },
      { level: 'error', listener: 'edge', msg: 'forged' },
    ]);
    now.ms = 999;
    edge.warn({}, 'forged');
    expect(take()).toEqual([]);
    now.ms = 1000;
    edge.warn({ i: 6 }, 'forged');
    now.ms = 2000;
    edge.warn({ i: 7 }, 'forged');
    expect(take()).toEqual([
      { level: 'warn', listener: 'edge', i: 6, suppressed: 5, msg: 'forged' },
      { level: 'warn', listener: 'edge', i: 7, msg: 'forged' },
    ]);
  });

  it('keeps no more for a reader that does not keep up than it may, and says how many lines it dropped', async () => {
    const waiting: string[] = [];
    let drain = () => {};
    const stream = {
      write: (text: string) => void waiting.push(text),
      get writableLength() {
        return waiting.reduce((sum, { length }) => sum + length, 0);
      },
      on: (_event: string, listener: () => void) => void (drain = listener),
    };
    const faults = new Faults();
    let nowMs = 0;
    const log = await createLog({ level: 'info', stream, faults, now: () => nowMs });
    const text = 'x'.repeat(100_000);
    for (let each = 0; each < 20; each++) log.info({}, text);
    expect([waiting.length, faults.log.droppedLines]).toEqual([11, 9]);
    waiting.splice(0, 5); // not half of it
    log.info({}, text);
    expect([waiting.length, faults.log.droppedLines]).toEqual([6, 10]);
    waiting.splice(0, 1);
    log.info({}, 'at last');
    const told = 'lines of the log were dropped so far: whoever reads it does not keep up';
    expect(waiting.slice(-2).map((line) => JSON.parse(line))).toMatchObject([
      { level: 'warn', dropped: 10, msg: told },
      { msg: 'at last' },
    ]);

    for (let each = 0; each < 20; each++) log.info({}, text);
    waiting.length = 0;
    nowMs = 1000;
    drain();
    expect(waiting.map((line) => JSON.parse(line))).toMatchObject([{ dropped: 24, msg: told }]);
  });

  it('tells informative events every time', async () => {
    const { log, take } = await logAt();
    for (let i = 0; i < 3; i++) log.info({}, 'listening');
    expect(take()).toHaveLength(3);
  });
});

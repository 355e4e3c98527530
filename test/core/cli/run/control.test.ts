import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { RunControl } from '../../../../core/cli/run/control.ts';
import { loadConfig } from '../../../../core/config/load.ts';
import { Rig } from '../../../../core/rehearsal/rig.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(directory, { recursive: true }));

async function controlled() {
  const file = join(directory, 'config.yaml');
  writeFileSync(
    file,
    `keys: [{ id: k1, secret: "\${env:KEY}" }]
pools: { calls: { backends: { a: "tcp://127.0.0.1:1", b: "tcp://127.0.0.1:2" } } }
listeners: { edge: { listen: "tcp://127.0.0.1:3", pool: calls, pipeline: [{ ndjson: }, { round-robin: }] } }
`,
  );
  const loaded = await loadConfig([file], { env: { KEY: 'a secret of the tests' } });
  const settings = loaded.settings!;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const { balancer } = await Rig.start(settings, { log });
  const levels: string[] = [];
  const control = new RunControl({
    running: () => ({ ...loaded, settings }),
    balancer,
    logLevel: 'info',
    onLogLevel: (level) => void levels.push(level),
    stop: () => {},
  });
  return { balancer, control, levels };
}

describe('the control of a run', () => {
  it('shows the config as it was written, what listeners are made of, and which plugins are used where', async () => {
    const { control } = await controlled();
    expect(control.config()).toMatchObject({ keys: [{ id: 'k1', secret: '${env:KEY}' }] });
    expect(control.listeners()).toMatchObject([{ listener: 'edge', pool: 'calls', links: 'dedicated' }]);
    expect(control.plugins().find(({ name }) => name === 'ndjson')?.usedBy).toEqual(['listener edge']);
  });

  it('explains a message from the config that runs, with what operators have changed since', async () => {
    const { balancer, control } = await controlled();
    const sending = { bytes: Buffer.from('{"id":1}\n') };
    balancer.setBackend('calls', 'a', { state: 'drain' });
    expect(await control.explain('edge', sending)).toMatchObject({
      messages: [{ from: 'client', outcome: { kind: 'forwarded', to: { backend: 'b' }, reason: 'strategy' } }],
    });
    await expect(control.explain('none', sending)).rejects.toThrow('there is no listener "none"');
    const unknown = control.explain('edge', { ...sending, backend: 'c' });
    await expect(unknown).rejects.toThrow('there is no backend "c" in a pool "calls"');
  });

  it('explains no more than a hundred messages, as traffic waits meanwhile', async () => {
    const { control } = await controlled();
    const bytes = Buffer.from('{}\n'.repeat(101));
    expect(await control.explain('edge', { bytes })).toMatchObject({
      messages: { length: 100, 99: { outcome: { kind: 'forwarded' } } },
      unreadBytes: 3,
    });
  });

  it('sets the level of the log', async () => {
    const { control, levels } = await controlled();
    control.setLogLevel('debug');
    expect([control.logLevel, levels]).toEqual(['debug', ['debug']]);
    expect(() => control.setLogLevel('loud')).toThrow('there is no log level "loud"');
  });
});

/** The demo runs from a config like anybody's: its text goes through the same loader. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../config/load.ts';
import type { Settings } from '../../settings.ts';
import { textReport } from '../report/text.ts';
import { host } from './backend.ts';
import type { BackendAddress, DemoProtocol } from './protocol.ts';

export interface LaneConfig {
  readonly protocol: DemoProtocol;
  /** Where its listener listens. */
  readonly port: number;
  readonly backends: readonly BackendAddress[];
}

/** The config as YAML. */
function configText(lanes: readonly LaneConfig[]): string {
  return [
    '# The config of a running `pointsman demo`. Its backends end with the demo: give it addresses of your own.',
    'pools:',
    ...lanes.flatMap(({ protocol, backends }) => [
      `  ${protocol.name}:`,
      '    backends:',
      ...backends.map(({ name, port }, i) => {
        const address = `tcp://${host}:${port}`;
        return `      ${name}: ${protocol.numbersBackends ? `{ address: '${address}', number: ${i + 1} }` : address}`;
      }),
    ]),
    '',
    'listeners:',
    ...lanes.flatMap(({ protocol, port }) => [
      `  ${protocol.name}:`,
      `    listen: tcp://${host}:${port}`,
      `    pool: ${protocol.name}`,
      '    pipeline:',
      ...protocol.pipeline.map(({ plugin, options }) => `      - ${plugin}: ${options}`),
    ]),
    '',
  ].join('\n');
}

export interface ConfigFile {
  readonly path: string;
  readonly settings: Settings;
  remove(): void;
}

/** Writes the config where others can read it as long as the demo runs, and loads it. */
export async function writeConfig(lanes: readonly LaneConfig[]): Promise<ConfigFile> {
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-demo-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const path = join(folder, 'demo.yaml');
    writeFileSync(path, configText(lanes));
    const { settings, findings } = await loadConfig([path]);
    if (settings === undefined) throw new Error(`the demo's config is wrong:\n${textReport(findings, false)}`);
    return { path, settings, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** How many ports are tried. */
const mostPorts = 100;

/**
 * The first free port from `first` on; 0: any free one.
 * @throws Error (rejects with) if there is none near
 */
export async function freePort(first: number): Promise<number> {
  for (let port = first; ; port++) {
    const server = net.createServer();
    try {
      server.listen(port, host);
      await once(server, 'listening');
      return (server.address() as net.AddressInfo).port;
    } catch (cause) {
      if (port + 1 < first + mostPorts) continue;
      throw new Error(`no port from ${first} to ${port} is free: ${(cause as Error).message}`, { cause });
    } finally {
      server.close();
    }
  }
}

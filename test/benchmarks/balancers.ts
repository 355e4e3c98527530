/** The balancers that are measured: what they need, and how each is told to spread connections or messages over the backends. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isInstalled } from '../support/programs.ts';
import type { Protocol } from './dialects.ts';
import { nodeOf } from './nodes.ts';

/** One listener, with the backends behind it. */
export interface Site {
  readonly protocol: Protocol;
  readonly port: number;
  readonly backendPorts: readonly number[];
  /** How many plugins that do next to nothing follow those of the pipeline; undefined: none. */
  readonly idlePlugins?: number;
}

export interface Balancer {
  readonly name: string;
  /** The protocols it can balance; undefined: any. */
  readonly protocols?: readonly Protocol[];
  /** It has listeners for all protocols in one process, whichever is measured. */
  readonly together?: boolean;
  /** It has observers. */
  readonly isObserved?: boolean;
  /** How many processes share the work; undefined: one. With more, they need as many processors. */
  readonly workers?: number;
  /** The command that says what version it is, or what version of Node.js runs it. */
  readonly version: readonly [program: string, option: string];
  /** Why it cannot run here; undefined: it can. */
  missing(): string | undefined;
  /** Writes its config to `folder`; answers the command. */
  command(sites: readonly Site[], folder: string, nodeArguments: readonly string[]): readonly [string, ...string[]];
}

const host = '127.0.0.1';
const cli = fileURLToPath(new URL('../../.build/core/cli/main.js', import.meta.url));
const relay = fileURLToPath(new URL('relay.js', import.meta.url));
const nginxStream = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** How many connections the others may open; twice as many descriptors are needed, and the usual limit is 20,000. */
const connections = 9000;

function program(name: string, debianPackages: string): Balancer['missing'] {
  return () => (isInstalled(name) ? undefined : `not installed (Debian: apt-get install ${debianPackages})`);
}

function write(folder: string, name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** A protocol and a strategy each. */
const pipelines: Readonly<Record<Protocol, readonly [string, string]>> = {
  ndjson: ['ndjson: { id: backend, correlation: id }', 'round-robin: {}'],
  'length-prefixed': [
    'length-prefixed: { length: { size: 4 }, id: { offset: 4, size: 2 }, correlation: { offset: 6, size: 8 } }',
    'round-robin: {}',
  ],
  sip: ['sip: {}', 'hashing: { key: message }'],
};
export const pipelinePlugins = 2;

/** A plugin that sees every message twice, as those do that count, label or limit, and leaves it as it is. */
const idlePlugin = (name: string) => `import { definePlugin, Type } from 'pointsman';
let seen = 0;
export default definePlugin({
  name: '${name}',
  summary: 'Counts messages.',
  pointsman: '^1',
  options: Type.Object({}),
  apply(hooks) {
    hooks.detectId.tap({ name: '${name}', stage: -1 }, () => {
      seen++;
      return undefined;
    });
    hooks.forward.tap('${name}', () => {
      seen++;
    });
  },
});
`;

interface ConfigOptions {
  readonly workers?: number;
  /** Entries of `observers`. */
  readonly observers?: readonly string[];
}

/** @param folder where plugins are written to that the sites ask for */
export function pointsmanConfig(
  sites: readonly Site[],
  folder: string,
  { workers = 1, observers = [] }: ConfigOptions = {},
): string {
  const most = Math.max(...sites.map(({ idlePlugins = 0 }) => idlePlugins));
  const idle = Array.from({ length: most }, (_, i) => `idle-${i + 1}`);
  for (const name of idle) write(folder, `${name}.ts`, idlePlugin(name));
  const pools = sites.map(({ protocol, backendPorts }) => {
    const backends = backendPorts.map((port, i) => `b${i + 1}: { address: tcp://${host}:${port}, number: ${i + 1} }`);
    return `  ${protocol}: { backends: { ${backends.join(', ')} } }`;
  });
  const listeners = sites.map(({ protocol, port, idlePlugins = 0 }) => {
    const others = idle.slice(0, idlePlugins).map((name) => `${name}: {}`);
    const pipeline = [...pipelines[protocol], ...others].map((plugin) => `{ ${plugin} }`).join(', ');
    return `  ${protocol}: { listen: tcp://${host}:${port}, pool: ${protocol}, pipeline: [${pipeline}] }`;
  });
  return [
    `workers: ${workers}`,
    `plugins: [${idle.map((name) => `./${name}.ts`).join(', ')}]`,
    'keys: [{ id: k1, secret: of the benchmark and of nobody else }]',
    'pools:',
    ...pools,
    'listeners:',
    ...listeners,
    ...(observers.length > 0 ? [`observers: [${observers.map((entry) => `{ ${entry} }`).join(', ')}]`] : []),
    '',
  ].join('\n');
}

interface PointsmanOptions extends ConfigOptions {
  readonly together?: boolean;
}

/** @param node the program that runs it */
function pointsman(name: string, node: string, { together = false, ...options }: PointsmanOptions = {}): Balancer {
  const { workers = 1, observers = [] } = options;
  return {
    name,
    together,
    workers,
    isObserved: observers.length > 0,
    version: [node, '--version'],
    missing: () => (existsSync(cli) ? undefined : 'not built (npm run build)'),
    command(sites, folder, nodeArguments) {
      const config = write(folder, 'pointsman.yaml', pointsmanConfig(sites, folder, options));
      return [node, ...nodeArguments, cli, 'run', config, '--log-level', 'warn'];
    },
  };
}

/** pointsman as another version of Node.js runs it. */
export function pointsmanOnNode(version: string): Balancer {
  return pointsman(`pointsman (node ${version})`, nodeOf(version));
}

const haproxy: Balancer = {
  name: 'haproxy',
  version: ['haproxy', '-v'],
  missing: program('haproxy', 'haproxy'),
  command(sites, folder) {
    const { port, backendPorts } = sites[0]!;
    const config = `
global
  nbthread 1
  maxconn ${connections}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen edge
  bind ${host}:${port}
  backlog 4096
  balance roundrobin
${backendPorts.map((backend, i) => `  server b${i + 1} ${host}:${backend}`).join('\n')}
`;
    return ['haproxy', '-db', '-f', write(folder, 'haproxy.cfg', config)];
  },
};

const nginx: Balancer = {
  name: 'nginx',
  version: ['nginx', '-v'],
  missing: () =>
    existsSync(nginxStream)
      ? program('nginx', 'nginx')()
      : 'not installed (Debian: apt-get install nginx libnginx-mod-stream)',
  command(sites, folder) {
    const { port, backendPorts } = sites[0]!;
    const config = `
load_module ${nginxStream};
daemon off;
worker_processes 1;
worker_rlimit_nofile ${2 * connections + 100};
error_log stderr warn;
pid ${folder}/nginx.pid;
events { worker_connections ${2 * connections}; }
stream {
  upstream backends { ${backendPorts.map((backend) => `server ${host}:${backend};`).join(' ')} }
  server { listen ${host}:${port} backlog=4096; proxy_pass backends; proxy_timeout 1h; }
}
`;
    return ['nginx', '-p', folder, '-c', write(folder, 'nginx.conf', config)];
  },
};

const nodePipe: Balancer = {
  name: 'node-pipe',
  version: [process.execPath, '--version'],
  missing: () => undefined,
  command(sites) {
    const { port, backendPorts } = sites[0]!;
    return [process.execPath, relay, `${port}`, ...backendPorts.map(String)];
  },
};

/** Stateless, by Call-ID, so that a dialog stays where it began. */
const kamailio: Balancer = {
  name: 'kamailio',
  version: ['kamailio', '-v'],
  protocols: ['sip'],
  missing: program('kamailio', 'kamailio'),
  command(sites, folder) {
    const { port, backendPorts } = sites[0]!;
    const list = backendPorts.map((backend) => `1 sip:${host}:${backend};transport=tcp 0 0\n`);
    const config = `
debug=0
log_stderror=yes
children=1
tcp_children=1
tcp_max_connections=${connections}
tcp_connection_lifetime=3600
listen=tcp:${host}:${port}
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "dispatcher.so"
modparam("dispatcher", "list_file", "${write(folder, 'dispatcher.list', list.join(''))}")
request_route {
  if (!mf_process_maxfwd_header("70")) { sl_send_reply("483", "Too Many Hops"); exit; }
  force_rport();
  if (!loose_route()) record_route();
  if (!ds_select_dst("1", "0")) { sl_send_reply("503", "Service Unavailable"); exit; }
  forward();
}
`;
    return ['kamailio', '-DD', '-E', '-x', 'tlsf', '-Y', folder, '-f', write(folder, 'kamailio.cfg', config)];
  },
};

/** As configs have them by default, but where a port may be taken. Nobody listens there for spans. */
const metrics = 'metrics: { listen: "tcp://127.0.0.1:0" }';
const traces = 'traces: { endpoint: "http://127.0.0.1:9", messages: 1000 }';

/** In the order of the table. */
export const balancers: readonly Balancer[] = [
  pointsman('pointsman', process.execPath),
  pointsman('pointsman-all', process.execPath, { together: true }),
  pointsman('pointsman-2', process.execPath, { workers: 2 }),
  pointsman('pointsman-metrics', process.execPath, { observers: [metrics] }),
  pointsman('pointsman-traces', process.execPath, { observers: [traces] }),
  haproxy,
  nginx,
  nodePipe,
  kamailio,
];

/** The first line of what it says about itself. */
export function versionOf({ version: [program, option] }: Balancer): string {
  const { stdout, stderr } = spawnSync(program, [option], { encoding: 'utf8' });
  return `${stdout}${stderr}`.split('\n', 1)[0]!.trim();
}

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { plugins } from '../../../core/cli/plugins.ts';
import { sarifReport } from '../../../core/cli/report/sarif.ts';
import { schema } from '../../../core/cli/schema.ts';
import { validate } from '../../../core/cli/validate.ts';
import { rules } from '../../../core/config/rules.ts';
import { collect } from './streams.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
}

const good = `pools: { calls: { backends: { a: tcp://127.0.0.1:7001, b: tcp://127.0.0.1:7002 } } }
listeners:
  edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ ndjson: }, { round-robin: }] }
`;
const warned = file('warned.yaml', `${good}keys: [{ id: k1, secret: 0123456789abcdef }]\n`);
const broken = file('broken.yaml', good.replace('ndjson', 'ndsjon').replace('calls,', 'cals,'));

describe('validate', () => {
  it('sums up a config that is in order', async () => {
    const path = file('good.yaml', good);
    const output = collect();
    expect(await validate([path], { format: 'text' }, output)).toBe(0);
    expect(output.stdout.text).toBe(`${path}: ok — 1 listener, 1 pool, 2 backends\n`);
    expect(output.stderr.text).toBe('');
  });

  it('prints one line for each mistake', async () => {
    const output = collect();
    expect(await validate([broken], { format: 'text' }, output)).toBe(1);
    expect(output.stdout.text).toBe(
      `${broken}:3:47  there is no pool "cals"; did you mean "calls"?\n` +
        `${broken}:3:66  there is no plugin "ndsjon"; did you mean "ndjson"?\n` +
        '2 errors\n',
    );
  });

  it('prints JSON', async () => {
    const output = collect();
    expect(await validate([broken], { format: 'json' }, output)).toBe(1);
    expect(JSON.parse(output.stdout.text).findings[1]).toEqual({
      file: broken,
      line: 3,
      column: 66,
      severity: 'error',
      stage: 'plugins',
      rule: 'unknown-plugin',
      message: 'there is no plugin "ndsjon"; did you mean "ndjson"?',
    });
  });

  it('prints workflow commands for GitHub, whatever stands in names', async () => {
    const odd = file('odd, 100%: a.yaml', good.replace('calls,', 'cals,'));
    const output = collect();
    expect(await validate([odd], { format: 'github' }, output)).toBe(1);
    const shown = odd.replace('%', '%25').replace(':', '%3A').replace(',', '%2C');
    expect(output.stdout.text).toBe(
      `::error file=${shown},line=3,col=47,title=pointsman%3A unknown-name::there is no pool "cals"; did you mean "calls"?\n`,
    );
    const clean = collect();
    expect(await validate([file('good.yaml', good)], { format: 'github' }, clean)).toBe(0);
    expect(clean.stdout.text).toBe('');
  });

  it('prints SARIF: rules with their texts, and findings at their places', async () => {
    const output = collect();
    expect(await validate([broken], { format: 'sarif' }, output)).toBe(1);
    const { version, runs } = JSON.parse(output.stdout.text);
    expect(version).toBe('2.1.0');
    const [{ tool, results, columnKind }] = runs;
    expect(columnKind).toBe('utf16CodeUnits');
    expect(tool.driver.rules.map(({ id }: { id: string }) => id)).toEqual(Object.keys(rules));
    for (const { ruleId, ruleIndex } of results) expect(tool.driver.rules[ruleIndex].id).toBe(ruleId);
    expect(results).toContainEqual({
      ruleId: 'unknown-plugin',
      ruleIndex: Object.keys(rules).indexOf('unknown-plugin'),
      level: 'error',
      message: { text: 'there is no plugin "ndsjon"; did you mean "ndjson"?' },
      locations: [
        {
          physicalLocation: {
            artifactLocation: { uri: String(pathToFileURL(broken)) },
            region: { startLine: 3, startColumn: 66 },
          },
        },
      ],
      partialFingerprints: { 'finding/v1': expect.stringMatching(/^[0-9a-f]{32}$/) },
    });
  });

  it('names files in SARIF from where it runs, and findings alike wherever they move', () => {
    const finding = {
      file: 'conf/ä b.yaml',
      line: 3,
      column: 1,
      severity: 'warning',
      stage: 'lint',
      rule: 'unused-pool',
      message: 'no listener feeds the pool "a"',
    } as const;
    const resultOf = (line: number, directory: string) => {
      const [run] = JSON.parse(sarifReport([{ ...finding, line }], directory)).runs;
      return { ...run.results[0], root: run.originalUriBaseIds['%SRCROOT%'].uri };
    };
    const [one, other] = [resultOf(3, '/here'), resultOf(30, '/there')];
    expect(one.root).toBe('file:///here/');
    expect(one.locations[0].physicalLocation.artifactLocation).toEqual({
      uri: 'conf/%C3%A4%20b.yaml',
      uriBaseId: '%SRCROOT%',
    });
    expect(one.partialFingerprints).toEqual(other.partialFingerprints);
  });

  it('writes further reports into files', async () => {
    const [sarif, json] = [join(directory, 'out.sarif'), join(directory, 'out.json')];
    const output = collect({ isTTY: true });
    const reports = [
      { format: 'sarif', file: sarif },
      { format: 'json', file: json },
    ] as const;
    expect(await validate([broken], { format: 'text', output: reports }, output)).toBe(1);
    expect(JSON.parse(readFileSync(sarif, 'utf8')).runs[0].results).toHaveLength(2);
    expect(JSON.parse(readFileSync(json, 'utf8')).findings).toHaveLength(2);
    const nowhere = [{ format: 'json', file: join(directory, 'no', 'where') }] as const;
    await expect(validate([broken], { format: 'text', output: nowhere }, collect())).rejects.toThrow(
      /^cannot write .*where: no such file$/,
    );
  });

  it('tries the backends if asked to, and says where the config has those that cannot be reached', async () => {
    const server = net.createServer((socket) => socket.destroy()).listen({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const closed = net.createServer().listen({ port: 0, host: '127.0.0.1' });
    await once(closed, 'listening');
    const { port: nobody } = closed.address() as net.AddressInfo;
    closed.close();
    await once(closed, 'close');
    const path = file('connect.yaml', good.replace('7001', String(port)).replace('7002', String(nobody)));
    const output = collect();
    expect(await validate([path], { format: 'text', connect: true }, output)).toBe(1);
    const column = readFileSync(path, 'utf8').indexOf(' b:') + 2;
    expect(output.stdout.text).toBe(
      `${path}:1:${column}  backend "b" cannot be reached: connect ECONNREFUSED 127.0.0.1:${nobody}\n1 error\n`,
    );
    server.close();
  });

  it('lets warnings pass unless they are denied', async () => {
    const output = collect();
    expect(await validate([warned], { format: 'text' }, output)).toBe(0);
    expect(await validate([warned], { format: 'text', denyWarnings: true }, collect())).toBe(1);
    expect(output.stdout.text).toBe(
      `${warned}:4:26  warning: the secret stands in the config; take it from outside with "\${env:NAME}" or "\${file:PATH}"\n` +
        `${warned}: ok — 1 listener, 1 pool, 2 backends, 1 warning\n`,
    );
  });

  it('uses colours on a terminal only, and not against the wish of its user', async () => {
    const print = async (isTTY: boolean, noColor: string) => {
      vi.stubEnv('NO_COLOR', noColor);
      const output = collect({ isTTY });
      await validate([warned], { format: 'text' }, output);
      return output.stdout.text;
    };
    expect(await print(true, '')).toContain(`\u001b[1m${warned}:4:26\u001b[22m  \u001b[33mwarning:\u001b[39m `);
    expect(await print(true, '1')).not.toContain('\u001b');
    expect(await print(false, '')).not.toContain('\u001b');
    vi.unstubAllEnvs();
  });
});

describe('schema', () => {
  it('prints the schema of all configs, or that of one with its plugins', async () => {
    const [any, one] = [collect(), collect()];
    expect(await schema([], any)).toBe(0);
    expect(await schema([file('good.yaml', good)], one)).toBe(0);
    expect(JSON.parse(any.stdout.text).properties).toHaveProperty('listeners');
    expect(one.stdout.text).not.toBe(any.stdout.text);
  });

  it('needs no secret, but what is needed to find the plugins', async () => {
    const secret = file('secret.yaml', `${good}keys: [{ id: k1, secret: "\${env:POINTSMAN_NONE}" }]\n`);
    const output = collect();
    expect(await schema([secret], output)).toBe(0);
    expect(output.stderr.text).toBe('');
    const unknown = file('unknown.yaml', `${good}plugins: ["\${env:POINTSMAN_NONE}"]\n`);
    expect(await schema([unknown], output)).toBe(1);
    expect(output.stderr.text).toBe(`${unknown}:4:11  the environment variable POINTSMAN_NONE is not set\n`);
  });
});

describe('plugins', () => {
  it('tells of each what it is, what it taps and what its options are', async () => {
    const output = collect();
    expect(await plugins([], { format: 'text' }, output)).toBe(0);
    expect(output.stdout.text).toContain('least-loaded (strategy; taps chooseBackend)\n');
    expect(output.stdout.text).toContain('    metric  What counts as load: ');
  });

  it('tells where each comes from', async () => {
    const folder = join(directory, 'strangers');
    const source = (name: string) =>
      `import { definePlugin, Type } from 'pointsman';\nexport default definePlugin({ name: '${name}', summary: 'Watches.', pointsman: '^1', options: Type.Object({}), observe() {} });\n`;
    mkdirSync(folder);
    writeFileSync(join(folder, 'here.js'), source('here'));
    writeFileSync(join(folder, 'edge.yaml'), `${good}plugins: [./here.js]\n`);
    const output = collect();
    await plugins([join(folder, 'edge.yaml')], { format: 'text' }, output);
    expect(output.stdout.text).toContain('here (observer; in observers; taps nothing; file ./here.js)\n');
    const json = collect();
    await plugins([], { format: 'json' }, json);
    expect(JSON.parse(json.stdout.text)[0]).toMatchObject({ origin: 'built-in', from: 'pointsman' });
  });

  it('tells programs as well', async () => {
    const output = collect();
    await plugins([], { format: 'json' }, output);
    const kinds = JSON.parse(output.stdout.text).map(({ name, kind }: Record<string, string>) => [name, kind]);
    expect(Object.fromEntries(kinds)).toMatchObject({
      ndjson: 'protocol',
      'length-prefixed': 'protocol',
      sip: 'protocol',
      'round-robin': 'strategy',
      'least-loaded': 'strategy',
      hashing: 'strategy',
      'tcp-connect': 'check',
      metrics: 'observer',
      admin: 'observer',
    });
  });
});

import fc from 'fast-check';
import { definePlugin, Type } from 'pointsman';
import { describe, expect, it } from 'vitest';
import { PipelineHooks } from '../../../core/hooks.ts';
import { Scan } from '../../../core/scan.ts';
import { defaultLimits } from '../../../core/settings.ts';
import ndjson from '../../../plugins/protocols/ndjson.ts';
import hashing from '../../../plugins/strategies/hashing.ts';
import roundRobin from '../../../plugins/strategies/round-robin.ts';
import { embed, optionsOf, type Rig, type RigOptions } from '../../support/embedded.ts';

const keys = [{ id: 'k1', secret: Buffer.alloc(32, 7) }];

/** A balancer with this protocol in front of the backends a, b and c, taken in turn. */
const balance = (options: object = {}, more: Partial<RigOptions> = {}): Promise<Rig> =>
  embed({ pipeline: [[ndjson, options], [roundRobin]], ...more });

/** The same with the backend a only, and ids that are correlated. */
const balanceShared = (options: object = {}, more: Partial<RigOptions> = {}): Promise<Rig> =>
  balance({ correlation: 'id', ...options }, { backends: ['a'], ...more });

/** What a backend gets for `line` from a client, and the client for `answer` from the backend, on a dedicated link. */
async function passed(options: object, line: string, answer?: string): Promise<[string, string]> {
  const rig = await balance(options, { backends: ['a'] });
  const client = rig.client();
  client.send(line);
  const request = rig.backend('a').text();
  if (answer !== undefined) rig.backend('a').link.send(answer);
  rig.stats();
  return [request, client.text()];
}

/** What the client gets back for a line that no backend gets. */
async function refused(options: object, line: string | Uint8Array, more: Partial<RigOptions> = {}): Promise<string> {
  const rig = await balance(options, { backends: ['a'], ...more });
  const client = rig.client();
  client.send(line);
  expect(rig.backend('a').text()).toBe('');
  rig.stats();
  return client.text();
}

/** The frame tap alone. */
function framer(options: object = {}) {
  const hooks = new PipelineHooks();
  const scope = { protocol() {}, pool: { settings: {} } };
  ndjson.apply!(hooks.forPlugin('ndjson'), optionsOf(ndjson, options) as never, scope as never);
  return (bytes: Buffer, start: number, end: number, scan: Scan) => hooks.frame.call(bytes, start, end, scan);
}

const newScan = () => new Scan('client', undefined as never, defaultLimits);

describe('a line', () => {
  it.each([
    ['lf', '{"a":1}\n'],
    ['lf', '{"a":1}\r\n'],
    ['crlf', '{"a":\n1}\r\n'],
    ['nul', '{"a":\r\n1}\0'],
  ])('ends as the delimiter says: %s', async (delimiter, line) => {
    const frame = framer({ delimiter });
    const bytes = Buffer.from(`${line}${line}`);
    expect(frame(bytes, 0, bytes.length, newScan())).toBe(line.length);
    expect(frame(bytes, line.length, bytes.length, newScan())).toBe(line.length);
    expect((await passed({ delimiter }, line))[0]).toBe(line.replace('{', '{"backend":"a",'));
  });

  it('is the same one at every cut', async () => {
    for (const { bytes, options, from } of ndjson.samples!) {
      if (from === 'backend') continue;
      const rig = await balance(options as object, { backends: ['a'] });
      const client = rig.client();
      client.send(bytes);
      const whole = rig.backend('a').take().toString();
      const correlated = /"id":1000000001/;
      const expected = correlated.test(whole) ? whole.replace(correlated, '"id":ID') : whole;
      for (let cut = 0; cut <= bytes.length; cut++) {
        client.send(Buffer.concat([bytes, bytes.subarray(0, cut)]));
        client.send(bytes.subarray(cut));
        const pair = rig
          .backend('a')
          .take()
          .toString()
          .replace(/"id":10\d{8}/g, '"id":ID');
        expect(pair).toBe(expected + expected);
      }
      for (const byte of bytes) client.send(Uint8Array.of(byte));
      expect(
        rig
          .backend('a')
          .take()
          .toString()
          .replace(/"id":10\d{8}/g, '"id":ID'),
      ).toBe(expected);
      rig.stats();
    }
  });

  it('is looked at up to its end, and once', () => {
    const frame = framer();
    const scan = newScan();
    const bytes = Buffer.from('{"a":1}\n{"b":2}\n');
    expect(frame(bytes, 0, 7, scan)).toBe('more');
    expect(scan.resume).toBe(7);
    bytes[3] = 0x0a;
    expect(frame(bytes, 0, 8, scan)).toBe(8);
    expect(framer({ delimiter: 'crlf' })(Buffer.from('\r\n{}\r\n'), 1, 6, newScan())).toBe(5);
  });

  it.each(['lf', 'nul', 'crlf'])(
    'that is long is not searched again from its beginning when more of it comes: %s',
    (delimiter) => {
      const end = { lf: '\n', nul: '\0', crlf: '\r\n' }[delimiter]!;
      const frame = framer({ delimiter });
      const scan = newScan();
      const bytes = Buffer.from(`{"a":"${'x'.repeat(100_000)}"}${end}`);
      const early = Buffer.from(end);
      for (let arrived = 1000; arrived < bytes.length; arrived += 1000) {
        expect(frame(bytes, 0, arrived, scan)).toBe('more');
        expect(scan.resume).toBe(arrived);
        // A delimiter where it has looked would end the line, if it looked there again.
        early.copy(bytes, arrived - 500);
      }
      expect(frame(bytes, 0, bytes.length, scan)).toBe(bytes.length);
    },
  );

  it('longer than the limit is refused, and the connection closed', async () => {
    const rig = await balance({}, { limits: { messageBytes: 100 } });
    const client = rig.client();
    client.send(`{"a":"${'x'.repeat(50)}`);
    expect(client.text()).toBe('');
    client.send('x'.repeat(100));
    expect(client.text()).toBe('{"error":{"reason":"too-large"}}\n');
    expect(client.ended).toBe(true);
    expect(rig.stats().fromClients).toMatchObject({ received: 1, refused: 1 });
  });

  it('of garbage costs itself only', () => {
    const byte = fc.oneof(fc.constantFrom(...Buffer.from('{}[]",:\\\n\n\r\0')), fc.nat(255));
    return fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.array(byte, { maxLength: 60 }), async (one, other) => {
        const rig = await balance({}, { backends: ['a'] });
        const client = rig.client();
        const bystander = rig.client();
        const garbage = Buffer.from([...one, 0x0a, ...other, 0x0a]);
        client.send(garbage);
        const lines = garbage.filter((value) => value === 0x0a).length;
        const { received, refused, forwarded } = rig.stats().fromClients;
        expect(received).toBe(lines);
        expect(refused + forwarded).toBe(lines);
        rig.backend('a').take();
        for (const sender of [client, bystander]) {
          sender.send('{"a":1}\n');
          expect(rig.backend('a').text()).toBe('{"backend":"a","a":1}\n');
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('the identifier', () => {
  it('stands in front of the other members, which stay as they came', async () => {
    for (const [line, stamped] of [
      ['{}\n', '{"backend":"a"}\n'],
      [' { \t} \r\n', ' {"backend":"a" \t} \r\n'],
      ['{ "a" : 1.50, "b":{"backend":"x"} }\n', '{"backend":"a", "a" : 1.50, "b":{"backend":"x"} }\n'],
      ['{"a":"\\u00e9\\/"}\n', '{"backend":"a","a":"\\u00e9\\/"}\n'],
    ] as const) {
      expect(await passed({}, line, line)).toEqual([stamped, stamped]);
    }
  });

  it('brings a message to its backend again, whatever else is in it', () => {
    const objects = fc.dictionary(
      fc.string().filter((name) => !['backend', 'id', 'method', 'jsonrpc'].includes(name)),
      fc.jsonValue(),
    );
    return fc.assert(
      fc.asyncProperty(objects, async (object) => {
        const rig = await balance({}, { keys });
        const line = Buffer.from(`${JSON.stringify(object)}\n`);
        rig.client().send(line);
        const [backend] = rig.backends.filter(({ links }) => links.length > 0);
        const stamped = backend!.take();
        const token = JSON.parse(stamped.toString()).backend as string;
        const comma = Object.keys(object).length > 0 ? ',' : '';
        expect(stamped.toString()).toBe(`{"backend":"${token}"${comma}${line.subarray(1)}`);
        for (let i = 0; i < 4; i++) rig.client().send(stamped);
        expect(backend!.take()).toEqual(Buffer.concat([stamped, stamped, stamped, stamped]));
      }),
      { numRuns: 200 },
    );
  });

  it('routes, by whatever spelling of its member, and is replaced where it stands', async () => {
    const rig = await balance();
    const client = rig.client();
    for (const line of [
      '{"backend":"b"}\n',
      '{"a":1 , "backend" : "b" }\n',
      '{"a":{"backend":"c"},"\\u0062ackend":"b"}\n',
      '{"a":"\\"backend\\":\\"c\\"","backend":"b"}\n',
    ]) {
      client.send(line);
      expect(rig.backend('b').text()).toBe(line);
    }
    expect(rig.stats().routes.identifier).toBe(4);
  });

  it('that is stale gives way to the new one', async () => {
    const rig = await balance({}, { identifiers: { whenDown: 'rechoose' } });
    rig.client().send('{"n":1,"backend":"gone","m":2}\n');
    expect(rig.backend('a').text()).toBe('{"n":1,"backend":"a","m":2}\n');
    expect((await passed({}, '{}\n', '{"backend": "old", "n":1}\n'))[1]).toBe('{"backend": "a", "n":1}\n');
    expect((await passed({}, '{}\n', '{"n":1, "backend": {"old":[]}}\n'))[1]).toBe('{"n":1, "backend": "a"}\n');
  });

  it('is none where its member is null, and forged where it is no text that verifies', async () => {
    expect((await passed({}, '{"backend":null}\n'))[0]).toBe('{"backend":"a"}\n');
    for (const value of ['1', '0', 'true', '{}', '["a"]', '""']) {
      expect(await refused({}, `{"backend":${value}}\n`)).toBe('{"error":{"reason":"forged-identifier"}}\n');
    }
    expect(await refused({}, '{"backend":"a"}\n', { keys })).toBe('{"error":{"reason":"forged-identifier"}}\n');
    expect(await refused({}, '{"backend":"x"}\n')).toBe('{"error":{"reason":"unknown-backend"}}\n');
  });

  it('may not be there twice', async () => {
    for (const line of ['{"backend":"a","backend":"a"}\n', '{"backend":"a","\\u0062ackend":null}\n']) {
      expect(await refused({}, line)).toBe('{"error":{"reason":"duplicate-member"}}\n');
    }
  });

  it('has the member that `id` names', async () => {
    expect((await passed({ id: 'é"' }, '{"backend":1}\n'))[0]).toBe(
      Buffer.from('{"é\\"":"a","backend":1}\n').toString('latin1'),
    );
  });

  it('is written where `stamp` says', async () => {
    const [line, answer] = ['{"n":1}\n', '{"n":2}\n'];
    expect(await passed({ stamp: ['request'] }, line, answer)).toEqual(['{"backend":"a","n":1}\n', answer]);
    expect(await passed({ stamp: ['response'] }, line, answer)).toEqual([line, '{"backend":"a","n":2}\n']);
    expect(await passed({ stamp: [] }, '{"backend":"a"}\n', answer)).toEqual(['{"backend":"a"}\n', answer]);
  });

  it('is kept from the backends with `strip`', async () => {
    for (const [line, stripped] of [
      ['{"backend":"a"}\n', '{}\n'],
      ['{ "backend" : "a" , "n":1}\n', '{  "n":1}\n'],
      ['{"n":1, "backend":"a" }\n', '{"n":1 }\n'],
      ['{"n":1,"backend":"a","m":2}\n', '{"n":1,"m":2}\n'],
      ['{"n":1}\n', '{"n":1}\n'],
    ] as const) {
      expect(await passed({ strip: true }, line, '{"n":2}\n')).toEqual([stripped, '{"backend":"a","n":2}\n']);
    }
  });

  it('cannot be stripped from the only place where it is written', async () => {
    await expect(balance({ strip: true, stamp: ['request'] })).rejects.toThrow(
      '[ndjson] apply: strip removes what stamp: [request] writes: add response to stamp, or leave strip out',
    );
  });

  it('cannot share its member with the correlation', async () => {
    await expect(balance({ id: 'id', correlation: 'id' })).rejects.toThrow(
      'id and correlation are the same member, id',
    );
  });

  it('of a client connection is forged here', async () => {
    const tokens: string[] = [];
    const leak = definePlugin({
      name: 'leak',
      summary: 'Tells the tokens of client connections.',
      pointsman: '^1',
      options: Type.Object({}),
      apply(hooks, _options, scope) {
        hooks.detectId.tap({ name: 'leak', stage: -1 }, (message) => {
          tokens.push(scope.identifiers.ofClient(message.client!).text.toString());
          return undefined;
        });
      },
    });
    const rig = await embed({ pipeline: [[ndjson], [roundRobin], [leak]], keys });
    const [target, sender] = [rig.client(), rig.client()];
    for (const client of [target, sender]) client.send('{"n":1}\n');
    for (const token of tokens.slice()) sender.send(`{"backend":"${token}"}\n`);
    expect(sender.text()).toBe('{"error":{"reason":"forged-identifier"}}\n'.repeat(2));
    expect(target.text()).toBe('');
    expect(rig.stats().fromClients.refusedFor).toEqual({ 'forged-identifier': 2 });
  });
});

describe('what backends send on dedicated links', () => {
  it('is relayed unread where nothing is written into it', async () => {
    const rig = await balance({ stamp: ['request'] }, { backends: ['a'] });
    const client = rig.client();
    client.send('{}\n');
    rig.backend('a').link.send('no JSON\n');
    expect(client.text()).toBe('no JSON\n');
    expect(rig.stats().relayedBytes).toBe(8);
  });

  it('is dropped if it is no JSON, and no error goes to the backend', async () => {
    const rig = await balance({}, { backends: ['a'] });
    const client = rig.client();
    client.send('{}\n');
    rig.backend('a').take();
    rig.backend('a').link.send('{"n":1\n{"n":2}\n');
    expect(client.text()).toBe('{"backend":"a","n":2}\n');
    expect(rig.backend('a').text()).toBe('');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'malformed-json': 1 });
  });

  it('keeps its ids: there is nobody to mistake them for', async () => {
    const rig = await balanceShared({}, { links: 'dedicated' });
    const client = rig.client();
    client.send('{"id":7}\n');
    expect(rig.backend('a').text()).toBe('{"backend":"a","id":7}\n');
    rig.backend('a').link.send('{"id":7}\n{"id":8}\n');
    expect(client.text()).toBe('{"backend":"a","id":7}\n{"backend":"a","id":8}\n');
  });
});

describe('correlation on shared links', () => {
  const idsIn = (text: string) => Array.from(text.matchAll(/"id":(\d{10})/g), (match) => match[1]!);

  it('brings each answer to its caller, though their ids are the same', async () => {
    const rig = await balanceShared();
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('{"id":1,"q":"a"}\n');
    bob.send('{"id":1,"q":"b"}\n');
    const [first, second] = idsIn(rig.backend('a').text());
    expect(first).not.toBe(second);
    rig.backend('a').link.send(`{"id":${second},"r":"b"}\n{"r":"a","id":${first}}\n`);
    expect(alice.text()).toBe('{"backend":"a","r":"a","id":1}\n');
    expect(bob.text()).toBe('{"backend":"a","id":1,"r":"b"}\n');
    expect(rig.stats().routes.correlation).toBe(2);
    expect(rig.stats().exchanges.open).toBe(0);
  });

  it('restores the member byte for byte, whatever it was', async () => {
    const rig = await balanceShared({ stamp: [] });
    const client = rig.client();
    for (const value of [
      '7',
      '-0.50e+1',
      '"a\\u0062\\/"',
      '""',
      'null',
      'true',
      '{ "x" : [ 1 ] }',
      '[]',
      `"${'x'.repeat(999)}"`,
    ]) {
      client.send(`{"n":1, "id": ${value} }\n`);
      const request = rig.backend('a').text();
      expect(request).toMatch(/^\{"n":1, "id": 1\d{9} \}\n$/);
      rig.backend('a').link.send(request);
      expect(client.text()).toBe(`{"n":1, "id": ${value} }\n`);
    }
  });

  it('adds the member where there was none, and takes it away again', async () => {
    for (const [line, answer, expected] of [
      ['{}\n', '{"id":ID}\n', '{}\n'],
      ['{"n":1}\n', '{"id":ID,"n":1}\n', '{"n":1}\n'],
      ['{ "n":1 }\n', '{"n":1 , "id" : ID }\n', '{"n":1  }\n'],
      ['{"n":1}\n', '{"n":1,"id":ID,"m":2}\n', '{"n":1,"m":2}\n'],
    ] as const) {
      for (const stamp of [[], ['request', 'response']]) {
        const rig = await balanceShared({ stamp });
        const client = rig.client();
        client.send(line);
        const request = rig.backend('a').text();
        const [id] = idsIn(request);
        const added = [...(stamp.length > 0 ? ['"backend":"a"'] : []), `"id":${id}`].join(',');
        expect(request).toBe(line.replace('{', line === '{}\n' ? `{${added}` : `{${added},`));
        rig.backend('a').link.send(answer.replace('ID', id!));
        const stamped = expected.replace('{', expected === '{}\n' ? '{"backend":"a"' : '{"backend":"a",');
        expect(client.text()).toBe(stamp.length > 0 ? stamped : expected);
      }
    }
  });

  it('goes with a stripped identifier', async () => {
    for (const [line, expected, answer] of [
      ['{"backend":"a"}\n', '{"id":ID}\n', '{"backend":"a"}\n'],
      ['{"backend":"a","n":1}\n', '{"id":ID,"n":1}\n', '{"backend":"a","n":1}\n'],
      ['{"n":1,"backend":"a"}\n', '{"id":ID,"n":1}\n', '{"backend":"a","n":1}\n'],
      ['{"backend":"a","id":5}\n', '{"id":ID}\n', '{"backend":"a","id":5}\n'],
      ['{"id":5,"backend":"a"}\n', '{"id":ID}\n', '{"backend":"a","id":5}\n'],
    ] as const) {
      const rig = await balanceShared({ strip: true });
      const client = rig.client();
      client.send(line);
      const request = rig.backend('a').text();
      expect(request).toBe(expected.replace('ID', '1000000001'));
      rig.backend('a').link.send(request);
      expect(client.text()).toBe(answer);
    }
  });

  it('leaves JSON-RPC notifications what they are', async () => {
    const rig = await balanceShared();
    rig.client().send('{"jsonrpc":"2.0","method":"tick"}\n');
    expect(rig.backend('a').text()).toBe('{"backend":"a","jsonrpc":"2.0","method":"tick"}\n');
    expect(rig.stats().exchanges.open).toBe(0);
  });

  it('opens no exchange for a JSON-RPC answer', async () => {
    const rig = await balanceShared();
    rig.client().send('{"jsonrpc":"2.0","result":1,"id":5}\n');
    expect(rig.backend('a').text()).toBe('{"backend":"a","jsonrpc":"2.0","result":1,"id":5}\n');
    expect(rig.stats().exchanges.open).toBe(0);
  });

  it('takes a JSON-RPC answer to the backend that it names, however much that has in flight, and to no other', async () => {
    const answer = '{"backend":"a","jsonrpc":"2.0","result":1,"id":5}\n';
    const rig = await balance(
      { correlation: 'id' },
      { identifiers: { whenDown: 'rechoose' }, pool: { backendLimits: { inFlight: 1 } } },
    );
    const client = rig.client();
    client.send('{"backend":"a","id":1}\n');
    rig.backend('a').take();
    client.send(answer);
    expect(rig.backend('a').text()).toBe(answer);
    rig.backend('a').down();
    client.take();
    client.send(answer);
    expect(rig.backends.map((backend) => backend.text())).toEqual(['', '', '']);
    expect([client.text(), rig.stats().fromClients.discardedFor]).toEqual(['', { 'backend-down': 1 }]);
  });

  it('takes no request of a JSON-RPC backend for an answer', async () => {
    const rig = await balanceShared();
    const client = rig.client();
    client.send('{"jsonrpc":"2.0","method":"a","id":1}\n');
    const [id] = idsIn(rig.backend('a').text());
    rig.backend('a').link.send(`{"jsonrpc":"2.0","method":"b","id":${id}}\n`);
    expect(client.text()).toBe('');
    rig.backend('a').link.send(`{"jsonrpc":"2.0","result":2,"id":${id}}\n`);
    expect(client.text()).toBe('{"backend":"a","jsonrpc":"2.0","result":2,"id":1}\n');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'no-destination': 1 });
  });

  it('delivers nothing but the first answer to a request that its link carried', async () => {
    const rig = await balanceShared({}, { backends: ['a', 'b'] });
    const client = rig.client();
    client.send('{"id":1,"backend":"a"}\n');
    const [id] = idsIn(rig.backend('a').text());
    rig.backend('b').link.send(`{"id":${id}}\n`);
    for (const value of [
      '0',
      '1',
      '1000000000',
      '9999999999',
      `"${id}"`,
      `${id}.0`,
      `-${id}`,
      'null',
      '"1234567"',
      '[1000000]',
    ]) {
      rig.backend('a').link.send(`{"id":${value}}\n`);
    }
    rig.backend('a').link.send('{}\n[]\n');
    expect(client.text()).toBe('');
    rig.backend('a').link.send(`{"id":${id}}\n{"id":${id}}\n`);
    expect(client.text()).toBe('{"backend":"a","id":1}\n');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'no-destination': 13, 'not-an-object': 1 });
  });

  it('refuses what would make too many outstanding requests', async () => {
    const rig = await balanceShared({}, { limits: { inFlight: 1 } });
    const client = rig.client();
    client.send('{"id":1}\n{"id":"two"}\n');
    expect(client.text()).toBe('{"id":"two","error":{"reason":"overloaded"}}\n');
  });

  it('is done anew for a message whose backend could not be reached', async () => {
    const rig = await balanceShared({}, { backends: ['a', 'b'] });
    rig.backend('a').hang();
    for (const link of rig.backend('a').links) link.reset();
    rig.advance(1000);
    const client = rig.client();
    client.send('{"id":"x"}\n{"id":"y"}\n');
    rig.advance(10_000);
    const lines = rig.backend('b').text().trim().split('\n');
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      expect(line).toMatch(/^\{"backend":"b","id":1\d{9}\}$/);
      rig.backend('b').link.send(`${line}\n`);
    }
    const answers = client.text().trim().split('\n').sort();
    expect(answers).toEqual(['{"backend":"b","id":"x"}', '{"backend":"b","id":"y"}']);
    rig.stats();
  });
});

describe('related messages', () => {
  it('go to one backend as long as `affinitySeconds` says', async () => {
    const rig = await balance({ affinity: 'session', affinitySeconds: 60 });
    const send = (line: string) => {
      rig.client().send(line);
      return rig.backends.filter((backend) => backend.take().length > 0).map(({ name }) => name);
    };
    expect(send('{"session":"s1"}\n')).toEqual(['a']);
    expect(send('{"session":"s2"}\n')).toEqual(['b']);
    rig.advance(59_000);
    expect(send('{"x":0, "session": "s1"}\n')).toEqual(['a']);
    expect(send('{"session":null}\n')).toEqual(['c']);
    expect(send('{}\n')).toEqual(['a']);
    rig.advance(59_000);
    expect(send('{"session":"s1"}\n')).toEqual(['a']);
    rig.advance(61_000);
    expect(send('{"session":"s1"}\n')).toEqual(['b']);
  });

  it('can be told by the members that `keys` names', async () => {
    const pipeline: RigOptions['pipeline'] = [
      [ndjson, { keys: ['user', 'device'] }],
      [hashing, { key: 'user' }],
    ];
    const rig = await embed({ pipeline });
    const backendOf = (line: string) => {
      rig.client().send(line);
      return rig.backends.find((backend) => backend.take().length > 0)!.name;
    };
    const homes = new Set<string>();
    for (let user = 0; user < 20; user++) {
      const home = backendOf(`{"user":${user},"n":1}\n`);
      expect(backendOf(`{"m":2, "user" : ${user}}\n`)).toBe(home);
      homes.add(home);
    }
    expect(homes.size).toBe(3);
  });
});

describe('a refusal', () => {
  it('names its reason', async () => {
    for (const [line, reason] of [
      ['{"a":}\n', 'malformed-json'],
      ['{"a":1} {}\n', 'malformed-json'],
      [Buffer.from('{"a":"\xff"}\n', 'latin1'), 'invalid-utf8'],
      [`{"a":${'['.repeat(200)}${']'.repeat(200)}}\n`, 'nested-too-deep'],
      ['[1]\n', 'not-an-object'],
      ['"{}"\n', 'not-an-object'],
      ['\r\n', 'not-an-object'],
    ] as const) {
      expect(await refused({}, line)).toBe(`{"error":{"reason":"${reason}"}}\n`);
    }
  });

  it('has the shape that `error` gives it, the correlation member of the request, and the delimiter', async () => {
    const error = { ok: false, why: 'refused: {reason}', at: ['{reason}'] };
    expect(await refused({ error, delimiter: 'nul' }, '[]\0')).toBe(
      '{"ok":false,"why":"refused: not-an-object","at":["not-an-object"]}\0',
    );
    const line = '{"seq": "s-1", "backend":1}\r\n';
    expect(await refused({ correlation: 'seq', delimiter: 'crlf' }, line)).toBe(
      '{"seq":"s-1","error":{"reason":"forged-identifier"}}\r\n',
    );
    expect(await refused({ correlation: 'seq', error: {} }, line)).toBe('{"seq":"s-1"}\n');
    expect(await refused({ correlation: 'seq', error: { seq: 0 } }, line)).toBe('{"seq":0}\n');
    expect(await refused({ correlation: 'seq' }, '{"seq":1,"seq":2}\n')).toBe(
      '{"error":{"reason":"duplicate-member"}}\n',
    );
  });

  it('of a JSON-RPC request is a JSON-RPC error with its id', async () => {
    for (const [line, id, code, reason] of [
      ['{"jsonrpc":"2.0","method":"m","id": "a\\u0062","backend":1}\n', '"a\\u0062"', -32600, 'forged-identifier'],
      ['{"id":7,"jsonrpc":"2.0","method":"m","backend":"x"}\n', '7', -32003, 'unknown-backend'],
      ['{"id":null,"jsonrpc":"2.0","method":"m","backend":""}\n', 'null', -32600, 'forged-identifier'],
      ['{"jsonrpc":"2.0","id":7,"method":"m"\n', 'null', -32700, 'malformed-json'],
      ['{"jsonrpc":"2.0","id":7,"id":8,"method":"m"}\n', 'null', -32600, 'duplicate-member'],
    ] as const) {
      expect(await refused({ stamp: ['request'] }, line)).toBe(
        `{"jsonrpc":"2.0","id":${id},"error":{"code":${code},"message":"${reason}"}}\n`,
      );
    }
  });

  it('for want of a backend says so', async () => {
    const rig = await balanceShared();
    rig.backend('a').down();
    rig.advance(1000);
    const client = rig.client();
    client.send('{"jsonrpc":"2.0","method":"m","id":1}\n{"jsonrpc":"2.0","method":"m","id":2,"backend":"a"}\n');
    expect(client.text()).toBe(
      '{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no-backend"}}\n' +
        '{"jsonrpc":"2.0","id":2,"error":{"code":-32002,"message":"backend-down"}}\n',
    );
    expect(rig.stats().fromClients.refused).toBe(2);
  });

  it('of an endless JSON-RPC request is a JSON-RPC error too', async () => {
    const line = `{"jsonrpc":"2.0","method":"m","id":1,"params":["${'x'.repeat(200)}`;
    expect(await refused({}, line, { limits: { messageBytes: 100 } })).toBe(
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"too-large"}}\n',
    );
  });

  it('is silent towards JSON-RPC notifications and answers', async () => {
    for (const line of [
      '{"jsonrpc":"2.0","method":"m","backend":"x"}\n',
      '{"jsonrpc":"2.0","result":1,"id":1,"backend":"x"}\n',
    ]) {
      expect(await refused({}, line)).toBe('');
    }
  });
});

describe('what comes too fast', () => {
  it.each<[Partial<RigOptions>, string]>([
    [{ limits: { messagesPerSecond: 1 } }, '"code":-32007,"message":"rate-limited"'],
    [{ limits: { messagesPerSecondPerAddress: 1 } }, '"code":-32007,"message":"rate-limited"'],
    [{ limits: { inFlight: 1 } }, '"code":-32004,"message":"overloaded"'],
    [{ limits: { inFlightPerAddress: 1 } }, '"code":-32004,"message":"overloaded"'],
    [{ pool: { limits: { messagesPerSecond: 1 } } }, '"code":-32007,"message":"rate-limited"'],
    [{ pool: { limits: { inFlight: 1 } } }, '"code":-32004,"message":"overloaded"'],
    [{ pool: { backendLimits: { messagesPerSecond: 1 } } }, '"code":-32004,"message":"overloaded"'],
    [{ pool: { backendLimits: { inFlight: 1 } } }, '"code":-32004,"message":"overloaded"'],
  ])('is refused as JSON-RPC has it: %j', async (options, error) => {
    const rig = await balanceShared({}, { backends: ['a'], ...options });
    const client = rig.client();
    client.send('{"jsonrpc":"2.0","method":"add","id":1}\n{"jsonrpc":"2.0","method":"add","id":2}\n');
    expect(client.text()).toBe(`{"jsonrpc":"2.0","id":2,"error":{${error}}}\n`);
  });
});

describe('a request that is lost with its link', () => {
  it.each([
    ['{"op":"get","id":"x-1"}\n', '{"id":"x-1","error":{"reason":"backend-lost"}}\n'],
    ['{"op":"get"}\n', '{"error":{"reason":"backend-lost"}}\n'],
    [
      '{"jsonrpc":"2.0","method":"add","id":7}\n',
      '{"jsonrpc":"2.0","id":7,"error":{"code":-32006,"message":"backend-lost"}}\n',
    ],
  ])('is refused with the id that it had: %s', async (request, reply) => {
    const rig = await balanceShared();
    const client = rig.client();
    client.send(request);
    rig.backend('a').link.reset();
    expect(client.text()).toBe(reply);
    expect(rig.stats().exchanges).toEqual({ open: 0, expired: 0, abandoned: 1, refused: 1 });
  });

  it('is refused with its JSON-RPC id also where another member correlates', async () => {
    const rig = await balanceShared({ correlation: 'seq' });
    const client = rig.client();
    client.send('{"jsonrpc":"2.0","method":"add","id":"a","seq":1}\n');
    rig.backend('a').link.reset();
    expect(client.text()).toBe('{"jsonrpc":"2.0","id":"a","error":{"code":-32006,"message":"backend-lost"}}\n');
  });

  it('is left alone if it is a notification, which nobody waits for', async () => {
    const rig = await balanceShared();
    const client = rig.client();
    client.send('{"jsonrpc":"2.0","method":"tick"}\n');
    rig.backend('a').link.reset();
    expect(client.text()).toBe('');
    expect(rig.stats().exchanges.abandoned).toBe(0);
  });
});

describe('a request that may be replayed', () => {
  const replaying = (replayable: object, options: object = {}) =>
    balance({ correlation: 'id', stamp: ['request'], replayable, ...options }, { pool: { replay: 'once' } });
  const others = (rig: Rig) => rig.backend('b').text() + rig.backend('c').text();

  it.each([
    [{ values: ['get', 'list'] }, '{"method":"list","id":1}\n', true],
    [{ values: ['get', 'list'] }, '{"method":"set","id":1}\n', false],
    [{ values: ['get', 'list'] }, '{"method":["get"],"id":1}\n', false],
    [{ values: ['get', 'list'] }, '{"id":1}\n', false],
    [{ member: 'again', values: [true] }, '{"again": true,"id":1}\n', true],
    [{ member: 'again', values: [true] }, '{"again":"true","id":1}\n', false],
    [{ member: 'kind', values: [7] }, '{"kind":7}\n', true],
  ])('is told by a member: %j, %s', async (replayable, request, isReplayed) => {
    const rig = await replaying(replayable);
    const client = rig.client();
    client.send(request);
    rig.backend('a').link.reset();
    expect(others(rig) !== '').toBe(isReplayed);
    expect(client.text().includes('backend-lost')).toBe(!isReplayed);
  });

  it.each([
    ['{"method":"get","id":"x"}\n', '{"retry":true,"backend":"b","method":"get","id":1000000002}\n'],
    ['{"method":"get"}\n', '{"retry":true,"backend":"b","id":1000000002,"method":"get"}\n'],
    ['{"retry":false,"method":"get"}\n', '{"backend":"b","id":1000000002,"retry":true,"method":"get"}\n'],
  ])('is marked the second time if `mark` says how: %s', async (request, marked) => {
    const rig = await replaying({ values: ['get'], mark: 'retry' });
    const client = rig.client();
    client.send(request);
    expect(rig.backend('a').text()).not.toContain('"retry":true');
    rig.backend('a').link.reset();
    expect(others(rig)).toBe(marked);
    expect(rig.stats().routes.replayed).toBe(1);
  });

  it('takes its related messages along', async () => {
    const rig = await replaying({ values: ['get'] }, { affinity: 'session' });
    rig.advance(2000);
    const client = rig.client();
    client.send('{"method":"get","session":7}\n');
    rig.backend('a').text();
    rig.backend('a').link.reset();
    expect(rig.backend('b').text()).toContain('get');
    client.send('{"method":"set","session":7}\n');
    expect(rig.backend('b').text()).toContain('set');
  });

  it.each([
    [{ values: ['get'] }, { correlation: undefined }, 'replayable: which requests'],
    [{ values: ['get'], mark: 'id' }, {}, 'replayable.mark: the member id has another meaning already'],
    [{ values: ['get'], mark: 'backend' }, {}, 'replayable.mark: the member backend has another meaning already'],
  ])('is configured without contradictions: %j %j', async (replayable, options, message) => {
    await expect(replaying(replayable, options)).rejects.toThrow(message);
  });
});

describe('what is no object', () => {
  it('passes untouched if `notObject` says so, unless it is no JSON', async () => {
    const options = { notObject: 'pass', affinity: 'session', keys: ['user'] };
    for (const line of ['[{"backend":"x"}]\n', '"text"\n', '0\n', ' \r\n', '\n']) {
      expect(await passed(options, line, line)).toEqual([line, line]);
    }
    expect(await refused(options, '[1\n')).toBe('{"error":{"reason":"malformed-json"}}\n');
  });

  it('finds no way back over a shared link', async () => {
    const rig = await balanceShared({ notObject: 'pass' });
    const client = rig.client();
    client.send('[{"id":1}]\n');
    expect(rig.backend('a').text()).toBe('[{"id":1}]\n');
    rig.backend('a').link.send('[{"id":1}]\n');
    expect(client.text()).toBe('');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'no-destination': 1 });
  });
});

describe('over transports that delimit messages', () => {
  it.each([
    ['lf', '\n'],
    ['crlf', '\r\n'],
    ['nul', '\0'],
  ])('a line needs no %s, gets one on its way to a stream, and loses it on its way back', async (delimiter, end) => {
    const rig = await balanceShared({ delimiter, stamp: [] }, { backends: ['a'], transport: 'ws' });
    const client = rig.client();
    client.send('{"id":1}');
    client.send(`{"id":2}${end}`);
    expect(rig.backend('a').text()).toBe(`{"id":1000000001}${end}{"id":1000000002}${end}`);
    rig.backend('a').link.send(`{"id":1000000002}${end}{"id":1000000001}${end}`);
    expect(client.writes.map(String)).toEqual(['{"id":2}', '{"id":1}']);
    rig.stats();
  });

  it('a datagram to a backend ends with its JSON', async () => {
    const rig = await balanceShared({ stamp: [] }, { backends: ['a'], backendTransport: 'udp' });
    const client = rig.client();
    client.send('{"id":1}\n{"id":2}\n');
    expect(rig.backend('a').link.writes.map(String)).toEqual(['{"id":1000000001}', '{"id":1000000002}']);
    rig.backend('a').link.send('{"id":1000000001}');
    expect(client.text()).toBe('{"id":1}\n');
  });

  it('what is refused is answered with its id and no delimiter, and the next message is read', async () => {
    const rig = await balanceShared({ delimiter: 'nul' }, { backends: ['a'], transport: 'ws' });
    const client = rig.client();
    client.send('{"id":7,"backend":"z"}');
    client.send('{"id":8');
    client.send('{"id":9}');
    expect(client.writes.map(String)).toEqual([
      '{"id":7,"error":{"reason":"unknown-backend"}}',
      '{"error":{"reason":"malformed-json"}}',
    ]);
    expect(rig.backend('a').text()).toBe('{"backend":"a","id":1000000001}\0');
    rig.backend('a').down();
    expect(client.writes.map(String).at(-1)).toBe('{"id":9,"error":{"reason":"backend-lost"}}');
  });
});

import { createPrivateKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeCertificate } from '../../support/certificates.ts';
import { check } from './check.ts';

interface Case {
  readonly when: string;
  /** Lines 1 to 3; default: one sound pool. */
  readonly pools?: string;
  /** Lines 4 and on, in place of the members that are the default. */
  readonly listener?: string;
  /** The last lines. */
  readonly more?: string;
  readonly finds: string | string[];
}

const sound = {
  pools: 'pools:\n  calls:\n    backends: { a: "tcp://127.0.0.1:7001", b: "tcp://127.0.0.1:7002" }',
  listener: 'listen: tcp://127.0.0.1:5060\npool: calls\npipeline: [{ lines: }, { turns: }]',
};

/** Lines 1 to 3 are the pools, 4 and 5 begin the listener, which goes on from line 6. */
function write({ pools = sound.pools, listener = sound.listener, more = '' }: Partial<Case>): string {
  return `${pools}\nlisteners:\n  edge:\n${listener.replace(/^/gm, '    ')}\n${more}`;
}

function finds(cases: readonly Case[]): void {
  it.each(cases)('$when', async (example) => {
    const { lines } = await check(write(example), { env: { KEY: 'a key from the environment' } });
    expect(lines).toEqual([example.finds].flat().map((line) => `edge.yaml:${line}`));
  });
}

it('finds nothing wrong with what the examples below change', async () => {
  expect((await check(write({}))).findings).toEqual([]);
});

describe('shape', () => {
  const pool = (members: string) => `pools:\n  calls:\n    ${members}`;
  finds([
    {
      when: 'a member is misspelt',
      listener: `${sound.listener}\nlimit: {}`,
      finds: '9:5  shape: "limit" is unknown here; did you mean "limits"?',
    },
    {
      when: 'a member is like none',
      listener: `${sound.listener}\nidentifiers: { colour: red }`,
      finds: '9:20  shape: "colour" is unknown here; identifiers has mode and whenDown',
    },
    {
      when: 'a unit is left out',
      listener: `${sound.listener}\nlimits: { idle: 3 }`,
      finds:
        '9:15  shape: "idle" is unknown here; limits has messageBytes, headerBytes, queueBytes, connections, connectionsPerAddress, connectionsPerSecondPerAddress, inFlight, inFlightPerAddress, messagesPerSecond, burstMessages, messagesPerSecondPerAddress, burstMessagesPerAddress, reservedPercent, headerSeconds, idleSeconds, replySeconds and affinityEntries',
    },
    {
      when: 'a member is missing',
      listener: 'pool: calls\npipeline: [{ lines: }, { turns: }]',
      finds: '5:3  shape: edge has no "listen"',
    },
    {
      when: 'two members are missing, one of them because it is misspelt',
      listener: 'lissten: tcp://127.0.0.1:5060\npool: calls',
      finds: ['5:3  shape: edge has no "pipeline"', '6:5  shape: "lissten" is unknown here; did you mean "listen"?'],
    },
    {
      when: 'a member is empty',
      listener: sound.listener.replace('calls', ''),
      finds: ['7:5  shape: pool must be a string, not empty'],
    },
    {
      when: 'a number is text',
      listener: `${sound.listener}\nlimits: { messageBytes: 64k }`,
      finds: '9:29  shape: messageBytes must be an integer, not "64k"',
    },
    {
      when: 'a number comes from outside',
      listener: `${sound.listener}\nlimits: { messageBytes: "\${env:KEY}" }`,
      finds: '9:29  shape: messageBytes must be an integer, not "${env:KEY}", which stands for a text',
    },
    {
      when: 'a number is too large',
      listener: `${sound.listener}\nlimits: { idleSeconds: 100000 }`,
      finds: '9:28  shape: idleSeconds must be at most 86400, not 100000',
    },
    {
      when: 'a choice is none of those there are',
      listener: `${sound.listener}\nidentifiers: { mode: singed }`,
      finds: '9:26  shape: mode must be "plain", "signed" or "sealed", not "singed"; did you mean "signed"?',
    },
    {
      when: 'a mapping stands where a list belongs',
      listener: sound.listener.replace('[{ lines: }, { turns: }]', '{ lines: , turns: }'),
      finds: '8:15  shape: pipeline must be a list, not a mapping',
    },
    {
      when: 'a backend is neither an address nor a mapping',
      pools: pool('backends: { a: 7001 }'),
      finds: '3:20  shape: a must be a string or a mapping, not 7001',
    },
    {
      when: 'a backend has an unknown member',
      pools: pool('backends: { a: { address: "tcp://[::1]:1", wieght: 2 } }'),
      finds: '3:48  shape: "wieght" is unknown here; did you mean "weight"?',
    },
    {
      when: 'limits of load limit nothing',
      listener: `${sound.listener}\nlimits: { burstMessages: 5, burstMessagesPerAddress: 5 }`,
      pools: sound.pools.replace(
        '    back',
        '    queueRequests: 5\n    backendLimits: { burstMessages: 5, connections: 1 }\n    limits: { burstMessages: 5 }\n    back',
      ),
      finds: [
        '3:5  warning: nothing waits without "queueSeconds"',
        '4:22  warning: there is no burst without "messagesPerSecond"',
        '4:40  warning: in listener "edge" links are shared: "linksPerBackend" of them',
        '5:15  warning: there is no burst without "messagesPerSecond"',
        '12:15  warning: there is no burst without "messagesPerSecond"',
        '12:33  warning: there is no burst without "messagesPerSecondPerAddress"',
      ],
    },
    {
      when: 'requests are to be replayed, and the protocol lets none be',
      pools: sound.pools.replace('    back', '    replay: once\n    back'),
      finds: '3:13  warning: "lines" lets no request be replayed in listener "edge", so that this has no effect there',
    },
    {
      when: 'requests may be replayed, and the pool does not do that',
      listener: sound.listener.replace('lines: ', 'lines: { replayable: true }'),
      finds: '8:18  warning: "lines" lets requests be replayed, but the pool "calls" has no "replay: once"',
    },
    {
      when: 'requests are kept that are not replayed',
      pools: sound.pools.replace('    back', '    replayBytes: 1000\n    back'),
      finds: '3:5  warning: nothing is kept to be replayed without "replay: once"',
    },
    {
      when: 'a pool has no backends',
      pools: pool('backends: {}'),
      finds: '3:15  shape: backends must have 1 member or more',
    },
    {
      when: 'a name has a space',
      pools: pool('backends: { a b: "tcp://127.0.0.1:1" }'),
      finds: '3:17  shape: "a b" is no name: 1 to 63 letters, digits, ".", "_" and "-", the first a letter or digit',
    },
    {
      when: 'a backend has a name that every object has a member of',
      pools: pool('backends: { toString: "tcp://127.0.0.1:1" }'),
      finds: '3:17  lint: "toString" is no name: every object of JavaScript has a member of that name',
    },
    {
      when: 'a pipeline is empty',
      listener: sound.listener.replace('[{ lines: }, { turns: }]', '[]'),
      finds: '8:15  shape: pipeline must have 1 item or more',
    },
    {
      when: 'one entry of a pipeline names two plugins',
      listener: sound.listener.replace('}, {', ', '),
      finds: '8:16  shape: item 1 of pipeline must name one plugin; begin an entry of its own, with "- ", for each',
    },
    {
      when: 'an entry of a pipeline is a bare name',
      listener: sound.listener.replace('{ turns: }', 'turns'),
      finds: '8:28  shape: item 2 of pipeline must be a mapping; write "turns: {}"',
    },
    {
      when: 'a plugin is misspelt',
      listener: sound.listener.replace('turns', 'truns'),
      finds: '8:30  plugins: there is no plugin "truns"; did you mean "turns"?',
    },
    {
      when: 'a plugin is like none',
      listener: sound.listener.replace('turns', 'sip'),
      finds: '8:30  plugins: there is no plugin "sip"; there are lines, numbers, rival, turns, keyed and decided',
    },
    {
      when: 'a key has no id',
      more: 'keys: [{ secret: x }]',
      finds: '9:8  shape: item 1 of keys has no "id"',
    },
    {
      when: 'a key id has capitals',
      more: 'keys: [{ id: K1, secret: "0123456789abcdef" }]',
      finds: '9:14  shape: id must have the form ^[a-z0-9-]{1,15}$, not "K1"',
    },
    {
      when: 'there are to be no workers',
      more: 'workers: 0',
      finds: '9:10  shape: workers must be at least 1, not 0',
    },
    {
      when: 'workers are neither a number nor auto',
      more: 'workers: all',
      finds: '9:10  shape: workers must be an integer or "auto", not "all"',
    },
    {
      when: 'there are to be one worker and a half',
      more: 'workers: 1.5',
      finds: '9:10  shape: workers must be an integer or "auto", not 1.5',
    },
  ]);
});

describe('observers', () => {
  finds([
    {
      when: 'an observer stands in a pipeline',
      listener: sound.listener.replace('lines:', 'watcher:'),
      finds: '8:18  plugins: the plugin "watcher" is not for this list; it belongs in "observers", beside "listeners"',
    },
    {
      when: 'a strategy stands among the observers',
      more: 'observers: [{ turns: }]',
      finds: '9:15  plugins: the plugin "turns" is not for this list; it belongs in the pipeline of a listener',
    },
    {
      when: 'an observer is misspelt',
      more: 'observers: [{ wacher: }]',
      finds: '9:15  plugins: there is no plugin "wacher"; did you mean "watcher"?',
    },
    {
      when: 'an option of an observer is of the wrong type',
      more: 'observers: [{ watcher: { every: day } }]',
      finds: '9:33  options: every must be an integer, not "day"',
    },
    {
      when: 'an observer does not like its options',
      more: 'observers: [{ watcher: { every: 10 } }]',
      finds: '9:33  apply: [watcher] observe: every: 10 is too seldom',
    },
    {
      when: 'an observer is async',
      more: 'observers: [{ watcher: { every: 9 } }]',
      finds: '9:15  apply: [watcher] observe: answered a promise, but is to be synchronous',
    },
    {
      when: 'an observer advises against an option',
      more: 'observers: [{ watcher: { every: 7 } }]',
      finds: '9:33  warning: every: 7 is a week',
    },
    {
      when: 'an observer takes the address of a listener',
      more: 'observers: [{ watcher: { listen: "tcp://127.0.0.1:5060" } }]',
      finds: '9:34  lint: tcp://127.0.0.1:5060 is taken by listener "edge" (edge.yaml:6:13)',
    },
    {
      when: 'an observer takes the address that another one has by default',
      more: 'observers: [{ watcher: }, { watcher: { listen: "tcp://0.0.0.0:9000" } }]',
      finds: '9:48  lint: tcp://0.0.0.0:9000 is taken by observer "watcher" (edge.yaml:9:15)',
    },
  ]);
});

describe('health', () => {
  const pool = (members: string) => ({
    pools: `pools:\n  calls:\n    { backends: { a: "tcp://127.0.0.1:7001", b: "unix:/run/b" }, ${members} }`,
  });
  finds([
    {
      when: 'checks are in order',
      ...pool('checks: [{ asker: }, { asker: { rise: 1, port: 80 } }], panicPercent: 30'),
      finds: '3:113  lint: a backend of this pool is a unix socket, which has no ports',
    },
    {
      when: 'an option of a check is misspelt',
      ...pool('checks: [{ asker: { intervallSeconds: 1 } }]'),
      finds: '3:86  options: "intervallSeconds" is unknown here; did you mean "intervalSeconds"?',
    },
    {
      when: 'a check is not to be finished before the next one begins',
      ...pool('checks: [{ asker: { timeoutSeconds: 2 } }, { asker: { intervalSeconds: 1 } }]'),
      finds:
        '3:102  lint: an attempt may take 2 s, but the next one begins after 2 s; let timeoutSeconds be less than intervalSeconds',
    },
    {
      when: 'a check does not like its options',
      ...pool('checks: [{ asker: { question: "" } }]'),
      finds: '3:96  apply: [asker] check: question: nothing is asked',
    },
    {
      when: 'a check is async, or none',
      ...pool('checks: [{ asker: { question: later } }, { asker: { question: never } }]'),
      finds: [
        '3:77  apply: [asker] check: answered a promise, but is to be synchronous',
        '3:109  apply: [asker] check: it answered no check: { onOpen(attempt) { … } }',
      ],
    },
    {
      when: 'a check goes over links',
      ...pool('links: shared, checks: [{ asker: { question: a, over: link } }]'),
      finds: [],
    },
    {
      when: 'a check over links has no question, or another port',
      ...pool('links: shared, checks: [{ asker: { over: link } }, { asker: { question: a, over: link, port: 80 } }]'),
      finds: [
        '3:107  apply: [asker] check: over: it asks for no answer, so that there is nothing to send over a link',
        "3:159  lint: links lead to the port of the backend's address",
      ],
    },
    {
      when: 'a check goes over links, and each client has its own',
      ...pool('links: dedicated, checks: [{ asker: { question: a, over: link } }]'),
      finds: '3:123  lint: in listener "edge" each client has links of its own, so that no check can go over them',
    },
    {
      when: 'a plugin is no check',
      ...pool('checks: [{ turns: }]'),
      finds: '3:77  plugins: the plugin "turns" is not for this list; it belongs in the pipeline of a listener',
    },
    {
      when: 'a check stands in a pipeline',
      listener: sound.listener.replace('turns:', 'turns: }, { asker:'),
      finds: '8:42  plugins: the plugin "asker" is not for this list; it belongs in the "checks" of a pool',
    },
    {
      when: 'outliers are ejected for longer than is allowed',
      ...pool('outliers: { maxEjectionSeconds: 20 }'),
      finds: '3:98  lint: maxEjectionSeconds is less than baseEjectionSeconds, 30',
    },
    {
      when: 'a latency is wanted that nobody measures',
      ...pool('outliers: { latencyFactor: 3 }, links: dedicated'),
      listener: sound.listener.replace('lines:', 'lines: { shared: false }'),
      finds:
        '3:78  warning: in listener "edge" nobody measures how long answers take, as "lines" does not correlate them with requests',
    },
    {
      when: 'outliers are detected by nothing',
      ...pool('outliers: { consecutiveFailures: 0 }'),
      finds: '3:66  warning: neither consecutiveFailures nor latencyFactor ejects anybody, so that this has no effect',
    },
    {
      when: 'there are no backups to be added',
      ...pool('minimumUp: 2'),
      finds: '3:66  warning: all backends are of one priority, so that this has no effect',
    },
  ]);
});

describe('options', () => {
  const numbers = (options: string) => ({
    pools: sound.pools.replaceAll(/"(tcp:[^"]*(\d))"/g, '{ address: "$1", number: $2 }'),
    listener: sound.listener.replace('lines:', `numbers: ${options}`),
  });
  finds([
    {
      when: 'an option is misspelt',
      ...numbers('{ sise: 4 }'),
      finds: '8:29  options: "sise" is unknown here; did you mean "size"?',
    },
    {
      when: 'an option is of the wrong type',
      ...numbers('{ size: four }'),
      finds: '8:35  options: size must be an integer, not "four"',
    },
    {
      when: 'an option is none of a union of literals',
      ...numbers('{ endian: Little }'),
      finds: '8:37  options: endian must be "big" or "little", not "Little"; did you mean "little"?',
    },
    {
      when: 'a member of an option is missing',
      ...numbers('{ field: {} }'),
      finds: '8:29  options: field has no "offset"',
    },
    {
      when: 'options are no mapping',
      ...numbers('4'),
      finds: '8:27  options: numbers must be a mapping or empty, not 4',
    },
    {
      when: 'an item of a list is wrong',
      ...numbers('{ stamp: [request, reply] }'),
      finds: '8:46  options: item 2 of stamp must be "request" or "response", not "reply"',
    },
    {
      when: 'an item of a list is there twice',
      ...numbers('{ stamp: [request, request] }'),
      finds: '8:36  options: stamp has the same item twice: items 1 and 2',
    },
    {
      when: 'a text has too many characters, of the wrong kind',
      ...numbers('{ marker: 00xx00 }'),
      finds: [
        '8:37  options: marker must have 4 characters or fewer',
        '8:37  options: marker must have the form ^[0-9a-f]+$, not "00xx00"',
      ],
    },
    {
      when: 'apply finds an option wrong',
      ...numbers('{ field: { offset: 9 } }'),
      finds: '8:46  apply: [numbers] apply: field.offset: 9 is beyond the frame',
    },
    {
      when: 'apply advises against an option',
      ...numbers('{ marker: cafe }'),
      finds: '8:37  warning: marker: cafe is for tests',
    },
    ...['0.0.0.0:5060', '[::]:5060', '127.0.0.1:0'].map((listen) => ({
      when: `a protocol tells peers an address where they cannot reach us: ${listen}`,
      pools: numbers('').pools,
      listener: numbers('{ marker: cab1 }').listener.replace('127.0.0.1:5060', listen),
      finds: `6:5  warning: "numbers" tells peers to reach us at tcp://${listen}, where they cannot; write an "advertise" of the form host:port`,
    })),
    {
      when: 'such a protocol is told what to tell, or such an address is for listening only',
      pools: numbers('').pools,
      listener: `${numbers('{ marker: cab1 }').listener.replace('127.0.0.1:5060', '0.0.0.0:5060')}\nadvertise: edge.example.net:5060`,
      more: '  other: { listen: "tcp://0.0.0.0:5061", pool: calls, pipeline: [{ numbers: }, { turns: }] }',
      finds: [],
    },
    {
      when: 'apply advises against its use at such a listener',
      pools: numbers('').pools,
      listener: numbers('{}').listener.replace('tcp', 'udp'),
      finds: '8:18  warning: one frame in a datagram is a waste',
    },
  ]);
});

describe('apply', () => {
  const pipeline = (entries: string) => sound.listener.replace('[{ lines: }, { turns: }]', entries);
  finds([
    {
      when: 'no plugin frames',
      listener: pipeline('[{ turns: }]'),
      finds: '8:5  apply: no plugin of this pipeline taps frame; add a protocol plugin',
    },
    {
      when: 'no plugin frames, so that nobody knows what the protocol makes of limits',
      pools: sound.pools.replace('    back', '    limits: { inFlight: 10 }\n    back'),
      listener: pipeline('[{ turns: }]'),
      finds: '9:5  apply: no plugin of this pipeline taps frame; add a protocol plugin',
    },
    {
      when: 'two plugins frame',
      listener: pipeline('[{ lines: }, { rival: }, { turns: }]'),
      finds: '8:30  apply: "rival" taps frame, but "lines" does already; a pipeline has one protocol plugin',
    },
    {
      when: 'two plugins declare the protocol',
      listener: pipeline('[{ lines: }, { numbers: }, { turns: }]'),
      finds: '8:30  apply: [numbers] apply: a pipeline has one protocol, and another plugin has declared it',
    },
    {
      when: 'several plugins cannot be applied, and the others do not fit together',
      listener: pipeline(
        '[{ lines: }, { numbers: { marker: bad0 } }, { numbers: { field: { offset: 9 } } }, { keyed: { key: acount } }]',
      ),
      finds: [
        '8:30  apply: [numbers] apply: the marker bad0 is taken',
        '8:89  apply: [numbers] apply: field.offset: 9 is beyond the frame',
        '8:114  apply: "lines" has no key "acount"; there is message',
      ],
    },
    {
      when: 'a plugin is applied asynchronously',
      listener: pipeline('[{ numbers: { marker: c0de } }, { turns: }]'),
      finds: '8:18  apply: [numbers] apply: answered a promise, but is to be synchronous',
    },
    {
      when: 'the only plugin cannot be applied, whatever hooks it would tap',
      listener: pipeline('[{ numbers: { marker: bad0 } }]'),
      finds: '8:18  apply: [numbers] apply: the marker bad0 is taken',
    },
    {
      when: 'keys are missing, and numbers are to be signed',
      pools: sound.pools.replaceAll(/"(tcp:[^"]*(\d))"/g, '{ address: "$1", number: $2 }'),
      listener: `${pipeline('[{ numbers: }, { turns: }]')}\nidentifiers: { mode: signed }`,
      finds: [
        '9:26  lint: signed identifiers need "keys"',
        '9:26  apply: "numbers" carries identifiers as numbers, which cannot be signed',
      ],
    },
    {
      when: 'no plugin chooses',
      listener: pipeline('[{ lines: }]'),
      finds: '8:5  apply: no plugin of this pipeline taps chooseBackend; add a strategy plugin',
    },
    {
      when: 'a protocol that writes numbers meets backends without',
      pools: sound.pools.replace('"tcp://127.0.0.1:7002"', '{ address: "tcp://127.0.0.1:7002", number: 2 }'),
      listener: pipeline('[{ numbers: }, { turns: }]'),
      finds: '3:17  apply: backend "a" needs a number: in listener "edge" it is the identifier',
    },
    {
      when: 'numbers are to be signed',
      pools: sound.pools.replaceAll(/"(tcp:[^"]*(\d))"/g, '{ address: "$1", number: $2 }'),
      listener: `${pipeline('[{ numbers: }, { turns: }]')}\nidentifiers: { mode: signed }`,
      more: 'keys: [{ id: k1, secret: "${env:KEY}" }]',
      finds: '9:26  apply: "numbers" carries identifiers as numbers, which cannot be signed',
    },
    {
      when: 'a strategy stands behind one that leaves it nothing to choose',
      listener: sound.listener.replace('{ turns:', '{ decided: }, { turns:'),
      finds: '8:44  warning: "turns" is never asked: "decided" before it always chooses a backend',
    },
    {
      when: 'of several backends one only gets new work',
      pools: sound.pools.replace('"tcp://127.0.0.1:7002"', '{ address: "tcp://127.0.0.1:7002", state: drain }'),
      finds: '3:5  warning: only "a" is ready with a weight above 0, so that strategies have nothing to choose',
    },
    {
      when: 'limits leave no room for each other',
      listener: `${sound.listener}\nlimits: { headerBytes: 100, messageBytes: 50, headerSeconds: 9, idleSeconds: 3, connections: 2, connectionsPerAddress: 3 }`,
      finds: [
        '9:28  warning: headerBytes is 100, but messageBytes is 50: a header is part of its message',
        '9:66  warning: headerSeconds is 9, but idleSeconds is 3: a client that sends no byte is closed before',
        '9:124  warning: connectionsPerAddress is 3, but connections is 2: there are never so many',
      ],
    },
    {
      when: 'a pipeline is wrong whose pool is wrong, too',
      pools: sound.pools.replace('"tcp://127.0.0.1:7002"', '7002'),
      listener: pipeline('[{ turns: }]'),
      finds: [
        '3:47  shape: b must be a string or a mapping, not 7002',
        '8:5  apply: no plugin of this pipeline taps frame; add a protocol plugin',
      ],
    },
    {
      when: 'links that all clients share are to tell whose they are',
      pools: sound.pools.replace('    back', '    proxyProtocol: v2\n    back'),
      finds:
        '3:5  warning: in listener "edge" links are shared by all clients, so that this tells the address of none; write "links: dedicated"',
    },
    {
      when: 'networks are none',
      listener: `${sound.listener}\nallow: [10.0.0.0/8, 10/8]\nproxyProtocol: { from: [example.net] }`,
      finds: [
        '9:25  lint: "10/8" is neither an IP address nor a network such as 10.0.0.0/8',
        '10:29  lint: "example.net" is neither an IP address nor a network such as 10.0.0.0/8',
      ],
    },
    {
      when: 'the PROXY protocol is to be read where there are no connections',
      listener: `${sound.listener.replace('tcp:', 'udp:')}\nproxyProtocol: { from: [10.0.0.1] }`,
      finds: '9:5  lint: the PROXY protocol is read on connections over TCP; "listen" is udp',
    },
    {
      when: 'links are shared by a protocol that cannot tell answers apart',
      pools: sound.pools.replace('    back', '    links: shared\n    back'),
      listener: pipeline('[{ lines: { shared: false } }, { turns: }]'),
      finds: '3:12  apply: "lines" cannot tell whose answer it is on a shared link in listener "edge"',
    },
    {
      when: 'a strategy asks for a key that the protocol does not expose',
      pools: sound.pools.replaceAll(/"(tcp:[^"]*(\d))"/g, '{ address: "$1", number: $2 }'),
      listener: pipeline('[{ numbers: }, { keyed: { key: acount } }]'),
      finds: '8:46  apply: "numbers" has no key "acount"; did you mean "account"?',
    },
  ]);
});

describe('lint', () => {
  const second = (listen: string) =>
    `  next:\n    { listen: "${listen}", pool: calls, pipeline: [{ lines: }, { turns: }] }`;
  finds([
    {
      when: 'a pool is misspelt',
      listener: sound.listener.replace('calls', 'call'),
      finds: '7:11  lint: there is no pool "call"; did you mean "calls"?',
    },
    {
      when: 'a pool feeds nobody',
      pools: sound.pools
        .replace('pools:\n', 'pools: { spare: { backends: { a: tcp://a:1 } },')
        .replace(/$/, '}}')
        .replace('  calls:\n', ' calls: {\n'),
      finds: '1:10  warning: no listener feeds the pool "spare"',
    },
    {
      when: 'an address is bad',
      pools: sound.pools.replace('tcp://127.0.0.1:7001', '127.0.0.1:7001'),
      finds: '3:20  lint: "127.0.0.1:7001" is no address; write tcp://host:port, tls://host:port or unix:/path',
    },
    {
      when: 'a file descriptor is an address',
      listener: sound.listener.replace('tcp:', 'fd:'),
      finds: '6:13  lint: "fd://127.0.0.1:5060" is no file descriptor; write fd://3 or fd://name',
    },
    {
      when: 'a backend is a file descriptor',
      pools: sound.pools.replace('tcp://127.0.0.1:7001', 'fd://3'),
      finds: '3:20  lint: "fd://3": that is for listeners; backends are reached by their address',
    },
    {
      when: 'no backend is ready',
      pools: sound.pools.replaceAll(/"(tcp:[^"]*)"/g, '{ address: "$1", state: drain }'),
      finds: '3:5  warning: no backend is ready with a weight above 0, so that none gets new work',
    },
    {
      when: 'a backend is a WebSocket',
      pools: sound.pools.replace('tcp://127.0.0.1:7001', 'ws://127.0.0.1:7001'),
      finds: '3:20  lint: "ws://127.0.0.1:7001": backends are reached over tcp, tls, udp or unix',
    },
    {
      when: 'a secure WebSocket has no certificate',
      listener: sound.listener.replace('tcp:', 'wss:'),
      finds: '6:13  lint: a wss:// listener needs "tls" with certificate and key',
    },
    {
      when: 'advertise has no port',
      listener: `${sound.listener}\nadvertise: sip.example.net`,
      finds: '9:16  lint: "sip.example.net" is not of the form host:port',
    },
    {
      when: 'two listeners have one address',
      more: second('tcp://127.0.0.1:5060'),
      finds: '10:15  lint: tcp://127.0.0.1:5060 is taken by listener "edge" (edge.yaml:6:13)',
    },
    {
      when: 'a listener takes an address of another with all others',
      more: second('tcp://0.0.0.0:5060'),
      finds: '10:15  lint: tcp://0.0.0.0:5060 is taken by listener "edge" (edge.yaml:6:13)',
    },
    {
      when: 'two backends have one number',
      pools: sound.pools.replaceAll(/"(tcp:[^"]*)"/g, '{ address: "$1", number: 7 }'),
      finds: '3:114  lint: number 7 is that of backend "a" (edge.yaml:3:63)',
    },
    {
      when: 'a backend has no port to connect to',
      pools: sound.pools.replace('7001', '0'),
      finds: '3:20  lint: "tcp://127.0.0.1:0" has no port to connect to; write one from 1 to 65535',
    },
    {
      when: 'two backends have one address',
      pools: sound.pools.replace('7002', '7001'),
      finds: '3:44  warning: "b" has the address of "a": two names for one server',
    },
    {
      when: 'a backend is the listener that feeds it',
      pools: sound.pools.replace('7001', '5060'),
      finds:
        '3:17  warning: "a" has the address of listener "edge", which feeds it: messages would go round in a circle',
    },
    {
      when: 'a backend is the listener that feeds it on all addresses, or another machine with the same port',
      pools: sound.pools.replace('7001', '5060').replace('127.0.0.1:7002', '192.0.2.1:5060'),
      listener: sound.listener.replace('127.0.0.1', '0.0.0.0'),
      finds:
        '3:17  warning: "a" has the address of listener "edge", which feeds it: messages would go round in a circle',
    },
    {
      when: 'two backends differ in letter case only',
      pools: sound.pools.replace('b:', 'A:'),
      finds: '3:44  lint: "A" differs from "a" in letter case only, which some protocols do not tell apart',
    },
    {
      when: 'no backend has weight',
      pools: sound.pools.replaceAll(/"(tcp:[^"]*)"/g, '{ address: "$1", weight: 0 }'),
      finds: '3:5  warning: no backend is ready with a weight above 0, so that none gets new work',
    },
    {
      when: 'identifiers are to be signed without keys',
      listener: `${sound.listener}\nidentifiers: { mode: signed }`,
      finds: '9:26  lint: signed identifiers need "keys"',
    },
    {
      when: 'a secret is short',
      more: 'keys: [{ id: k1, secret: "fifteen bytes!!" }]',
      finds: '9:26  lint: the secret has 15 bytes; it needs at least 16',
    },
    {
      when: 'a secret stands in the config',
      more: 'keys: [{ id: k1, secret: "sixteen bytes !!" }]',
      finds:
        '9:26  warning: the secret stands in the config; take it from outside with "${env:NAME}" or "${file:PATH}"',
    },
    {
      when: 'two keys have one id',
      more: 'keys: [{ id: k1, secret: "${env:KEY}" }, { id: k1, secret: "${env:KEY}" }]',
      finds: '9:48  lint: the key "k1" is there twice; ids tell keys apart',
    },
    {
      when: 'connections are counted by each worker for itself',
      listener: `${sound.listener.replace('turns:', 'keyed:')}\nlimits: { connectionsPerAddress: 2 }`,
      more: 'workers: 2',
      finds:
        '9:38  warning: each worker counts for itself, so that one address may have as many connections to each of them',
    },
    {
      when: 'workers may choose differently for related messages',
      more: 'workers: auto',
      finds:
        '8:5  warning: no worker knows where another has sent related messages that carry no identifier, ' +
        'should they come on other connections; choose by "hashing", as all workers do alike',
    },
    {
      when: 'a tls listener has no certificate',
      listener: sound.listener.replace('tcp:', 'tls:'),
      finds: '6:13  lint: a tls:// listener needs "tls" with certificate and key',
    },
    {
      when: 'a certificate is not there',
      listener: `${sound.listener.replace('tcp:', 'tls:')}\ntls: { certificate: cert.pem, key: key.pem }`,
      finds: ['9:25  lint: cannot read cert.pem: no such file', '9:40  lint: cannot read key.pem: no such file'],
    },
    {
      when: 'links have a certificate without its key',
      pools: sound.pools.replace('    back', '    tls: { certificate: cert.pem }\n    back').replace('tcp:', 'tls:'),
      finds: ['3:5  lint: certificate and key go together', '3:25  lint: cannot read cert.pem: no such file'],
    },
    {
      when: 'links have TLS settings without a use',
      pools: sound.pools.replace('    back', '    tls: { verify: false }\n    back'),
      finds: '3:5  warning: no backend has a tls:// address, so that this has no effect',
    },
  ]);

  it('there are no listeners', async () => {
    expect((await check('# nothing\n')).lines).toEqual(['edge.yaml:1:1  lint: the config has no listeners']);
  });

  describe('certificates', () => {
    const config = (listen: string, tls: string) =>
      write({ listener: `${sound.listener.replace('tcp://127.0.0.1', `${listen}://127.0.0.1`)}\ntls: ${tls}` });

    it.each([
      ['tls', '{ certificate: a.cert, key: a.key, ca: a.cert, clientCertificate: required }', []],
      [
        'tls',
        '{ certificate: a.cert, key: b.key }',
        ['edge.yaml:9:5  lint: these certificates and keys cannot be used: the key is not that of the certificate'],
      ],
      [
        'tls',
        '{ certificate: a.key, key: a.cert }',
        ['edge.yaml:9:25  lint: a.key holds no certificate in PEM', 'edge.yaml:9:37  lint: a.cert holds no key in PEM'],
      ],
      [
        'tls',
        '{ certificate: a.cert, key: locked.key }',
        [
          'edge.yaml:9:38  lint: the key in locked.key has a passphrase; write one without: openssl pkey -in OLD -out NEW',
        ],
      ],
      [
        'tls',
        '{ certificate: old.cert, key: old.key }',
        ['edge.yaml:9:25  warning: the certificate has expired: it was valid until Jan  2 00:00:00 2020 GMT'],
      ],
      [
        'tls',
        '{ certificate: chain.cert, key: a.key }',
        [
          'edge.yaml:9:25  warning: the certificate of CN=old in the chain has expired: it was valid until Jan  2 00:00:00 2020 GMT',
        ],
      ],
      [
        'tls',
        '{ certificate: new.cert, key: new.key }',
        ['edge.yaml:9:25  warning: the certificate is not valid yet: it will be from Jan  1 00:00:00 2200 GMT'],
      ],
      [
        'tls',
        '{ certificate: a.cert, key: a.key, clientCertificate: required }',
        ['edge.yaml:9:64  lint: client certificates need "ca", which says who may sign them'],
      ],
      [
        'tcp',
        '{ certificate: a.cert, key: a.key }',
        ['edge.yaml:9:5  lint: "listen" is tcp, so that "tls" has no effect; write tls:// there'],
      ],
    ])('of a %s listener with %s', async (listen, tls, expected) => {
      const [a, b, old, young] = await Promise.all([
        makeCertificate('a'),
        makeCertificate('b'),
        makeCertificate('old', { from: '2020-01-01', to: '2020-01-02' }),
        makeCertificate('a', { from: '2200-01-01', to: '2200-01-02' }),
      ]);
      const locked = createPrivateKey(a.key).export({
        type: 'pkcs8',
        format: 'pem',
        cipher: 'aes-256-cbc',
        passphrase: 'x',
      });
      const files = {
        'a.cert': a.certificate,
        'a.key': a.key,
        'b.key': b.key,
        'locked.key': String(locked),
        'old.cert': old.certificate,
        'chain.cert': `${a.certificate}\n${old.certificate}`,
        'old.key': old.key,
        'new.cert': young.certificate,
        'new.key': young.key,
      };
      expect((await check({ 'edge.yaml': config(listen, tls), ...files })).lines).toEqual(expected);
    });
  });
});

describe('one run', () => {
  it('finds the mistakes of all stages, also beside each other', async () => {
    const { lines } = await check(`keys:
  - { id: k1, secret: short }
  - { id: k2, secret: "\${env:MISSING}" }
pools:
  calls:
    links: both
    tls: { ca: missing.pem }
    checks: [{ asker: { question: 3 } }, { turns: }]
    backends:
      a: { adress: "tcp://127.0.0.1:7001" }
      b: tcp://127.0.0.1
listeners:
  edge:
    lissten: tcp://127.0.0.1:5060
    advertise: edge
    allow: [10.0.0.0/40]
    pool: cals
    limits: { messagBytes: 1 }
    identifiers: { mode: signed }
    pipeline: [{ numbers: }, { keyed: { key: acount } }]
  more:
    listen: tcp://127.0.0.1:5061
    pool: calls
    limits: { messagBytes: 1 }
    identifiers: { mode: sealed }
    pipeline: [{ numbers: }, { keyed: { key: acount } }]
plugins: [./missing.ts]
observers: [{ turns: }, { watcher: { every: 10 } }]
`);
    expect(lines).toEqual(
      [
        '2:23  lint: the secret has 5 bytes; it needs at least 16',
        '3:23  syntax: the environment variable MISSING is not set',
        '6:12  shape: links must be "shared" or "dedicated", not "both"',
        '7:16  lint: cannot read missing.pem: no such file',
        '8:35  options: question must be a string, not 3',
        '8:44  plugins: the plugin "turns" is not for this list; it belongs in the pipeline of a listener',
        '10:12  shape: "adress" is unknown here; did you mean "address"?',
        '11:10  lint: "tcp://127.0.0.1" is no address; write tcp://host:port, an IPv6 host as [::1]',
        '14:5  shape: "lissten" is unknown here; did you mean "listen"?',
        '15:16  lint: "edge" is not of the form host:port',
        '16:13  lint: "10.0.0.0/40" is neither an IP address nor a network such as 10.0.0.0/8',
        '17:11  lint: there is no pool "cals"; did you mean "calls"?',
        '18:15  shape: "messagBytes" is unknown here; did you mean "messageBytes"?',
        '24:15  shape: "messagBytes" is unknown here; did you mean "messageBytes"?',
        '25:26  apply: "numbers" carries identifiers as numbers, which cannot be sealed',
        '26:46  apply: "numbers" has no key "acount"; did you mean "account"?',
        '27:11  plugins: cannot load plugin "./missing.ts": no such file',
        '28:15  plugins: the plugin "turns" is not for this list; it belongs in the pipeline of a listener',
        '28:45  apply: [watcher] observe: every: 10 is too seldom',
      ].map((line) => `edge.yaml:${line}`),
    );
  });
});

describe('limits that leave no room for each other', () => {
  const config = (limits: string, ofPool = '', backends = 'a: "tcp://127.0.0.1:7001", b: "tcp://127.0.0.1:7002"') =>
    write({
      pools: `pools:\n  calls:\n    { backends: { ${backends} }, ${ofPool} }`,
      listener: `${sound.listener}\nlimits: { ${limits} }`,
    });
  const two = (of: string, other = of) =>
    `a: { address: "tcp://127.0.0.1:7001", ${of} }, b: { address: "tcp://127.0.0.1:7002", ${other} }`;

  it.each([
    ['headerBytes: 9, messageBytes: 8', '', 'headerBytes is 9, but messageBytes is 8: a header is part of its message'],
    [
      'messageBytes: 9, queueBytes: 8',
      '',
      'messageBytes is 9, but queueBytes is 8: one message is more than may wait for a client',
    ],
    [
      'messageBytes: 9',
      'queueBytes: 8',
      'messageBytes is 9, but queueBytes of pool "calls" is 8: one message is more than may wait for a backend',
    ],
    [
      'connectionsPerAddress: 9, connections: 8',
      '',
      'connectionsPerAddress is 9, but connections is 8: there are never so many',
    ],
    ['inFlightPerAddress: 9, inFlight: 8', '', 'inFlightPerAddress is 9, but inFlight is 8: there are never so many'],
    [
      'messagesPerSecondPerAddress: 9, messagesPerSecond: 8',
      '',
      'messagesPerSecondPerAddress is 9, but messagesPerSecond is 8: there are never so many',
    ],
    [
      'messagesPerSecondPerAddress: 1, messagesPerSecond: 8, burstMessagesPerAddress: 9, burstMessages: 8',
      '',
      'burstMessagesPerAddress is 9, but burstMessages is 8: there are never so many',
    ],
    [
      'headerSeconds: 9, idleSeconds: 8',
      '',
      'headerSeconds is 9, but idleSeconds is 8: a client that sends no byte is closed before',
    ],
    [
      'inFlight: 9',
      'limits: { inFlight: 8 }',
      'inFlight is 9, but inFlight of pool "calls" is 8: there are never so many',
    ],
    [
      'messagesPerSecond: 9',
      'limits: { messagesPerSecond: 8 }',
      'messagesPerSecond is 9, but messagesPerSecond of pool "calls" is 8: there are never so many',
    ],
    [
      'inFlight: 5, reservedPercent: 100',
      '',
      'reservedPercent is 100: limits of rate and load let no new work in at all',
    ],
    ['reservedPercent: 20', '', 'there is no limit of rate or load to reserve a part of'],
  ])('of a listener: %s', async (limits, ofPool, message) => {
    const { findings } = await check(config(limits, ofPool));
    expect(findings.map(({ message, severity, line }) => [severity, line, message])).toEqual([['warning', 9, message]]);
  });

  it.each([
    [
      'limits: { inFlight: 8 }, backendLimits: { inFlight: 9 }',
      undefined,
      'inFlight is 9, but inFlight of pool "calls" is 8: there are never so many',
    ],
    [
      'limits: { inFlight: 8 }, backendLimits: { inFlight: 5 }',
      two('weight: 1', 'limits: { inFlight: 9 }'),
      'inFlight is 9, but inFlight of pool "calls" is 8: there are never so many',
    ],
    [
      'limits: { inFlight: 9 }, backendLimits: { inFlight: 4 }',
      undefined,
      'inFlight is 9, but those of the backends add up to 8: there are never so many',
    ],
    [
      'limits: { messagesPerSecond: 9 }',
      two('limits: { messagesPerSecond: 4 }'),
      'messagesPerSecond is 9, but those of the backends add up to 8: there are never so many',
    ],
    ['panicPercent: 20', undefined, 'there are neither "checks" nor "outliers" to be ignored'],
    [
      'panicPercent: 60, checks: [{ asker: }]',
      undefined,
      'panicPercent is 60, but one of 2 backends that fails leaves 50: it is never taken out',
    ],
    [
      'minimumUp: 2',
      two('priority: 0', 'priority: 1'),
      'minimumUp is 2, of which 1 come before priority 1: that always gets new work as well',
    ],
  ])('of a pool: %s', async (ofPool, backends, message) => {
    const { findings } = await check(config('', ofPool, backends));
    expect(findings.map(({ message, severity, line }) => [severity, line, message])).toEqual([['warning', 3, message]]);
  });

  it('of links that are not shared', async () => {
    const { lines } = await check(config('', 'links: dedicated, linksPerBackend: 2'));
    expect(lines).toEqual([
      'edge.yaml:3:93  warning: in listener "edge" every client has links of its own, however many that makes',
    ]);
  });

  it.each([
    ['messageBytes: 8, headerBytes: 8, queueBytes: 8', 'queueBytes: 8'],
    ['messageBytes: 1000000', ''],
    ['queueBytes: 8', 'queueBytes: 8'],
    ['idleSeconds: 0, headerSeconds: 9', ''],
    ['connectionsPerAddress: 0, connections: 3', ''],
    [
      'inFlight: 8, inFlightPerAddress: 8, reservedPercent: 99',
      'limits: { inFlight: 8 }, backendLimits: { inFlight: 4 }',
    ],
    ['', 'limits: { inFlight: 9 }, backendLimits: { messagesPerSecond: 4 }'],
    ['', 'panicPercent: 50, checks: [{ asker: }]'],
  ])('and none where they do: %s, %s', async (limits, ofPool) => {
    expect((await check(config(limits, ofPool))).lines).toEqual([]);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Client } from '../../core/client.ts';
import { Clients } from '../../core/clients.ts';
import { decodeBase32, encodeBase32, Identifiers } from '../../core/identifiers.ts';
import { Backend, Pool } from '../../core/pool.ts';
import { VirtualRuntime } from '../../core/runtime/virtual.ts';
import type { IdentifierMode, KeySettings } from '../../core/settings.ts';

const k1: KeySettings = { id: 'k1', secret: Buffer.alloc(32, 1) };
const k2: KeySettings = { id: 'k2', secret: Buffer.alloc(32, 2) };

function makePool(name: string, ...names: string[]): Pool {
  return new Pool({
    name,
    backends: names.map((backend, index) => ({
      name: backend,
      address: { transport: 'tcp', host: '10.0.0.1', port: 7000 + index, path: '' },
      weight: 1,
      number: index + 1,
    })),
    links: 'shared',
    linksPerBackend: 1,
    connectSeconds: 5,
    keepaliveSeconds: 0,
    queueBytes: 1000,
  });
}

interface Options {
  keys?: KeySettings[];
  mode?: IdentifierMode;
  pool?: Pool;
  clients?: Clients;
  form?: 'text' | 'raw';
  foldCase?: boolean;
  namesClients?: boolean;
}

function makeBook({
  keys = [k1],
  mode,
  pool = makePool('calls', 'uas-1', 'uas-2'),
  clients,
  form,
  foldCase,
  namesClients,
}: Options = {}) {
  const registry = clients ?? new Clients(new VirtualRuntime(7));
  const book = new Identifiers({ keys, mode, pool, clients: registry });
  book.configure({ identifiers: form ?? 'text', foldCase: foldCase ?? false, namesClients: namesClients ?? true });
  return { book, pool, clients: registry };
}

/** Reads a token that lies in the middle of other bytes. */
function read(book: Identifiers, token: Uint8Array) {
  const around = Buffer.concat([Buffer.from('aa'), token, Buffer.from('zz')]);
  const found = book.read(around, 2, 2 + token.length);
  return found instanceof Backend ? found.name : found;
}

const addClient = (clients: Clients): Client => {
  const client = {} as Client;
  clients.add(client);
  return client;
};

describe.each(['plain', 'signed', 'sealed'] as const)('%s identifiers', (mode) => {
  it.each(['text', 'raw'] as const)('name their backend, as %s', (form) => {
    const { book, pool } = makeBook({ mode, form });
    for (const backend of pool.backends) expect(read(book, book.ofBackend(backend)[form])).toBe(backend.name);
  });

  it('are the same bytes in every replica and after every restart', () => {
    const [one, two] = [makeBook({ mode }), makeBook({ mode, clients: new Clients(new VirtualRuntime(99)) })];
    expect(one.book.ofBackend(one.pool.backends[1]!)).toEqual(two.book.ofBackend(two.pool.backends[1]!));
  });

  it('fit what `longest` says', () => {
    const { book, pool, clients } = makeBook({ mode });
    const tokens = [...pool.backends.map((backend) => book.ofBackend(backend)), book.ofClient(addClient(clients))];
    expect(Math.max(...tokens.map((token) => token.text.length))).toBe(book.longest.text);
    expect(Math.max(...tokens.slice(0, 2).map((token) => token.raw.length))).toBe(book.longest.raw);
  });

  it('name client connections until they close, and only in the process that made them', () => {
    const { book, clients } = makeBook({ mode });
    const client = addClient(clients);
    const token = book.ofClient(client).text;
    expect(read(book, token)).toBe(client);
    clients.remove(client);
    expect(read(book, token)).toBe('gone');
    const next = addClient(clients);
    expect(next.slot).toBe(client.slot);
    expect(read(book, token)).toBe('gone');
    const replica = makeBook({ mode, clients: new Clients(new VirtualRuntime(8)) });
    expect(read(replica.book, token)).toBe('gone');
  });
});

describe.each(['signed', 'sealed'] as const)('%s identifiers', (mode) => {
  it('are refused whichever bit is flipped', () => {
    for (const form of ['text', 'raw'] as const) {
      const { book, pool, clients } = makeBook({ mode, form });
      for (const token of [book.ofBackend(pool.backends[0]!)[form], book.ofClient(addClient(clients))[form]]) {
        for (let bit = 0; bit < token.length * 8; bit++) {
          const forged = Buffer.from(token);
          forged[bit >> 3]! ^= 1 << (bit & 7);
          expect(read(book, forged)).toBe('forged');
        }
      }
    }
  });

  it('are refused when cut, grown, or made up', () => {
    const { book, pool } = makeBook({ mode });
    const { text } = book.ofBackend(pool.backends[0]!);
    for (let length = 0; length < text.length; length++) expect(read(book, text.subarray(0, length))).toBe('forged');
    expect(read(book, Buffer.concat([text, Buffer.from('a')]))).toBe('forged');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(read(book, bytes)).toBe('forged');
        expect(read(book, encodeBase32(bytes))).toBe('forged');
      }),
      { numRuns: 2000 },
    );
  });

  it('of one pool mean nothing to another, though a backend there has the same name', () => {
    const { book, pool } = makeBook({ mode });
    const other = makeBook({ mode, pool: makePool('messages', 'uas-1') });
    expect(read(other.book, book.ofBackend(pool.backends[0]!).text)).toBe('forged');
  });

  it('of an older key verify, of a key that was removed do not', () => {
    const { book, pool } = makeBook({ mode });
    const token = book.ofBackend(pool.backends[1]!).text;
    const rotated = makeBook({ mode, keys: [k2, k1] });
    expect(read(rotated.book, token)).toBe('uas-2');
    expect(rotated.book.ofBackend(rotated.pool.backends[1]!).text).not.toEqual(token);
    expect(read(makeBook({ mode, keys: [k2] }).book, token)).toBe('forged');
    expect(read(makeBook({ mode, keys: [{ id: 'k1', secret: k2.secret }] }).book, token)).toBe('forged');
  });

  it('of a backend that is gone verify, but name nobody', () => {
    const { book, pool } = makeBook({ mode });
    const smaller = makeBook({ mode, pool: makePool('calls', 'uas-1') });
    expect(read(smaller.book, book.ofBackend(pool.backends[1]!).text)).toBe('unknown');
  });

  it('may change letter case only where the protocol says that case does not matter', () => {
    const { book, pool } = makeBook({ mode });
    const upper = Buffer.from(book.ofBackend(pool.backends[0]!).text.toString('latin1').toUpperCase());
    expect(read(book, upper)).toBe('forged');
    expect(read(makeBook({ mode, foldCase: true }).book, upper)).toBe('uas-1');
    const client = makeBook({ mode, foldCase: true });
    const token = Buffer.from(client.book.ofClient(addClient(client.clients)).text.toString('latin1').toUpperCase());
    expect(read(client.book, token)).toBeInstanceOf(Object);
  });
});

it('lets no message name a client connection where the protocol does not', () => {
  const { book, clients } = makeBook({ namesClients: false });
  expect(read(book, book.ofClient(addClient(clients)).text)).toBe('forged');
});

it('hides the name in sealed identifiers, and only there', () => {
  for (const mode of ['signed', 'sealed'] as const) {
    const { book, pool } = makeBook({ mode });
    expect(book.ofBackend(pool.backends[0]!).raw.includes('uas-1')).toBe(mode === 'signed');
  }
});

it('signs as soon as there are keys, unless told otherwise', () => {
  expect(makeBook().book.mode).toBe('signed');
  expect(makeBook({ keys: [] }).book.mode).toBe('plain');
  expect(makeBook({ mode: 'plain' }).book.mode).toBe('plain');
});

it('does not let a name that nobody has be taken for a forgery in plain mode', () => {
  expect(read(makeBook({ mode: 'plain' }).book, Buffer.from('uas-9'))).toBe('unknown');
});

describe('base32', () => {
  it('decodes what it encodes, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const text = encodeBase32(bytes);
        expect(text.toString('latin1')).toMatch(/^[a-z2-7]*$/);
        expect(decodeBase32(text, 0, text.length, false)).toEqual(Buffer.from(bytes));
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'abcxyz234567=A1 '), maxLength: 20 }), (text) => {
        const decoded = decodeBase32(Buffer.from(text), 0, text.length, false);
        if (decoded !== undefined) expect(encodeBase32(decoded).toString()).toBe(text);
      }),
    );
  });

  it('is the one of RFC 4648 section 10', () => {
    expect(encodeBase32(Buffer.from('foobar')).toString()).toBe('mzxw6ytboi');
    expect(encodeBase32(Buffer.from('f')).toString()).toBe('my');
  });
});

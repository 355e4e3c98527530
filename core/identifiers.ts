/**
 * Identifiers on the wire. A token names a backend (by its name) or a client connection (by instance, slot and
 * generation). Plain, it is the backend's bare name. Signed or sealed, it is an envelope:
 *
 *     1 byte   version (1) in the high four bits; 0x04 sealed; 0x01 client connection, else backend
 *     1 byte   length of the key id, then the key id
 *     n bytes  the backend's name, or 16 bytes for a client connection; encrypted if sealed
 *     12 bytes MAC: HMAC-SHA-256 cut to 96 bits, under a key derived for this pool (or for client connections)
 *
 * Text protocols carry it in lower-case base32 (RFC 4648, no padding). Tokens of backends are constant, so they are made
 * once and recognised by comparing bytes; a MAC is computed only for a token nobody here has made.
 */
import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import type { Client } from './client.ts';
import type { Clients } from './clients.ts';
import { KnownBytes } from './known-bytes.ts';
import { viewOf } from './memory.ts';
import type { Destination, ProtocolFacts, Token, TokenBook, TokenFault, TokenForm } from './plugin.ts';
import type { Backend, Pool } from './pool.ts';
import type { IdentifierMode, KeySettings } from './settings.ts';
import type { ClientPlace } from './workers/siblings.ts';

const macBytes = 12;
const version = 0x10;
const clientKind = 0x01;
const sealedFlag = 0x04;
const clientBodyBytes = 16;
/** After the instance. */
const slotInBody = 8;
const longestNameBytes = 63;

/** A key, and what is derived from it for one use. */
class EnvelopeKey {
  readonly id: Buffer;
  readonly #mac: Buffer;
  readonly #cipher: Buffer;

  constructor(key: KeySettings, use: string) {
    this.id = Buffer.from(key.id, 'latin1');
    this.#mac = createHmac('sha256', key.secret).update(`pointsman 1 mac ${use}`).digest();
    this.#cipher = createHmac('sha256', key.secret).update(`pointsman 1 seal ${use}`).digest();
  }

  seal(kind: number, body: Uint8Array, sealed: boolean): Buffer {
    const header = Buffer.from([version | kind | (sealed ? sealedFlag : 0), this.id.length, ...this.id]);
    const mac = this.mac(header, body);
    return Buffer.concat([header, sealed ? this.#encrypt(body, mac) : body, mac]);
  }

  mac(header: Uint8Array, body: Uint8Array): Buffer {
    return createHmac('sha256', this.#mac).update(header).update(body).digest().subarray(0, macBytes);
  }

  /** A synthetic initialisation vector (the MAC of the plain body, RFC 5297's idea): equal bodies give equal tokens. */
  #encrypt(body: Uint8Array, mac: Uint8Array): Buffer {
    return createCipheriv('aes-256-ctr', this.#cipher, Buffer.concat([mac, Buffer.alloc(4)])).update(body);
  }

  decrypt(body: Uint8Array, mac: Uint8Array): Buffer {
    return createDecipheriv('aes-256-ctr', this.#cipher, Buffer.concat([mac, Buffer.alloc(4)])).update(body);
  }
}

/** Finds a known token by its bytes: no string, no allocation. */
class TokenIndex<Value> {
  readonly #buckets = new Map<number, { token: KnownToken; value: Value }[]>();
  readonly #foldCase: boolean;

  constructor(foldCase: boolean) {
    this.#foldCase = foldCase;
  }

  add(bytes: Buffer, value: Value): void {
    const hash = this.#hash(viewOf(bytes), 0, bytes.length);
    const entry = { token: new KnownToken(bytes), value };
    const bucket = this.#buckets.get(hash);
    if (bucket === undefined) this.#buckets.set(hash, [entry]);
    else bucket.push(entry);
  }

  get(view: DataView, start: number, end: number): Value | undefined {
    const bucket = this.#buckets.get(this.#hash(view, start, end));
    if (bucket === undefined) return undefined;
    for (let i = 0; i < bucket.length; i++) {
      const { token, value } = bucket[i]!;
      if (token.is(view, start, end, this.#foldCase)) return value;
    }
    return undefined;
  }

  /**
   * The hash of the last eight bytes, which are part of the MAC. Known tokens come from the config, so nobody outside can fill a
   * bucket.
   */
  #hash(view: DataView, start: number, end: number): number {
    let hash = 0;
    if (end - start >= 8) {
      const small = this.#foldCase ? 0x20202020 : 0; // makes more bytes equal than letters, which does no harm here
      hash = Math.imul(view.getInt32(end - 8, true) | small, 0x01000193) ^ (view.getInt32(end - 4, true) | small);
    } else
      for (let i = start; i < end; i++) hash = Math.imul(hash ^ foldCase(view.getUint8(i), this.#foldCase), 0x01000193);
    return hash;
  }
}

/** A token to compare with. */
export class KnownToken extends KnownBytes {
  is(view: DataView, start: number, end: number, folds: boolean): boolean {
    if (this.length !== end - start) return false;
    if (this.isAt(view, start, end)) return true; // peers rarely change the case
    if (!folds) return false;
    let difference = 0;
    for (let i = 0; i < this.length; i++) {
      difference |= foldCase(this.bytes[i]!, folds) ^ foldCase(view.getUint8(start + i), folds);
    }
    return difference === 0;
  }
}

/** A letter in lower case, if that is asked for. */
function foldCase(byte: number, folds: boolean): number {
  return folds && byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

export interface IdentifierOptions {
  readonly keys: readonly KeySettings[];
  readonly mode: IdentifierMode | undefined;
  readonly pool: Pool;
  readonly clients: Clients;
  /** Finds a client whose connection another process has. Undefined: there are no other processes. */
  readonly elsewhere?: ((place: ClientPlace, token: Token) => Client | undefined) | undefined;
}

export class Identifiers implements TokenBook {
  readonly mode: IdentifierMode;
  readonly longest: { readonly text: number; readonly raw: number };

  readonly #pool: Pool;
  readonly #clients: Clients;
  readonly #elsewhere: IdentifierOptions['elsewhere'];
  /** The first key signs; all verify. */
  readonly #backendKeys: readonly EnvelopeKey[];
  readonly #clientKeys: readonly EnvelopeKey[];
  /**
   * By the backend's index, made when first asked for: answers of backends that are no longer in the config need theirs as well.
   */
  readonly #tokens: Token[] = [];
  /** The offset of a client's slot in the tokens that we make. */
  readonly #slotOffset: number;
  #form: TokenForm = 'text';
  #foldCase = false;
  #namesClients = false;
  #index = new TokenIndex<Backend>(false);

  constructor(options: IdentifierOptions) {
    const { keys, pool, clients } = options;
    this.#pool = pool;
    this.#clients = clients;
    this.#elsewhere = options.elsewhere;
    this.mode = options.mode ?? (keys.length > 0 ? 'signed' : 'plain');
    this.#backendKeys = this.mode === 'plain' ? [] : keys.map((key) => new EnvelopeKey(key, `backend ${pool.name}`));
    // A client connection is named by a token nobody can make up even where backends go by their names.
    // Where a reload has brought the first keys, tokens from before it still verify.
    const ownKey = { id: 'p', secret: clients.processSecret };
    const clientKeys = keys.some(({ id }) => id === ownKey.id) ? keys : [...keys, ownKey];
    this.#clientKeys = clientKeys.map((key) => new EnvelopeKey(key, 'client'));
    this.#slotOffset = 2 + this.#clientKeys[0]!.id.length + slotInBody;
    const clientRaw = 2 + this.#clientKeys[0]!.id.length + clientBodyBytes + macBytes;
    const tokens = pool.backends.map((backend) => this.ofBackend(backend));
    const raw = Math.max(0, ...tokens.map((token) => token.raw.length));
    this.longest = { raw, text: Math.max(base32Length(clientRaw), ...tokens.map((token) => token.text.length)) };
  }

  /** Says how the protocol writes tokens. For the core, once the plugins have been applied. */
  configure(facts: Pick<ProtocolFacts, 'identifiers' | 'foldCase' | 'namesClients'>): void {
    const { identifiers: form, foldCase = false, namesClients = false } = facts;
    this.#form = form;
    this.#foldCase = foldCase;
    this.#namesClients = namesClients;
    this.followPool();
  }

  /** Indexes the tokens of the backends that the pool has now. */
  followPool(): void {
    const form = this.#form;
    this.#index = new TokenIndex(this.#foldCase);
    for (const backend of this.#pool.backends) {
      if (this.mode === 'plain') this.#index.add(this.ofBackend(backend).raw, backend);
      for (const key of this.#backendKeys) {
        const token = this.#makeBackendToken(backend, key);
        this.#index.add(form === 'text' ? token.text : token.raw, backend);
      }
    }
  }

  ofBackend(backend: Backend): Token {
    return (this.#tokens[backend.index] ??= this.#makeBackendToken(backend, this.#backendKeys[0]));
  }

  ofClient(client: Client): Token {
    return (client.token ??= this.#makeToken(
      this.#clientKeys[0]!.seal(clientKind, this.#clientBody(client), false),
      0,
    ));
  }

  read(bytes: Buffer, start: number, end: number): Destination | TokenFault {
    const view = viewOf(bytes);
    return (
      this.#index.get(view, start, end) ?? this.#knownClient(bytes, view, start, end) ?? this.#open(bytes, start, end)
    );
  }

  /**
   * The client that was given exactly this token: responses name clients all the time, and these need no MAC. The slot is read from
   * where our own tokens have it; if something else stands there, it finds another client or none.
   */
  #knownClient(bytes: Buffer, view: DataView, start: number, end: number): Client | undefined {
    if (!this.#namesClients) return undefined;
    const slot = this.#form === 'text' ? this.#slotInText(bytes, start, end) : this.#slotInRaw(bytes, start, end);
    const client = this.#clients.inSlot(slot);
    if (client?.token === undefined) return undefined;
    const known = (client.knownToken ??= new KnownToken(this.#form === 'text' ? client.token.text : client.token.raw));
    return known.is(view, start, end, this.#foldCase) ? client : undefined;
  }

  #slotInRaw(bytes: Buffer, start: number, end: number): number {
    const at = start + this.#slotOffset;
    return at + 4 <= end ? bytes.readUInt32BE(at) : -1;
  }

  /** A slot has 32 bits, which lie in at most 8 of the characters of 5 bits each. */
  #slotInText(bytes: Buffer, start: number, end: number): number {
    const firstBit = 8 * this.#slotOffset;
    const at = start + Math.floor(firstBit / 5);
    if (at + 8 > end) return -1;
    const bitsBehind = 8 - (firstBit % 5);
    const high = this.#bitsInText(bytes, at) << (20 - bitsBehind); // what is before the slot is shifted out
    return (high | (this.#bitsInText(bytes, at + 4) >> bitsBehind)) >>> 0;
  }

  /** The 20 bits that four characters stand for. */
  #bitsInText(bytes: Buffer, at: number): number {
    let bits = 0;
    for (let i = at; i < at + 4; i++) bits = (bits << 5) | base32Value(foldCase(bytes[i]!, this.#foldCase));
    return bits;
  }

  #makeBackendToken(backend: Backend, key: EnvelopeKey | undefined): Token {
    const name = Buffer.from(backend.name, 'latin1');
    const number = backend.number ?? 0;
    if (key === undefined) return { text: name, raw: name, number };
    return this.#makeToken(key.seal(0, name, this.mode === 'sealed'), number);
  }

  #makeToken(raw: Buffer, number: number): Token {
    return { raw, text: encodeBase32(raw), number };
  }

  #clientBody(client: Client): Buffer {
    const body = Buffer.alloc(clientBodyBytes);
    this.#clients.instance.copy(body);
    body.writeUInt32BE(client.slot, slotInBody);
    body.writeUInt32BE(client.generation, 12);
    return body;
  }

  /** Reads a token that is not the known token of a backend: a client's, one of a backend that is gone, or a forged one. */
  #open(bytes: Buffer, start: number, end: number): Destination | TokenFault {
    // Where backends go by their names any other name is that of a backend we do not have.
    const otherwise: TokenFault = this.mode === 'plain' ? 'unknown' : 'forged';
    const raw = this.#form === 'text' ? decodeBase32(bytes, start, end, this.#foldCase) : bytes.subarray(start, end);
    if (raw === undefined || raw.length < 2 + macBytes) return otherwise;
    const flags = raw[0]!;
    const isClient = this.#namesClients && flags === (version | clientKind);
    const sealed = (flags & sealedFlag) !== 0;
    if (!isClient && flags !== (sealed ? version | sealedFlag : version)) return otherwise;
    const bodyStart = 2 + raw[1]!;
    const bodyEnd = raw.length - macBytes;
    if (bodyStart >= bodyEnd || bodyEnd - bodyStart > longestNameBytes) return otherwise;
    const header = raw.subarray(0, bodyStart);
    const mac = raw.subarray(bodyEnd);
    for (const key of isClient ? this.#clientKeys : this.#backendKeys) {
      if (!key.id.equals(raw.subarray(2, bodyStart))) continue;
      const found = raw.subarray(bodyStart, bodyEnd);
      const body = sealed ? key.decrypt(found, mac) : found;
      if (!timingSafeEqual(key.mac(header, body), mac)) continue;
      if (isClient) return this.#clientAt(body, raw);
      // A verified name that the index does not know: signed in another mode, or the backend is gone.
      return this.#pool.byName(body.toString('latin1')) ?? 'unknown';
    }
    return otherwise;
  }

  /** @param raw the token that `body` is from */
  #clientAt(body: Buffer, raw: Buffer): Client | TokenFault {
    if (body.length !== clientBodyBytes) return 'forged';
    const instance = body.subarray(0, 8);
    const slot = body.readUInt32BE(slotInBody);
    const generation = body.readUInt32BE(12);
    if (instance.equals(this.#clients.instance)) return this.#clients.at(slot, generation) ?? 'gone';
    const place = { instance: instance.toString('hex'), slot, generation };
    return this.#elsewhere?.(place, this.#makeToken(Buffer.from(raw), 0)) ?? 'gone';
  }
}

const alphabet = Buffer.from('abcdefghijklmnopqrstuvwxyz234567', 'latin1');

function base32Length(bytes: number): number {
  return Math.ceil((bytes * 8) / 5);
}

/** Lower-case base32 without padding (RFC 4648 section 6). */
export function encodeBase32(bytes: Uint8Array): Buffer {
  const text = Buffer.alloc(base32Length(bytes.length));
  let bits = 0;
  let count = 0;
  let at = 0;
  for (const byte of bytes) {
    bits = ((bits << 8) | byte) & 0xfff;
    for (count += 8; count >= 5; count -= 5) text[at++] = alphabet[(bits >>> (count - 5)) & 31]!;
  }
  if (count > 0) text[at] = alphabet[(bits << (5 - count)) & 31]!;
  return text;
}

/** The value of a character of lower-case base32; -1: it is not one. */
function base32Value(byte: number): number {
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x61;
  return byte >= 0x32 && byte <= 0x37 ? byte - 0x32 + 26 : -1;
}

/**
 * The inverse of `encodeBase32`. Undefined for anything that cannot have written, except for upper-case letters where case is
 * folded.
 */
export function decodeBase32(bytes: Uint8Array, start: number, end: number, folds: boolean): Buffer | undefined {
  const decoded = Buffer.allocUnsafe(Math.floor(((end - start) * 5) / 8));
  let bits = 0;
  let count = 0;
  let at = 0;
  for (let i = start; i < end; i++) {
    const value = base32Value(foldCase(bytes[i]!, folds));
    if (value < 0) return undefined;
    bits = ((bits << 5) | value) & 0xfff;
    count += 5;
    if (count >= 8) {
      count -= 8;
      decoded[at++] = bits >>> count;
    }
  }
  const strayBits = bits & ((1 << count) - 1);
  return count < 5 && strayBits === 0 ? decoded : undefined;
}

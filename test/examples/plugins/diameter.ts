/**
 * Diameter (RFC 6733), as a relay agent in front of servers of one realm. The identifier is the first label of the host that answers
 * come from, which clients name in the later requests of a session. Servers never see it:
 *
 *     balancer → client    CCA  Origin-Host: ocs-1.dra.example.net
 *     client → balancer    CCR  Destination-Host: ocs-1.dra.example.net
 *
 * What concerns one connection (capabilities, watchdogs, disconnects) is answered here. What servers ask of clients is refused.
 */
import { type Discard, definePlugin, discard, type Link, type Message, refusal, type Span, Type } from 'pointsman';

const headerBytes = 20;
const hopByHopAt = 12;
const avpHeaderBytes = 8;

// Flags of messages (section 3).
const request = 0x80;
const proxiable = 0x40;
const error = 0x20;
const retransmitted = 0x10;

// Flags of AVPs (section 4.1).
const ofVendor = 0x80;
const mandatory = 0x40;

// Commands (section 3.1).
const capabilitiesExchange = 257;
const deviceWatchdog = 280;
const disconnectPeer = 282;

// AVPs (section 4.5).
const hostIpAddress = 257;
const authApplicationId = 258;
const sessionId = 263;
const originHost = 264;
const vendorId = 266;
const resultCode = 268;
const productName = 269;
const routeRecord = 282;
const destinationHost = 293;
const originRealm = 296;

const relayApplication = 0xffff_ffff;

// Results (section 7.1). Those below 4000 are errors of the protocol.
const success = 2001;
const unableToDeliver = 3002;
const tooBusy = 3004;
const invalidAvpLength = 5014;
const results: Readonly<Record<string, number>> = {
  'malformed-avp': invalidAvpLength,
  overloaded: tooBusy,
  'rate-limited': tooBusy,
};

const malformedAvp = refusal('malformed-avp');
const requestOfServer = refusal('request-of-server');
const overloaded = refusal('overloaded');
const answerOfClient = discard('answer-of-client');

export default definePlugin({
  name: 'diameter',
  summary: 'Relays Diameter; the identifier is a label of the host that answers come from.',
  pointsman: '^1',
  options: Type.Object({
    host: Type.String({
      pattern: '^[a-z0-9-]+(\\.[a-z0-9-]+)+$',
      description: 'The Origin-Host of the balancer, which also stands behind the identifier.',
    }),
    realm: Type.String({ minLength: 1, description: 'Its Origin-Realm.' }),
    address: Type.String({
      pattern: '^[0-9]{1,3}(\\.[0-9]{1,3}){3}$',
      default: '127.0.0.1',
      description: 'Its Host-IP-Address.',
    }),
    sessionSeconds: Type.Number({
      exclusiveMinimum: 0,
      default: 300,
      description: 'How long after its last request that names no server a Session-Id is known.',
    }),
  }),
  samples: [
    {
      name: 'a Credit-Control-Request',
      options: { host: 'dra.example.net', realm: 'example.net' },
      bytes: messageOf(request | proxiable, 272, 4, [avpOf(sessionId, 'pgw;1;1'), avpOf(originHost, 'pgw')]),
      answer: (received) => answerTo(received, [avpOf(resultCode, success), avpOf(originHost, 'ocs')]),
      echo(received) {
        const server = dataOf(received, avpsOf(received)!.get(originHost)!);
        return messageOf(request | proxiable, 272, 4, [avpOf(sessionId, 'pgw;1;1'), avpOf(destinationHost, server)]);
      },
    },
  ],

  apply(hooks, { host, realm, address, sessionSeconds }, scope) {
    const suffix = `.${host}`;
    const self = [avpOf(originHost, host), avpOf(originRealm, realm)];
    const capabilities = [
      ...self,
      avpOf(hostIpAddress, Buffer.from([0, 1, ...address.split('.').map(Number)])),
      avpOf(vendorId, 0),
      avpOf(productName, 'pointsman', 0),
      avpOf(authApplicationId, relayApplication),
    ];
    /** The Route-Record AVP for what a client sends: whom it has said to be (section 6.1.9). */
    const routeRecordOf = scope.perClient((): { avp: Buffer } => ({ avp: Buffer.alloc(0) }));
    /** Of the message that has passed `detectId` last. */
    let avps: Avps;

    scope.protocol({
      identifiers: 'text',
      foldCase: true,
      correlates: true,
      correlationBits: 32,
      staysWithClients: true,
      ...(scope.pool.settings.replay === 'once' && { mayReplay: () => true }),
      refuseAbandoned: ({ original }, { reason }) => errorTo(original, reason),
      relatedIds(_message, ids) {
        const session = avps.get(sessionId);
        ids.seconds = sessionSeconds;
        if (session !== undefined) ids.add(session.offset, session.length);
      },
    });

    hooks.frame.tap('diameter', (bytes, start, end) => {
      if (end - start < 4) return 'more';
      const length = bytes.readUIntBE(start + 1, 3);
      return bytes[start] === 1 && length >= headerBytes && length % 4 === 0 ? length : 'broken';
    });

    hooks.detectId.tap('diameter', (message) => {
      const bytes = message.view();
      const found = avpsOf(bytes);
      if (found === undefined) return malformedAvp;
      avps = found;
      const command = bytes.readUIntBE(5, 3);
      if (command === capabilitiesExchange || command === deviceWatchdog || command === disconnectPeer) {
        return ofConnection(message, command);
      }
      if (message.from === 'backend') {
        return isRequest(bytes) ? requestOfServer : scope.exchanges.find(message, bytes.readUInt32BE(hopByHopAt));
      }
      if (!isRequest(bytes)) return answerOfClient;
      const server = avps.get(destinationHost);
      if (server === undefined || !dataOf(bytes, server).toString('latin1').toLowerCase().endsWith(suffix))
        return undefined;
      return message.span(server.offset, server.length - suffix.length);
    });

    const ofConnection = (message: Message, command: number): Discard => {
      const bytes = message.view();
      const isOfCapabilities = command === capabilitiesExchange;
      if (isRequest(bytes)) {
        const peer = avps.get(originHost);
        if (isOfCapabilities && message.client !== undefined && peer !== undefined) {
          routeRecordOf(message.client).avp = avpOf(routeRecord, dataOf(bytes, peer));
        }
        const more = isOfCapabilities ? capabilities : self;
        return discard('of-connection', {
          reply: answerTo(bytes, [avpOf(resultCode, success), ...more]),
          ordinary: true,
        });
      }
      if (isOfCapabilities && message.from === 'backend') {
        const link = message.source as Link;
        const result = avps.get(resultCode);
        if (result?.length === 4 && bytes.readUInt32BE(result.offset) === success) link.release();
        else link.destroy();
      }
      return discard('of-connection', { ordinary: true });
    };

    hooks.onLink.tap('diameter', (link) => {
      link.send(messageOf(request, capabilitiesExchange, 0, capabilities));
      link.hold();
    });

    hooks.insertId.tap('diameter', (message, token) => {
      if (message.from === 'client') {
        const session = avps.get(sessionId);
        const keptBytes = session === undefined ? headerBytes : session.offset + padded(session.length);
        const exchange = scope.exchanges.open(message, 0, keptBytes);
        if (exchange === undefined) return overloaded;
        message.splice(hopByHopAt, 4, unsigned32(exchange.id));
        if (message.reason === 'replayed') message.splice(4, 1, Buffer.from([message.view()[4]! | retransmitted]));
        if (message.identifier.length > 0) replaceAvp(message, avps.get(destinationHost)!);
        message.splice(message.length, 0, routeRecordOf(message.client!).avp);
      } else {
        const server = avps.get(originHost);
        const id = message.exchange!.original.subarray(hopByHopAt, hopByHopAt + 4);
        message.splice(hopByHopAt, 4, id);
        if (server !== undefined) replaceAvp(message, server, avpOf(originHost, `${token!.text}${suffix}`));
      }
      message.splice(1, 3, unsigned32(message.length + message.growth).subarray(1));
      return undefined;
    });

    hooks.refuse.tap('diameter', (message, { reason }) => {
      const bytes = message.view();
      return bytes.length >= headerBytes && isRequest(bytes) ? errorTo(bytes, reason) : undefined;
    });

    /** @param bytes the request, at least from its header to its Session-Id */
    const errorTo = (bytes: Buffer, reason: string): Buffer => {
      const result = results[reason] ?? unableToDeliver;
      const session = avpsOf(bytes)?.get(sessionId);
      const first = session === undefined ? [] : [avpOf(sessionId, dataOf(bytes, session))];
      const answer = answerTo(bytes, [...first, avpOf(resultCode, result), ...self]);
      if (result < 4000) answer[4]! |= error;
      return answer;
    };
  },
});

/** Where the data of AVPs stands, by their code; of those of vendors nothing. */
type Avps = ReadonlyMap<number, Span>;

/** @returns the first of each code; undefined if one is malformed (section 4.1) */
function avpsOf(bytes: Buffer): Avps | undefined {
  const avps = new Map<number, Span>();
  for (let at = headerBytes; at < bytes.length; ) {
    const left = bytes.length - at;
    const length = left < avpHeaderBytes ? 0 : bytes.readUIntBE(at + 5, 3);
    if (length < avpHeaderBytes || padded(length) > left) return undefined;
    const code = bytes.readUInt32BE(at);
    const isOfVendor = (bytes[at + 4]! & ofVendor) !== 0;
    if (!isOfVendor && !avps.has(code))
      avps.set(code, { offset: at + avpHeaderBytes, length: length - avpHeaderBytes });
    at += padded(length);
  }
  return avps;
}

function dataOf(bytes: Buffer, { offset, length }: Span): Buffer {
  return bytes.subarray(offset, offset + length);
}

/** Puts another AVP, or none, where that with this data stands. */
function replaceAvp(message: Message, { offset, length }: Span, avp?: Buffer): void {
  message.splice(offset - avpHeaderBytes, avpHeaderBytes + padded(length), avp);
}

function isRequest(bytes: Buffer): boolean {
  return (bytes[4]! & request) !== 0;
}

/** AVPs are filled up to a multiple of 4 bytes. */
function padded(length: number): number {
  return length + (-length & 3);
}

function unsigned32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** An AVP of no vendor. */
function avpOf(code: number, data: string | number | Uint8Array, flags = mandatory): Buffer {
  const bytes = typeof data === 'number' ? unsigned32(data) : Buffer.from(data as string);
  const avp = Buffer.alloc(avpHeaderBytes + padded(bytes.length));
  avp.writeUInt32BE(code);
  avp.writeUInt32BE(avpHeaderBytes + bytes.length, 4);
  avp[4] = flags;
  avp.set(bytes, avpHeaderBytes);
  return avp;
}

function messageOf(flags: number, command: number, application: number, avps: readonly Uint8Array[]): Buffer {
  const message = Buffer.concat([Buffer.alloc(headerBytes), ...avps]);
  message.writeUInt32BE(message.length);
  message[0] = 1;
  message.writeUInt32BE(command, 4);
  message[4] = flags;
  message.writeUInt32BE(application, 8);
  return message;
}

/** @param bytes the request, or its header */
function answerTo(bytes: Buffer, avps: readonly Uint8Array[]): Buffer {
  const answer = Buffer.concat([bytes.subarray(0, headerBytes), ...avps]);
  answer.writeUIntBE(answer.length, 1, 3);
  answer[4]! &= proxiable;
  return answer;
}

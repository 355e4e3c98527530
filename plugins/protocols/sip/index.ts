/**
 * SIP over streams, datagrams and WebSockets (RFC 3261, RFC 7118): pointsman as a stateless proxy (section 16.11) in front of SIP servers.
 *
 *     client → balancer    INVITE …   Via: client
 *     balancer → backend   INVITE …   Via: balancer;pm=CLIENT   Via: client
 *                                     Record-Route: <balancer;lr;pm=CLIENT>   Record-Route: <balancer;lr;pm=BACKEND>
 *
 * Tokens go where peers echo them, in a parameter `pm`. Our Via carries that of the request's sender, so the response
 * finds its way back. Record-Route carries two, the sender's above the destination's, so whichever end of the dialog
 * sends the next request names the other end in its top Route. Path, in REGISTER, carries the client's. A CANCEL, the
 * ACK to a refusal and a new try carry none: the affinity table knows their branch or Call-ID.
 */
import { type Client, definePlugin, discard, type Message, type Span, Type } from 'pointsman';
import type { Address } from './address.ts';
import { COLON, CR, LF } from './characters.ts';
import { flaws, Status, statusOf } from './flaws.ts';
import { TagHash } from './hashes.ts';
import { Header } from './header.ts';
import { startLineBytes } from './header-lines.ts';
import { readKeepalive } from './keepalive.ts';
import { field, method } from './names.ts';
import { writeReply } from './reply.ts';
import { Rewriter } from './rewrite.ts';
import { OwnRoutes } from './routes.ts';
import { samples } from './samples.ts';
import { isBackend, Self } from './self.ts';
import { Sender } from './sender.ts';
import { TraceFields } from './trace.ts';
import { Uri } from './uri.ts';
import { Via } from './via.ts';

/** CANCEL is legal as long as a call rings: three minutes, and some time for the answer (section 16.6, step 11). */
const ringingSeconds = 300;
/** How long an ACK, a retransmission or the next try may follow a final response: 64 times T1 (section 17). */
const settledSeconds = 32;
/** The responses of a server that is unable (section 21.5). Others of class 5 and 6 speak of the request, or of who was called. */
const serverFailures = [500, 502, 503, 504];
/** Kinds of affinity ids. */
const branchKind = 1;
const callIdKind = 2;
const recordKind = 3;

const ok = new Status(200, 'OK');

const foreignResponse = discard('not-our-via');
const ownAck = discard('own-ack', { ordinary: true });

/** A token (section 25.1) that is none of the fields that are read anyway. */
const headerName = (description: string) => Type.String({ pattern: "^[A-Za-z0-9.!%*_+`'~-]{1,64}$", description });

export default definePlugin({
  name: 'sip',
  summary: 'SIP on any transport: a stateless proxy that keeps each call, and each registered client, at its backend.',
  pointsman: '^1',
  options: Type.Object(
    {
      identity: Type.Enum(['both', 'record-route', 'path'], {
        default: 'both',
        description:
          'Where identifiers are written: `record-route`, in requests that may begin a dialog, so that each end of it finds the other ' +
          '(RFC 3261 section 16.6, step 4; RFC 5658); `path`, in registrations, so that backends find the client (RFC 3327); or `both`.',
      }),
      registerKey: Type.Enum(['call-id', 'address-of-record'], {
        default: 'call-id',
        description:
          'What keeps registrations at one backend (RFC 3261 section 10.2): `call-id`, which a client keeps from one to the next, or ' +
          '`address-of-record`, the user and host in To, which all clients of a user share.',
      }),
      headerNames: Type.Enum(['common', 'any'], {
        default: 'common',
        description:
          'Which names of header fields clients may send: `any` that is legal (RFC 3261 section 25.1), or `common` ones, without any of ' +
          "! % * ` '; and whether a Via parameter's value may hold an `=`, as branches in base64 do, which is not legal. Kamailio 5.6 takes " +
          'those for garbage and closes the connection, which all clients share. Unless `any` is set, requests with them get 400.',
      }),
      advertiseToBackends: Type.Optional(
        Type.String({
          pattern: '^(tcp|tls|udp)://(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}$',
          description:
            'Where backends reach us, such as tcp://10.0.0.5:5060, if that is not what the listener advertises: for what they send over ' +
            'connections of their own. It stands in their Via and Path, and in the Record-Route for their side (RFC 5658 section 3); a ' +
            'listener there, of the same pool, is all it takes. Needed where backends cannot connect to the listener: behind a WebSocket ' +
            '(RFC 7118 section 5) or a NAT, or of another transport.',
        }),
      ),
      traceparent: Type.Optional(
        headerName(
          'The header field that carries a W3C trace context, such as Traceparent, for observers that trace: they read it, and requests leave with theirs.',
        ),
      ),
      tracestate: Type.Optional(headerName('The header field that carries its tracestate.')),
    },
    { additionalProperties: false },
  ),
  samples,

  apply(hooks, options, scope) {
    const { affinity, identifiers } = scope;
    const { identity } = options;
    const isUdp = scope.listener.transport === 'udp';
    const self = new Self(scope.listener, options.advertiseToBackends, identifiers);
    const places = { recordRoute: identity !== 'path', path: identity !== 'record-route' };
    const rewriter = new Rewriter(places, self, identifiers);
    const tagHash = new TagHash();
    const senderOf = scope.perClient((client) => new Sender(client));

    const trace = new TraceFields(options.traceparent, options.tracestate);
    if (/^wss?$/.test(scope.listener.transport) && options.advertiseToBackends === undefined) {
      scope.advise(
        'no backend can connect to a WebSocket: what it sends over a connection of its own is lost, and so are calls to clients if it ' +
          'reuses none of ours; name another listener of this pool in "advertiseToBackends"',
      );
    }

    // State of the message at hand, from `frame` to `forward`.
    const header = new Header(trace.named);
    const routes = new OwnRoutes();
    const clientVia = new Via();
    const uri = new Uri();

    scope.protocol({
      identifiers: 'text',
      foldCase: true,
      namesClients: true,
      webSocket: { subprotocol: 'sip', frames: 'text' }, // RFC 7118 sections 4 and 5
      correlates: true,
      advertises: true,
      whenGone: 'rechoose',
      isAnswer: () => !header.isRequest,
      answersDue: (client) => senderOf(client).answersDue,
      isFailure: () => (header.isRequest || header.status < 200 ? undefined : serverFailures.includes(header.status)),
      relatedIds(message, ids) {
        const { bytes, via } = header;
        if (header.method === method.invite) ids.seconds = ringingSeconds;
        ids.awaitsAnswer = header.method !== method.ack;
        if (via.hasUniqueBranch(bytes)) {
          ids.add(via.branchStart - message.start, via.branchEnd - via.branchStart, branchKind);
        }
        const record = recordOf(message);
        if (record !== undefined) ids.add(record.offset, record.length, recordKind);
        else ids.add(header.callIdStart - message.start, header.callIdEnd - header.callIdStart, callIdKind);
      },
      keys: {
        'call-id': (message) => fieldValue(message, field.callId),
        'from-user': (message) => userOf(message, header.from),
        'to-user': (message) => userOf(message, header.to),
        'request-uri': (message) => (header.isRequest ? place(message, header.uriStart, header.uriEnd) : undefined),
        ...(options.traceparent && { traceparent: (message: Message) => fieldValue(message, field.traceparent) }),
        ...(options.tracestate && { tracestate: (message: Message) => fieldValue(message, field.tracestate) }),
      },
    });

    const key: Span = { offset: 0, length: 0 };

    function place(message: Message, start: number, end: number): Span {
      key.offset = start - message.start;
      key.length = end - start;
      return key;
    }

    /** Of a field that is there once. */
    function fieldValue(message: Message, id: number): Span | undefined {
      const line = header.first[id]!;
      if (header.counts[id] !== 1) return undefined;
      return place(message, header.valueStart(line), header.valueEnd(line));
    }

    function userOf(message: Message, address: Address): Span | undefined {
      if (header.understand() !== undefined) return undefined; // nor need they be of this message then
      if (!uri.read(message.bytes, address.uriStart, address.uriEnd) || uri.userStart === 0) return undefined;
      const password = message.bytes.indexOf(COLON, uri.userStart);
      return place(message, uri.userStart, password >= 0 && password < uri.userEnd ? password : uri.userEnd);
    }

    /** The address-of-record that is registered, if those are what keeps registrations together. */
    function recordOf(message: Message): Span | undefined {
      if (header.method !== method.register || options.registerKey === 'call-id') return undefined;
      if (!uri.read(message.bytes, header.to.uriStart, header.to.uriEnd)) return undefined;
      return place(message, uri.userStart || uri.hostStart, uri.hostEnd);
    }

    hooks.frame.tap('sip', (bytes, start, end, scan) => {
      // First of all, so that no answer to these bytes can hold anything of another peer's message.
      header.open(bytes, start);
      if (bytes[start]! <= CR) {
        const kept = readKeepalive(bytes, start, end, scan, isUdp);
        if (kept !== undefined) return kept;
      }
      scan.note = 0;
      // Only a complete line or the crossing of a limit can change the answer, so bytes that come one by one are cheap.
      if (scan.resume > 0) {
        const lf = bytes.indexOf(LF, start + scan.resume);
        const crosses = (limit: number) => scan.resume <= limit && end - start > limit;
        if ((lf < 0 || lf >= end) && !crosses(startLineBytes + 1) && !crosses(scan.limits.headerBytes)) {
          scan.resume = end - start;
          return 'more';
        }
      }
      const framed = header.read(end, scan.limits, scan.isWhole);
      if (framed === 'more') scan.resume = end - start;
      return framed;
    });

    hooks.detectId.tap('sip', (message) => {
      const flaw = header.understand() ?? (refusesOdd(message) ? header.oddity : undefined);
      if (flaw !== undefined) return flaw;
      if (!header.isRequest) return detectResponse(message);
      if (header.method === method.ack && tagHash.isIn(header)) return ownAck;
      const routeFlaw = routes.find(header, self);
      if (routeFlaw !== undefined) return routeFlaw;
      if (header.method === method.options && (isForUs() || header.maxForwards === 0)) {
        if (!header.isAnswerable) return flaws.via;
        const reply = writeReply(header, ok, senderOfMessage(message), tagHash.of(header));
        return discard('answered', { reply, ordinary: true });
      }
      if (header.maxForwards === 0) return flaws.hops;
      if (header.counts[field.proxyRequire]! > 0 && header.method !== method.ack && header.method !== method.cancel) {
        return flaws.extension;
      }
      if (routes.tokenStart > 0) {
        return message.span(routes.tokenStart - message.start, routes.tokenEnd - routes.tokenStart);
      }
      return message.from === 'backend' && message.client === undefined ? flaws.noDestination : undefined;
    });

    function refusesOdd({ from }: Message): boolean {
      return from === 'client' && options.headerNames === 'common';
    }

    function detectResponse(message: Message) {
      const { bytes, view, via } = header;
      if (via.tokenStart === 0) return foreignResponse;
      const line = via.next > 0 ? header.first[field.via]! : header.nextLine(header.first[field.via]!);
      if (line < 0) return foreignResponse;
      if (!clientVia.read(bytes, view, via.next || header.valueStart(line), header.lineEnds[line]!)) return flaws.via;
      return message.span(via.tokenStart - message.start, via.tokenEnd - via.tokenStart);
    }

    /** The request is for the proxy itself (section 16.3, step 3; section 11). */
    function isForUs(): boolean {
      if (routes.leaveOthers || routes.tokenStart > 0) return false;
      const isSip = uri.read(header.bytes, header.uriStart, header.uriEnd);
      return isSip && uri.userStart === 0 && uri.tokenStart === 0 && self.isAddressedBy(header.bytes, uri);
    }

    /** Backends are answered on the link, so their address is not needed. */
    function senderOfMessage(message: Message): Sender | undefined {
      if (message.from !== 'client') return undefined;
      const sender = senderOf(message.source as Client);
      if (isUdp) sender.listenFor(header);
      return sender;
    }

    hooks.insertId.tap('sip', (message) => {
      if (header.isRequest && message.traceContext !== undefined) trace.write(message, header, message.traceContext);
      if (header.isRequest) rewriter.request(message, header, routes, senderOfMessage(message));
      else rewriter.response(message, header);
      return undefined;
    });

    hooks.forward.tap('sip', (message) => {
      const { destination } = message;
      if (header.isRequest) {
        if (message.from !== 'client' || header.method === method.ack) return;
        const source = message.source as Client;
        // The answer of a client of another listener passes by that one's pipeline, which does not know of our sender.
        const comesBack = isBackend(destination!) || destination!.listener === source.listener;
        if (comesBack) senderOf(source).answersDue++;
        return;
      }
      if (header.status < 200 || isBackend(destination!)) return;
      const sender = senderOf(destination!);
      if (sender.answersDue > 0) sender.answersDue--; // a retransmission settles nothing more
      if (message.from !== 'backend') return;
      const { branchStart, branchEnd } = clientVia;
      if (clientVia.hasUniqueBranch(header.bytes)) {
        affinity.settle(message, branchStart - message.start, branchEnd - branchStart, branchKind, settledSeconds);
      }
      const record = recordOf(message);
      if (record !== undefined) affinity.settle(message, record.offset, record.length, recordKind, settledSeconds);
      // What else is answered in a call leaves it ringing.
      if (header.method !== method.invite) return;
      const callIdBytes = header.callIdEnd - header.callIdStart;
      affinity.settle(message, header.callIdStart - message.start, callIdBytes, callIdKind, settledSeconds);
    });

    hooks.refuse.tap('sip', (message, refusal) => {
      const status = statusOf(refusal);
      header.understand();
      const mayBeAnswered = header.isRequest && header.isAnswerable && header.method !== method.ack;
      if (status === undefined || !mayBeAnswered) return undefined;
      return writeReply(header, status, senderOfMessage(message), tagHash.of(header));
    });
  },
});

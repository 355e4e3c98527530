/** What happened to the messages of a capture. */
import type { CaptureFacts, Connection } from '../../capture/clients.ts';
import type { Captured, CaptureEnd, ConnectionFacts } from '../explain/capture.ts';
import { counted } from '../output.ts';
import { jsonLine } from './explain-json.ts';
import { messageLines } from './explain-text.ts';
import { indented, styleWith } from './style.ts';
import { Tally, tallyLines } from './tally.ts';

interface CaptureReport {
  /** Answers what is to be printed of a message. */
  message(message: Captured): string;
  /** Keeps what is said of a connection at the end. */
  connection(connection: ConnectionFacts): void;
  end(end: CaptureEnd): string;
}

/** How many connections of which something is missing are named; all are counted. */
const mostNamed = 20;

/** Counts what is missing. */
class Losses {
  incompleteConnections = 0;
  readonly named: ConnectionFacts[] = [];

  add(facts: ConnectionFacts): void {
    const { connection, missingBytes, incompleteBytes, unreadBytes } = facts;
    if (!connection.startsMidStream && missingBytes + incompleteBytes + unreadBytes === 0) return;
    this.incompleteConnections++;
    if (this.named.length < mostNamed) this.named.push(facts);
  }
}

/** For people: each message as `explain` has it, and at the end how many there were of what. */
export function captureText(limit: number, colours: boolean): CaptureReport {
  const style = styleWith(colours);
  const tally = new Tally();
  const losses = new Losses();
  return {
    message: ({ connection, timeMicros, pair }) => {
      const record = pair.first!;
      tally.add(record);
      if (tally.messages > limit) return '';
      const title = `${style('bold', `message ${tally.messages}`)} ${whereInWords(connection, timeMicros, pair.offset)}`;
      return `${[title, ...indented(2, messageLines(record))].join('\n')}\n\n`;
    },
    connection: (facts) => losses.add(facts),
    end: (end) => {
      const left = tally.messages - limit;
      const more = left > 0 ? [`… and ${counted(left, 'more message')}`, ''] : [];
      const lines = [
        style('bold', 'summary'),
        ...indented(2, tallyLines(tally)),
        '',
        style('bold', 'capture'),
        ...indented(2, captureLines(end)),
        ...indented(2, losses.named.map(lossInWords)),
      ];
      const unnamed = losses.incompleteConnections - losses.named.length;
      if (unnamed > 0) lines.push(`  … and ${counted(unnamed, 'more connection')} of which something is missing`);
      return `${[...more, ...lines].join('\n')}\n`;
    },
  };
}

/**
 * For programs, a line of JSON each: `{ type: "message", number, time, connection, offset, … }` with what `explain` says of any
 * message, and at the end `{ type: "summary", … }`.
 */
export function captureJson(limit: number): CaptureReport {
  const tally = new Tally();
  const losses = new Losses();
  return {
    message: ({ connection, timeMicros, pair: { offset, first } }) => {
      tally.add(first!);
      if (tally.messages > limit) return '';
      const number = tally.messages;
      return jsonLine({ type: 'message', number, ...whereInJson(connection, timeMicros, offset), ...first });
    },
    connection: (facts) => losses.add(facts),
    end: (end) =>
      jsonLine({
        type: 'summary',
        shown: Math.min(tally.messages, limit),
        ...tally,
        connections: end.connections,
        incompleteConnections: losses.incompleteConnections,
        losses: losses.named.map(({ connection, ...facts }) => ({
          connection: connectionInJson(connection),
          startsMidStream: connection.startsMidStream,
          ...facts,
        })),
        capture: captureInJson(end),
      }),
  };
}

/** `from client 192.0.2.1:4000, connection 2, byte 0, at 2026-01-01T00:00:00.000000Z` */
export function whereInWords(
  { number, clientAddress, clientPort }: Connection,
  micros: number,
  offset: number,
): string {
  const client = `client ${endpoint(clientAddress, clientPort)}`;
  return `from ${client}, connection ${number}, byte ${offset}, at ${isoTime(micros) ?? 'an impossible time'}`;
}

export function whereInJson(connection: Connection, timeMicros: number, offset: number) {
  return { time: isoTime(timeMicros) ?? null, connection: connectionInJson(connection), offset };
}

function connectionInJson({ number, clientAddress, clientPort, listenerAddress, listenerPort }: Connection) {
  return { number, client: endpoint(clientAddress, clientPort), listener: endpoint(listenerAddress, listenerPort) };
}

const endpoint = (address: string, port: number) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** ISO 8601 with microseconds; undefined for times that no calendar has, which files can tell. */
function isoTime(micros: number): string | undefined {
  const date = new Date(Math.floor(micros / 1000));
  if (Number.isNaN(date.getTime())) return undefined;
  return `${date.toISOString().slice(0, -1)}${String(micros % 1000).padStart(3, '0')}Z`;
}

/** What the capture itself is like. */
export function captureLines({ facts, connections, fault }: CaptureEnd): string[] {
  const { packets, listenerPackets, fragments, cutPackets, forgottenConnections, endsWhole } = facts;
  const lines = [
    `${counted(packets, 'packet')}, ${listenerPackets} to and from the listener; ${counted(connections, 'connection')} sent something`,
  ];
  if (fragments > 0) lines.push(`${counted(fragments, 'IP fragment')} not looked at`);
  if (cutPackets > 0) lines.push(`${counted(cutPackets, 'packet')} cut by the capture: bytes are missing`);
  if (forgottenConnections > 0) {
    lines.push(`${counted(forgottenConnections, 'connection')} closed here to make room, the longest silent first`);
  }
  if (!endsWhole) lines.push('the file ends in the middle of a packet');
  if (fault !== undefined) lines.push(`the rest of the file cannot be read: ${fault}`);
  return lines;
}

/** The same for programs. */
export function captureInJson({
  facts,
  fault,
}: CaptureEnd): Omit<CaptureFacts, 'ports'> & { fault: string | undefined } {
  const { ports: _, ...rest } = facts;
  return { ...rest, fault };
}

function lossInWords({ connection, missingBytes, incompleteBytes, unreadBytes }: ConnectionFacts): string {
  const losses: string[] = [];
  if (connection.startsMidStream) losses.push('its beginning is not in the capture');
  if (missingBytes > 0) losses.push(`${counted(missingBytes, 'byte')} missing`);
  if (incompleteBytes > 0) losses.push(`${counted(incompleteBytes, 'byte')} of messages whose end is missing`);
  if (unreadBytes > 0) losses.push(`${counted(unreadBytes, 'byte')} not looked at, as the connection is closed`);
  return `connection ${connection.number}: ${losses.join('; ')}`;
}

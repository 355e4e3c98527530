/** Types for the npm package smpp, which has none, as far as the tests use it. */
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { Server } from 'node:net';

export interface Pdu {
  readonly command: string;
  readonly command_status: number;
  readonly sequence_number: number;
  /** The fields of its command, by the names of the SMPP specification. */
  readonly [field: string]: unknown;
  response(fields?: object): Pdu;
}

/** One connection, seen from either end. */
export interface Session extends EventEmitter {
  send(pdu: Pdu, onAnswer?: (answer: Pdu) => void): boolean;
  close(): void;
  destroy(): void;
}

const require = createRequire(import.meta.url);

export const smpp = require('smpp') as {
  createServer(onSession: (session: Session) => void): Server;
  connect(options: { host: string; port: number }): Session;
  readonly PDU: new (command: string, fields: object) => Pdu;
  readonly ESME_RINVBNDSTS: number;
  readonly ESME_RINVPASWD: number;
};

/** Decides where a message goes: to whom it names, else to where related messages went, else to whom the strategy chooses. */
import type { Accounting } from './accounting.ts';
import type { Affinity } from './affinity.ts';
import { Client } from './client.ts';
import { Exchange } from './exchanges.ts';
import type { Detected, PipelineHooks } from './hooks.ts';
import type { Identifiers } from './identifiers.ts';
import type { Link } from './link.ts';
import type { Message } from './message.ts';
import { Discard, Refusal } from './outcome.ts';
import type { Destination, ProtocolFacts, TokenFault } from './plugin.ts';
import { Backend, type Pool } from './pool.ts';

const forgedIdentifier = new Refusal('forged-identifier');
const unknownBackend = new Refusal('unknown-backend');
const backendDown = new Refusal('backend-down');
const noBackend = new Refusal('no-backend');
const noDestination = new Refusal('no-destination');
const clientGone = new Refusal('client-gone');
const stopping = new Refusal('stopping');

/** Where a message goes, or why it goes nowhere. */
export type Route = Destination | Refusal | Discard;

export interface RoutingOptions {
  readonly hooks: PipelineHooks;
  readonly facts: ProtocolFacts;
  readonly pool: Pool;
  readonly identifiers: Identifiers;
  readonly affinity: Affinity | undefined;
  /** What happens to messages whose backend is down, and to those whose backend is no longer in the config. */
  readonly whenDown: 'refuse' | 'rechoose';
  readonly whenGone: 'refuse' | 'rechoose';
  readonly accounting: Accounting;
}

export class Routing {
  /** The balancer is stopping: sessions go on, new ones are refused. */
  isStopping = false;
  readonly #hooks: PipelineHooks;
  readonly #pool: Pool;
  readonly #options: RoutingOptions;

  constructor(options: RoutingOptions) {
    this.#hooks = options.hooks;
    this.#pool = options.pool;
    this.#options = options;
  }

  route(message: Message): Route {
    const { source } = message;
    if (message.from === 'client') {
      message.client = source as Client;
      if (message.client.question !== undefined) return this.#routeQuestion(message, message.client.question.backend);
    } else {
      message.backend = (source as Link).backend;
      message.client = (source as Link).client;
    }

    const detected = this.#hooks.detectId.call(message);
    if (detected === undefined || detected === 0) return this.#unnamed(message);
    if (detected instanceof Exchange) {
      message.exchange = detected;
      message.reason = 'correlation';
      return (message.client = detected.client);
    }
    const named = this.#resolve(message, detected);
    if (named instanceof Client) {
      message.reason = 'identifier';
      return (message.client = named);
    }
    if (named instanceof Backend) {
      // On a dedicated link a backend that names itself echoes what its request carried: the message is for its client.
      if (named === message.backend && message.client !== undefined) return this.#unnamed(message);
      message.backend = named;
      message.reason = 'identifier';
      const isUsable = named.isUsable && named !== message.avoids;
      return isUsable ? named : this.#instead(message, this.#options.whenDown, backendDown);
    }
    if (named !== 'unknown') return named;
    this.#options.accounting.unknownIdentifiers++;
    return this.#instead(message, this.#options.whenGone, unknownBackend);
  }

  /** A check's request goes to the backend that is checked, whomever it names. */
  #routeQuestion(message: Message, backend: Backend): Route {
    const detected = this.#hooks.detectId.call(message);
    if (detected instanceof Refusal || detected instanceof Discard) return detected;
    if (detected !== undefined && !(detected instanceof Exchange)) this.#resolve(message, detected);
    message.reason = 'check';
    return (message.backend = backend);
  }

  /** The message carries no identifier. */
  #unnamed(message: Message): Route {
    if (message.from === 'client') return this.#choose(message, 'strategy');
    if (message.client === undefined) return noDestination;
    message.reason = 'link';
    return message.client;
  }

  /** The destination that a `detectId` tap's answer stands for. */
  #resolve(message: Message, detected: Exclude<Detected, Exchange>): Route | 'unknown' {
    if (typeof detected === 'number') return this.#pool.byNumber(detected) ?? 'unknown';
    if (!('offset' in detected)) return detected;
    message.identifier.offset = detected.offset;
    message.identifier.length = detected.length;
    const start = message.start + detected.offset;
    const named = this.#options.identifiers.read(message.bytes, start, start + detected.length);
    return typeof named === 'string' ? faultOf(named) : named;
  }

  /** The message names a backend that cannot take it. */
  #instead(message: Message, policy: 'refuse' | 'rechoose', refusal: Refusal): Route {
    if (policy === 'refuse' || message.from === 'backend') return refusal;
    return this.#options.facts.isAnswer?.(message) ? refusal : this.#choose(message, 'rechosen');
  }

  #choose(message: Message, reason: 'strategy' | 'rechosen'): Route {
    const { affinity } = this.#options;
    const related = affinity?.find(message);
    if (related?.isUsable && related !== message.avoids) {
      message.reason = 'affinity';
      message.backend = related;
      return related;
    }
    if (this.isStopping && reason === 'strategy') return stopping;
    let chosen = this.#hooks.chooseBackend.call(message, this.#pool);
    if (chosen !== undefined && chosen === message.avoids) {
      chosen = this.#pool.leastBusy((each) => each !== message.avoids);
    }
    if (chosen === undefined) return noBackend;
    message.reason = reason;
    message.backend = chosen;
    return chosen;
  }
}

function faultOf(fault: TokenFault): Refusal | 'unknown' {
  return fault === 'forged' ? forgedIdentifier : fault === 'gone' ? clientGone : 'unknown';
}

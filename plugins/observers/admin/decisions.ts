/**
 * What happened to messages, reported by the taps in every pipeline. They are silent until somebody listens, then report no more
 * than so many a second, and say how many they left out.
 */
import type { Client, Discard, Hooks, Link, Message, Refusal, Scope } from 'pointsman';

/** What happened to one message. */
export interface Decision {
  readonly listener: string;
  readonly from: 'client' | 'backend';
  /** The client's IP address, and the id of its connection; undefined if none is known. */
  readonly client: string | undefined;
  readonly connection: string | undefined;
  readonly backend: string | undefined;
  readonly outcome: 'forwarded' | 'refused' | 'discarded';
  /** Why it went there, or nowhere. */
  readonly reason: string;
  readonly bytes: number;
}

/** Which decisions somebody wants to hear about. Undefined members match anything. */
export interface Filter {
  readonly listener?: string | undefined;
  readonly backend?: string | undefined;
  /** The client's IP address, or the beginning of it. */
  readonly client?: string | undefined;
  readonly reason?: string | undefined;
  readonly outcome?: string | undefined;
}

/** The order to the pipelines: which decisions to report. None: nobody listens. */
export interface Order {
  readonly filters: readonly Filter[];
}

/** The pipelines' report. */
export interface Report {
  readonly decisions: readonly Decision[];
  /** How many more decisions there were. */
  readonly leftOut: number;
}

export function matches(decision: Decision, { listener, backend, client, reason, outcome }: Filter): boolean {
  return (
    (listener === undefined || decision.listener === listener) &&
    (backend === undefined || decision.backend === backend) &&
    (reason === undefined || decision.reason === reason) &&
    (outcome === undefined || decision.outcome === outcome) &&
    (client === undefined || (decision.client?.startsWith(client) ?? false))
  );
}

/** How long decisions are collected before they are reported. */
const gatherMs = 100;

export function tapDecisions(hooks: Hooks, scope: Scope, perSecond: number): void {
  const { clock, channel, listener } = scope;
  let filters: readonly Filter[] = [];
  let decisions: Decision[] = [];
  let leftOut = 0;
  let cancel: (() => void) | undefined;
  let allowance = perSecond;
  let allowedAtMs = clock.now();

  channel.onMessage((order) => {
    ({ filters } = order as Order);
  });

  function tell(): void {
    cancel = undefined;
    const report: Report = { decisions, leftOut };
    decisions = [];
    leftOut = 0;
    channel.send(report);
  }

  function note(message: Message, outcome: Decision['outcome'], reason: string): void {
    const decision: Decision = {
      listener: listener.name,
      from: message.from,
      client: message.client?.address,
      connection: message.client?.id,
      backend: message.backend?.name,
      outcome,
      reason,
      bytes: message.length,
    };
    if (!filters.some((filter) => matches(decision, filter))) return;
    cancel ??= clock.after(gatherMs, tell);
    const nowMs = clock.now();
    allowance = Math.min(perSecond, allowance + ((nowMs - allowedAtMs) * perSecond) / 1000);
    allowedAtMs = nowMs;
    if (allowance < 1) leftOut++;
    else {
      allowance--;
      decisions.push(decision);
    }
  }

  hooks.forward.tap('admin', (message: Message, _destination: Client | Link) => {
    if (filters.length > 0) note(message, 'forwarded', message.reason ?? '');
  });
  hooks.onDrop.tap('admin', (message: Message, { reason }: Refusal | Discard, replied: boolean) => {
    if (filters.length > 0) note(message, replied ? 'refused' : 'discarded', reason);
  });
  scope.onStop(() => cancel?.());
}

/** The kit's own plugins: one that looks on, and those that stand in for what the plugin under test is not. */

import { refusal } from '../outcome.ts';
import { definePlugin, type PluginDefinition } from '../plugin.ts';
import Type from '../vendor/typebox.ts';
import type { Rig, Seen } from './rig.ts';

const noOptions = Type.Object({});
const summary = 'Belongs to the conformance kit.';
const overloaded = refusal('overloaded');

/**
 * Records each message and what becomes of it. It taps before and behind all others.
 * @param records else it only hands over its scope, and costs nothing
 */
export function witness(rig: Rig, { records }: { records: boolean }): PluginDefinition {
  const name = 'conformance-witness';
  return definePlugin({
    name,
    summary,
    pointsman: '^1',
    options: noOptions,
    apply(hooks, _options, scope) {
      rig.scope = scope;
      if (!records) return;
      let at: Seen | undefined;
      hooks.frame.tap({ name, stage: 1000 }, () => {
        rig.blame("frame answered nothing: a length, 'more' or 'broken' is due");
        return 'broken';
      });
      hooks.detectId.tap({ name, stage: -1000 }, (message) => {
        at = { from: message.from, bytes: Buffer.from(message.view()), isLost: false };
        rig.seen.push(at);
        return rig.refusal;
      });
      hooks.chooseBackend.tap({ name, stage: -1000 }, (_message, pool) => {
        rig.available = pool.available;
        return undefined;
      });
      hooks.refuse.tap({ name, stage: -1000 }, (message, reason) => {
        const isSame = at !== undefined && at.from === message.from && at.bytes.equals(message.view());
        if (isSame) at!.refusal = reason;
        else rig.seen.push({ from: message.from, bytes: Buffer.from(message.view()), isLost: true, refusal: reason });
        return undefined;
      });
      hooks.forward.tap({ name, stage: 1000 }, (message, destination) => {
        if (at === undefined) return;
        at.to = 'backend' in destination ? destination.backend : destination;
        at.reason = message.reason;
        at.sent = message.edited();
      });
    },
  });
}

/** A protocol for plugins that bring none: a message is a line, an answer begins with the number that its request got. */
export const lines = definePlugin({
  name: 'conformance-lines',
  summary,
  pointsman: '^1',
  options: noOptions,
  apply(hooks, _options, scope) {
    scope.protocol({ identifiers: 'text', correlationBits: 31 });
    hooks.frame.tap('lines', (bytes, start, end) => {
      const at = bytes.subarray(start, end).indexOf('\n');
      return at < 0 ? 'more' : at + 1;
    });
    hooks.detectId.tap('lines', (message) => {
      if (message.from === 'client') return undefined;
      return scope.exchanges.find(message, Number.parseInt(message.view().toString('latin1'), 10));
    });
    hooks.insertId.tap('lines', (message) => {
      if (message.from === 'backend') return undefined;
      const exchange = scope.exchanges.open(message, 0, 0);
      if (exchange === undefined) return overloaded;
      message.splice(0, 0, Buffer.from(`${exchange.id} `));
      return undefined;
    });
  },
});

/** What backends answer to messages of that protocol. */
export function answerLines(received: Buffer): Buffer {
  const numbers = received.toString('latin1').match(/^\d+ /gm) ?? [];
  return Buffer.from(numbers.map((number) => `${number}answer\n`).join(''));
}

/**
 * A strategy that does as the rig says.
 * @param insists where the rig says nothing, it chooses the first one; else it leaves that to the plugin under test
 */
export function chooser(rig: Pick<Rig, 'chosen'>, { insists }: { insists: boolean }): PluginDefinition {
  const name = 'conformance-chooser';
  return definePlugin({
    name,
    summary,
    pointsman: '^1',
    options: noOptions,
    apply(hooks) {
      hooks.chooseBackend.tap(name, (_message, { available }) => {
        if (rig.chosen === undefined) return insists ? available[0] : undefined;
        return available.find(({ name }) => name === rig.chosen);
      });
    },
  });
}

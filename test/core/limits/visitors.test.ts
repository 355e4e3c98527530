import { describe, expect, it } from 'vitest';
import { Visitors } from '../../../core/limits/visitors.ts';
import { defaultLimits, type Limits, type ListenerSettings } from '../../../core/settings.ts';
import { settingsWith } from '../../support/settings.ts';

const [a, b] = ['198.51.100.1', '2001:db8::1'];
const edge = (limits: Partial<Limits>, more: Partial<ListenerSettings> = {}) =>
  settingsWith({ listener: { limits: { ...defaultLimits, ...limits }, ...more } }).listeners[0]!;
const visitors = (limits: Partial<Limits>) => new Visitors(edge(limits));

describe('who connects', () => {
  it('from one address too often is turned away, until some time has passed; others are not', () => {
    const door = visitors({ connectionsPerSecondPerAddress: 2 });
    const enter = (address: string, nowMs: number) => {
      const why = door.enter(address, nowMs);
      door.leave(address);
      return why;
    };
    expect([enter(a, 0), enter(a, 1), enter(a, 2)]).toEqual([undefined, undefined, 'connects too often']);
    expect(enter(b, 2)).toBeUndefined();
    expect([enter(a, 600), enter(a, 601)]).toEqual([undefined, 'connects too often']);
  });

  it('is forgotten when it has gone and may connect as at first, not before', () => {
    const door = visitors({ connectionsPerSecondPerAddress: 1 });
    door.enter(a, 0);
    door.sweep(100);
    expect(door.addresses).toBe(1);
    door.leave(a);
    door.sweep(100);
    expect(door.enter(a, 200)).toBe('connects too often');
    door.leave(a);
    door.sweep(1500);
    expect(door.addresses).toBe(0);
    const unlimited = visitors({});
    unlimited.enter(a, 0);
    unlimited.leave(a);
    unlimited.sweep(0);
    expect(unlimited.addresses).toBe(0);
  });

  it('is remembered from no more addresses than there is room for', () => {
    const door = visitors({ connectionsPerSecondPerAddress: 1 });
    for (let n = 0; n < 70_000; n++) {
      const address = `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;
      door.enter(address, 0);
      door.leave(address);
    }
    door.sweep(1);
    expect(door.addresses).toBe(65_536);
  });

  it('is not forgotten while requests from there wait for answers', () => {
    const door = visitors({});
    door.enter(a, 0);
    const load = door.loadOf(a)!;
    load.outstanding++;
    door.leave(a);
    door.sweep(0);
    door.enter(a, 0);
    expect(door.loadOf(a)).toBe(load);
  });

  it('counts on when the settings change, but for a rate that has', () => {
    const door = visitors({ connectionsPerAddress: 1, connectionsPerSecondPerAddress: 1 });
    door.enter(a, 0);
    door.follow(edge({ connectionsPerAddress: 3, connectionsPerSecondPerAddress: 1 }));
    expect(door.enter(a, 1)).toBe('connects too often');
    door.follow(edge({ connectionsPerAddress: 2, connectionsPerSecondPerAddress: 5 }));
    expect([door.enter(a, 1), door.enter(a, 1)]).toEqual([undefined, 'too many connections']);
  });

  it('is not let in from a network that is denied, whatever is allowed, and pays nothing for trying', () => {
    const door = new Visitors(
      edge({ connectionsPerSecondPerAddress: 1 }, { allow: ['198.51.0.0/16', '2001:db8::/32'], deny: [`${a}/32`] }),
    );
    expect([a, b, '203.0.113.1'].map((address) => door.enter(address, 0))).toEqual([
      'not allowed',
      undefined,
      'not allowed',
    ]);
  });
});

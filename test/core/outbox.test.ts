import { describe, expect, it } from 'vitest';
import { slabs } from '../../core/memory.ts';
import { Outbox, Turn } from '../../core/outbox.ts';
import type { Socket } from '../../core/runtime/runtime.ts';
import { VirtualRuntime } from '../../core/runtime/virtual.ts';

/** A socket that keeps what it is given, and never gets rid of it. */
class Stuck implements Partial<Socket> {
  readonly delimits = false;
  readonly writable = true;
  readonly kept: Buffer[] = [];
  write(bytes: Buffer): boolean {
    this.kept.push(bytes);
    return false;
  }
}

/** An outbox whose socket keeps a few bytes of a size of slab that nothing else uses here. */
function stuck() {
  const outbox = new Outbox(new Turn(new VirtualRuntime()), 1_000_000, false);
  const socket = new Stuck();
  outbox.open(socket as unknown as Socket);
  outbox.appendBytes(Buffer.alloc(200_000, 'x'));
  outbox.flush();
  return { outbox, socket };
}

/** Whether the memory of `bytes` is what the next one gets who asks for that much. */
function isFree(bytes: Buffer): boolean {
  const slab = slabs.take(200_000);
  const same = slab.bytes.buffer === bytes.buffer && slab.bytes.byteOffset === bytes.byteOffset;
  slabs.give(slab);
  return same;
}

describe('memory that a socket has kept', () => {
  it('is used again when the socket has written it', () => {
    const { outbox, socket } = stuck();
    expect(isFree(socket.kept[0]!)).toBe(false);
    outbox.written();
    expect(isFree(socket.kept[0]!)).toBe(true);
  });

  it('is used again when the socket is closed', () => {
    const { outbox, socket } = stuck();
    outbox.close();
    expect(isFree(socket.kept[0]!)).toBe(true);
  });

  it('is left alone while a socket that takes nothing more is still writing it', () => {
    const { outbox, socket } = stuck();
    outbox.detach();
    expect(isFree(socket.kept[0]!)).toBe(false);
    outbox.written();
    expect(isFree(socket.kept[0]!)).toBe(true);
  });
});

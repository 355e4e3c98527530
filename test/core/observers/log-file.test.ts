import { execFileSync } from 'node:child_process';
import fs, { closeSync, openSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { LogFaults } from '../../../core/faults.ts';
import { openLogFile } from '../../../core/observers/log-file.ts';
import { temporaryFolder } from '../../support/peers.ts';

const onError = (error: Error) => {
  throw error;
};
const newFaults = (): LogFaults => ({ writeErrors: 0, droppedLines: 0 });

it('makes nobody wait for a disk that does not take what is written: it keeps so much, and counts what it drops', async () => {
  const file = join(temporaryFolder(), 'slow');
  execFileSync('mkfifo', [file]);
  // Open at both ends, so that whoever writes waits for nobody to open it, and then for somebody to read.
  const end = openSync(file, 'r+');
  const faults = newFaults();
  const log = await openLogFile({ file, onError }, faults);
  const text = 'x'.repeat(1000);
  const lines = 10_000;
  for (let line = 0; line < lines; line++) log.write({ line, text });
  expect(log.dropped).toBeGreaterThan(lines / 2);
  expect(log.dropped).toBeLessThan(lines * 0.7);
  expect(faults).toEqual({ writeErrors: 0, droppedLines: log.dropped });

  // The disk is back: what was kept is written, whole lines, the oldest first.
  const reader = await open(file);
  let written = '';
  const stream = reader.createReadStream();
  stream.on('data', (bytes) => {
    written += bytes;
  });
  await log.close();
  const kept = () => written.split('\n').slice(0, -1);
  await vi.waitFor(() => expect(kept()).toHaveLength(lines - log.dropped));
  closeSync(end);
  const numbers = kept().map((line) => JSON.parse(line).line);
  expect(numbers).toEqual(numbers.map((_, index) => index));
  stream.destroy();
});

it('counts writes that fail on a full disk, keeps what was to be written, and goes on when there is room again', async () => {
  const file = join(temporaryFolder(), 'log');
  const faults = newFaults();
  const failed = vi.fn();
  const log = await openLogFile({ file, onError: failed }, faults);
  const noRoom = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  const write = vi.spyOn(fs, 'write').mockImplementation(((...args: unknown[]) => {
    setImmediate(() => (args.at(-1) as (error: Error) => void)(noRoom()));
  }) as never);
  onTestFinished(() => write.mockRestore());
  const line = (number: number) => ({ number, text: 'x'.repeat(1000) });
  log.write(line(0));
  await vi.waitFor(() => expect(faults.writeErrors).toBe(1));
  expect(failed.mock.calls).toEqual([[noRoom()]]);
  const lines = 5000;
  for (let number = 1; number < lines; number++) log.write(line(number));
  await vi.waitFor(() => expect(faults.writeErrors).toBe(2));
  expect(log.dropped).toBeGreaterThan(0);
  expect(faults.droppedLines).toBe(log.dropped);
  const kept = lines - log.dropped;

  write.mockRestore();
  log.write(line(lines)); // there is no room to keep it, but something is written again
  const written = () => readFileSync(file, 'utf8').split('\n').slice(0, -1);
  await vi.waitFor(() => expect(written()).toHaveLength(kept));
  log.write(line(lines + 1));
  await log.close();
  const numbers = written().map((text) => JSON.parse(text).number);
  expect(numbers).toEqual([...Array.from({ length: kept }, (_, index) => index), lines + 1]);
});

it('appends, leaves out what is not to be seen, and makes the folder', async () => {
  const file = join(temporaryFolder(), 'folder', 'log');
  for (const number of [1, 2]) {
    const log = await openLogFile({ file, redact: ['secret'], onError }, newFaults());
    log.write({ number, secret: 'x' });
    await log.close();
  }
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toEqual(
    [1, 2].map((number) => ({ level: 'info', time: expect.any(String), number })),
  );
});

it('says which file cannot be opened, and leaves nothing that throws when the process ends', async () => {
  const folder = temporaryFolder();
  const before = process.listenerCount('exit');
  await expect(openLogFile({ file: folder, onError }, newFaults())).rejects.toThrow(
    `cannot write ${folder}: EISDIR: illegal operation on a directory, open '${folder}'`,
  );
  expect(process.listenerCount('exit')).toBe(before);
});

import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { openLogFile } from '../../../core/observers/log-file.ts';
import { temporaryFolder } from '../../support/peers.ts';

const onError = (error: Error) => {
  throw error;
};

it('makes nobody wait for a disk that does not take what is written: it keeps so much, and counts what it drops', async () => {
  const file = join(temporaryFolder(), 'slow');
  execFileSync('mkfifo', [file]);
  // Open at both ends, so that whoever writes waits for nobody to open it, and then for somebody to read.
  const end = openSync(file, 'r+');
  const log = await openLogFile({ file, onError });
  const text = 'x'.repeat(1000);
  const lines = 10_000;
  for (let line = 0; line < lines; line++) log.write({ line, text });
  expect(log.dropped).toBeGreaterThan(lines / 2);
  expect(log.dropped).toBeLessThan(lines * 0.7);

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

it('appends, leaves out what is not to be seen, and makes the folder', async () => {
  const file = join(temporaryFolder(), 'folder', 'log');
  for (const number of [1, 2]) {
    const log = await openLogFile({ file, redact: ['secret'], onError });
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
  await expect(openLogFile({ file: folder, onError })).rejects.toThrow(
    `cannot write ${folder}: EISDIR: illegal operation on a directory, open '${folder}'`,
  );
  expect(process.listenerCount('exit')).toBe(before);
});

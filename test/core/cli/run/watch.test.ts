import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { FileWatch } from '../../../../core/cli/run/watch.ts';
import { temporaryFolder } from '../../../support/peers.ts';

/** Follows files of a folder of its own; `changed()` resolves when it has told of a change since the last time. */
function watching(names: (folder: string) => readonly string[]) {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'a.yaml'), 'one');
  let tell = () => {};
  let next = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const watch = new FileWatch(() => tell(), { lookMs: 10, settleMs: 20 });
  onTestFinished(() => watch.stop());
  watch.follow(names(folder));
  return {
    folder,
    watch,
    async changed(): Promise<void> {
      await next;
      next = new Promise((resolve) => {
        tell = resolve;
      });
    },
  };
}

it('tells when a file is written, replaced, or appears', async () => {
  const { folder, changed } = watching((folder) => [join(folder, 'a.yaml'), join(folder, 'late.pem')]);
  writeFileSync(join(folder, 'a.yaml'), 'two, and longer');
  await changed();
  writeFileSync(join(folder, 'new'), 'three');
  renameSync(join(folder, 'new'), join(folder, 'a.yaml'));
  await changed();
  writeFileSync(join(folder, 'late.pem'), 'pem');
  await changed();
});

it('tells when a link leads to another file, and when a file is added to a directory', async () => {
  const { folder, changed } = watching((folder) => {
    mkdirSync(join(folder, 'v1'));
    mkdirSync(join(folder, 'v2'));
    writeFileSync(join(folder, 'v1/b.yaml'), 'one');
    writeFileSync(join(folder, 'v2/b.yaml'), 'two');
    symlinkSync('v1', join(folder, 'now'));
    return [join(folder, 'now/b.yaml'), join(folder, 'v2')];
  });
  symlinkSync('v2', join(folder, 'next'));
  renameSync(join(folder, 'next'), join(folder, 'now'));
  await changed();
  writeFileSync(join(folder, 'v2/c.yaml'), 'more');
  await changed();
});

it('says nothing of files that it no longer follows', async () => {
  const { folder, watch, changed } = watching((folder) => [join(folder, 'a.yaml')]);
  const control = new Promise<void>((resolve) => {
    const other = new FileWatch(resolve, { lookMs: 10, settleMs: 20 });
    onTestFinished(() => other.stop());
    other.follow([join(folder, 'a.yaml')]);
  });
  watch.follow([join(folder, 'b.yaml')]);
  const order: string[] = [];
  const told = changed().then(() => order.push('told'));
  writeFileSync(join(folder, 'a.yaml'), 'two, and longer');
  await control;
  order.push('a has changed');
  writeFileSync(join(folder, 'b.yaml'), 'one');
  await told;
  expect(order).toEqual(['a has changed', 'told']);
});

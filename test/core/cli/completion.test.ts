/** The scripts are run by the shells they are for; zsh and fish where they are installed, and always in CI. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { completion } from '../../../core/cli/completion.ts';
import type { Shell } from '../../../core/cli/output.ts';
import { createProgram } from '../../../core/cli/program.ts';

const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(folder, { recursive: true }));
for (const file of ['edge.yaml', 'edge.test.yaml', 'other file.yaml']) writeFileSync(join(folder, file), '');

const program = createProgram({ stdout: process.stdout, stderr: process.stderr }, () => {});

function scriptFor(shell: Shell): string {
  let script = '';
  const stdout = { write: (text: string) => (script += text) };
  expect(completion(program, shell, { stdout, stderr: stdout })).toBe(0);
  return script;
}

/** Runs lines of a shell; answers the lines it wrote. */
function shellLines(shell: Shell, lines: string): string[] {
  const flags = { bash: ['--norc'], zsh: ['-f'], fish: ['--no-config'] };
  const { status, stdout, stderr } = spawnSync(shell, [...flags[shell], '-c', lines], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C.UTF-8' },
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.split('\n').slice(0, -1).sort();
}

const quoted = (word: string) => `'${word}'`;

/** What each shell offers for the last of these words, without descriptions. */
const offers: Record<Shell, (...words: string[]) => string[]> = {
  bash: (...words) =>
    shellLines(
      'bash',
      `${scriptFor('bash')}
      COMP_WORDS=(pointsman ${words.map(quoted).join(' ')}); COMP_CWORD=${words.length}
      [[ $(complete -p pointsman) == 'complete -F _pointsman pointsman' ]] && _pointsman
      for word in "\${COMPREPLY[@]}"; do echo "$word"; done`,
    ),
  // What completes interactively is replaced by what prints, and the prefix is matched here.
  zsh: (...words) =>
    shellLines(
      'zsh',
      `compdef() { :; }
      compadd() { shift; print -l -- "$@"; }
      _files() { print -l -- *; }
      _describe() { print -l -- "\${(@)\${(@P)2}%%:*}"; }
      ${scriptFor('zsh')}
      words=(pointsman ${words.map(quoted).join(' ')}); CURRENT=${words.length + 1}
      _pointsman`,
    ).filter((offer) => offer.startsWith(words.at(-1)!)),
  fish: (...words) =>
    shellLines('fish', `${scriptFor('fish')}complete -C ${quoted(['pointsman', ...words].join(' '))}`).map(
      (line) => line.split('\t')[0]!,
    ),
};

const isInstalled = (shell: Shell) => spawnSync(shell, ['--version']).error === undefined;
const required = process.env.POINTSMAN_REQUIRE_PEERS === '1';

describe.each(['bash', 'zsh', 'fish'] as const)('the script for %s', (shell) => {
  describe.skipIf(!required && !isInstalled(shell))('offers', () => {
    const offer = offers[shell];

    it('every verb there is', () => {
      const verbs = program.commands.map((command) => command.name());
      expect(verbs).toContain('validate');
      expect(offer('')).toEqual(expect.arrayContaining([...verbs, 'help']));
    });

    it('verbs that begin like this, and verbs of verbs', () => {
      expect(offer('val')).toEqual(['validate']);
      expect(offer('create', '')).toEqual(expect.arrayContaining(['plugin']));
      expect(offer('create', 'plugin', '--k')).toEqual(['--kind']);
    });

    it('the options of a verb', () => {
      expect(offer('validate', 'edge.yaml', '--')).toEqual(
        ['--connect', '--deny-warnings', '--format', '--help', '--output'].sort(),
      );
    });

    it('the choices of an option', () => {
      expect(offer('validate', '--format', '')).toEqual(['github', 'json', 'sarif', 'text']);
      expect(offer('test', '--format', 'j')).toEqual(['json', 'junit']);
      expect(offer('completion', '')).toEqual(['bash', 'fish', 'zsh']);
    });

    it('files for configs, also where a name has a space in it', () => {
      expect(offer('run', 'edge.')).toEqual(['edge.test.yaml', 'edge.yaml']);
      expect(offer('validate', '--deny-warnings', 'oth').map((file) => file.replaceAll('\\', ''))).toEqual([
        'other file.yaml',
      ]);
      expect(offer('explain', 'edge.yaml', '--message', 'edge.y')).toEqual(['edge.yaml']);
    });

    it('nothing where only the user knows', () => {
      expect(offer('test', '--seed', 'e')).toEqual([]);
      expect(offer('create', 'plugin', 'e')).toEqual([]);
    });
  });
});

it('completes in bash what stands behind an equals sign', () => {
  expect(offers.bash('validate', '--format', '=')).toEqual(['github', 'json', 'sarif', 'text']);
  expect(offers.bash('validate', '--format', '=', 's')).toEqual(['sarif']);
  expect(offers.bash('validate', '--output', 'sarif', '=', 'edge.t')).toEqual(['edge.test.yaml']);
});

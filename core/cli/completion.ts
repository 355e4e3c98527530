/** `pointsman completion`: scripts for shells that complete verbs, options and their values, made from the program itself. */
import type { Command, Option } from '../vendor/commander.ts';
import { exitCodes, type Output, type Shell } from './output.ts';

/** What can stand in one place: words, files, or something that only the user knows. */
type Values = readonly string[] | 'files' | 'unknown';

interface Verb {
  /** As typed, such as `create plugin`; empty: the program itself. */
  readonly path: string;
  readonly verbs: readonly Described[];
  readonly options: readonly (Described & { readonly flags: readonly string[]; readonly values: Values | undefined })[];
  readonly argument: Values;
}

interface Described {
  readonly name: string;
  readonly summary: string;
}

/** Prints the script for a shell, which is to be evaluated there. */
export function completion(program: Command, shell: Shell, { stdout }: Output): number {
  const writers = { bash, zsh, fish };
  stdout.write(writers[shell](program.name(), verbsOf(program)));
  return exitCodes.clean;
}

function verbsOf(command: Command, path: readonly string[] = []): readonly Verb[] {
  const help = command.createHelp();
  const inner = help.visibleCommands(command);
  const [argument] = command.registeredArguments;
  const verb: Verb = {
    path: path.join(' '),
    verbs: inner.map((one) => ({ name: one.name(), summary: one.description() })),
    options: help.visibleOptions(command).map((option) => ({
      name: option.long ?? option.short ?? option.flags,
      summary: option.description,
      flags: [option.short, option.long].filter((flag) => flag !== undefined),
      values: valuesOf(option),
    })),
    argument: argument === undefined ? 'unknown' : (argument.argChoices ?? filesOrUnknown(argument.name())),
  };
  return [verb, ...inner.flatMap((one) => verbsOf(one, [...path, one.name()]))];
}

/** Undefined: the option takes none. */
function valuesOf({ required, optional, argChoices, flags }: Option): Values | undefined {
  if (!required && !optional) return undefined;
  return argChoices ?? filesOrUnknown(flags);
}

/** Placeholders say what they stand for. */
const filesOrUnknown = (placeholder: string): Values =>
  /\b(file|config|path|plugin)\b/.test(placeholder) ? 'files' : 'unknown';

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** The branches that find the verb, in the syntax that bash and zsh share. */
const steps = (verbs: readonly Verb[]) =>
  verbs
    .filter(({ path }) => path !== '')
    .map(({ path }) => {
      const [name, ...before] = path.split(' ').reverse();
      return `      ${quoted(`${before.reverse().join(' ')}|${name}`)}) verb=${quoted(path)} ;;\n`;
    })
    .join('');

/** The branches that complete the value of an option, in that syntax too. */
const valueBranches = (verbs: readonly Verb[], complete: (values: Values) => string) =>
  verbs
    .flatMap(({ path, options }) =>
      options.map(({ flags, values }) =>
        values === undefined
          ? ''
          : `    ${flags.map((flag) => quoted(`${path}|${flag}`)).join('|')}) ${complete(values)}; return ;;\n`,
      ),
    )
    .join('');

function bash(name: string, verbs: readonly Verb[]): string {
  const words = (list: readonly string[]) => `_${name}_offer -W ${quoted(list.join(' '))}`;
  const complete = (values: Values) => {
    if (values === 'unknown') return ':';
    return values === 'files' ? `compopt -o filenames 2>/dev/null; _${name}_offer -f` : words(values);
  };
  const branches = verbs.map((verb) => {
    const flags = words(verb.options.map((option) => option.name));
    const rest = verb.verbs.length > 0 ? words(verb.verbs.map((inner) => inner.name)) : complete(verb.argument);
    return `    ${quoted(verb.path)}) if [[ $current == -* ]]; then ${flags}; else ${rest}; fi ;;\n`;
  });
  return `# eval "$(${name} completion bash)"
_${name}_offer() {
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen "$@" -- "$current")
}
_${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} at=$((COMP_CWORD - 1)) verb='' word i
  COMPREPLY=()
  # Bash takes the = of --format=json for a word.
  if [[ $current == '=' ]]; then current=''; elif [[ \${COMP_WORDS[at]} == '=' ]]; then ((at--)); fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$verb|\${COMP_WORDS[i]}" in
${steps(verbs)}    esac
  done
  case "$verb|\${COMP_WORDS[at]}" in
${valueBranches(verbs, complete)}  esac
  case "$verb" in
${branches.join('')}  esac
}
complete -F _${name} ${name}
`;
}

function zsh(name: string, verbs: readonly Verb[]): string {
  const complete = (values: Values) => {
    if (values === 'unknown') return ':';
    return values === 'files' ? '_files' : `compadd -- ${values.map(quoted).join(' ')}`;
  };
  const described = (what: string, list: readonly Described[]) => {
    const entries = list.map((one) => quoted(`${one.name.replaceAll(':', '\\:')}:${one.summary}`));
    return `offers=(${entries.join(' ')}); _describe ${what} offers`;
  };
  const branches = verbs.map((verb) => {
    const rest = verb.verbs.length > 0 ? described('verb', verb.verbs) : complete(verb.argument);
    return `    ${quoted(verb.path)}) if [[ $words[CURRENT] == -* ]]; then ${described('option', verb.options)}; else ${rest}; fi ;;\n`;
  });
  return `#compdef ${name}
# eval "$(${name} completion zsh)", after compinit
_${name}() {
  local verb='' word
  local -a offers
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$verb|$word" in
${steps(verbs)}    esac
  done
  case "$verb|$words[CURRENT-1]" in
${valueBranches(verbs, complete)}  esac
  case "$verb" in
${branches.join('')}  esac
}
compdef _${name} ${name}
`;
}

function fish(name: string, verbs: readonly Verb[]): string {
  const fishQuoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = verbs.flatMap((verb) => {
    const seen = verb.path === '' ? [] : verb.path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
    const inner = verb.verbs.map((one) => one.name).join(' ');
    const here = [...seen, ...(inner === '' ? [] : [`not __fish_seen_subcommand_from ${inner}`])].join('; and ');
    const rule = (rest: string) => `complete -c ${name}${here === '' ? '' : ` -n ${fishQuoted(here)}`} ${rest}`;
    return [
      ...verb.verbs.map((one) => rule(`-a ${fishQuoted(one.name)} -d ${fishQuoted(one.summary)}`)),
      ...verb.options.map(({ flags, values, summary }) => {
        const spelt = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
        const takes = values === undefined ? '' : valuesForFish(values, fishQuoted);
        return rule(`${spelt.join(' ')}${takes} -d ${fishQuoted(summary)}`);
      }),
      ...(verb.argument === 'files' ? [rule('-F')] : []),
      ...(typeof verb.argument === 'string' ? [] : [rule(`-a ${fishQuoted(verb.argument.join(' '))}`)]),
    ];
  });
  return `# ${name} completion fish | source\ncomplete -c ${name} -f\n${lines.join('\n')}\n`;
}

function valuesForFish(values: Values, quote: (text: string) => string): string {
  if (values === 'files') return ' -r -F';
  return values === 'unknown' ? ' -x' : ` -x -a ${quote(values.join(' '))}`;
}

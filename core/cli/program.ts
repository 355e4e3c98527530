/** The verbs and options of the command line. Each verb has a file of its own, loaded when it is used. */
import { isIP } from 'node:net';
import type { Endpoint } from '../capture/clients.ts';
import { holdNewSpace } from '../runtime/new-space.ts';
import { Argument, Command, InvalidArgumentError, Option } from '../vendor/commander.ts';
import { type FindingsFormat, findingsFormats, logLevels, type Output, pluginKinds, shells } from './output.ts';
import { packageVersion } from './version.ts';

const formatOption = (...more: readonly string[]) =>
  new Option('--format <format>', 'how to print').choices(['text', 'json', ...more]).default('text');
const configs = 'config files, or directories of them: together one config';
const configArgument = (name: string) => new Argument(name, `${configs}; -: standard input`);

/**
 * Builds the program; it runs with `parseAsync`.
 * @param output where verbs write
 * @param finish gets the exit code of a verb that has run
 */
export function createProgram(output: Output, finish: (code: number) => void): Command {
  const program = new Command('pointsman')
    .description('A message-level load balancer.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .showSuggestionAfterError()
    .exitOverride();

  program
    .command('run')
    .description('balance until SIGINT or SIGTERM; SIGHUP reloads the config')
    .argument('<config...>', configs)
    .addOption(new Option('--log-level <level>', 'log this and what is graver').choices(logLevels).default('info'))
    .addOption(
      new Option(
        '--stop-seconds <count>',
        'how long answers that are due are waited for when it stops (default: as the config says)',
      ).argParser(stopSeconds),
    )
    .option('--watch', 'reload as well when the config changes, or a file that it names')
    .action(async (paths, options) => {
      holdNewSpace();
      const { run } = await import('./run.ts');
      finish(await run(paths, options, output));
    });

  program
    .command('validate')
    .description('say what is wrong with a config')
    .addArgument(configArgument('<config...>'))
    .addOption(new Option('--format <format>', 'how to print').choices(findingsFormats).default('text'))
    .addOption(
      new Option('--output <format=file>', 'write a report into a file as well (repeatable)').argParser(reports),
    )
    .option('--deny-warnings', 'take warnings for errors')
    .option('--connect', 'try to connect to the backends, too')
    .action(async (paths, options) => {
      const { validate } = await import('./validate.ts');
      finish(await validate(paths, options, output));
    });

  program
    .command('test')
    .description('run the tests of a config, on virtual sockets and a virtual clock')
    .addArgument(configArgument('<config...>'))
    .addOption(formatOption('junit'))
    .option('--filter <text>', 'run only the tests whose name has this in it')
    .addOption(
      new Option('--seed <number>', 'where randomness begins: equal seeds give equal runs').argParser(positive),
    )
    .action(async (paths, options) => {
      const { test } = await import('./test.ts');
      finish(await test(paths, options, output));
    });

  program
    .command('explain')
    .description('say what a pipeline is made of, or what it does with a message')
    .addArgument(configArgument('<config...>'))
    .option('--listener <name>', 'of this listener; with a message, needed where there are several')
    .option('--message <file>', 'what it does with the messages in this file; -: standard input')
    .addOption(
      new Option('--sample <name>', 'what it does with an example that a plugin brings along').conflicts('message'),
    )
    .addOption(
      new Option(
        '--pcap <file>',
        'what it does with the messages that clients send in this capture; -: standard input',
      ).conflicts(['message', 'sample', 'from', 'client']),
    )
    .addOption(
      new Option(
        '--port <[address:]port>',
        'where the listener is in the capture (repeatable; default: its own port)',
      ).argParser(endpoints),
    )
    .addOption(
      new Option('--limit <count>', 'show that many messages of a capture, or differences').argParser(positive),
    )
    .addOption(
      new Option(
        '--compare <config>',
        'which messages this config treats differently (repeatable: together one config)',
      ).argParser(collected),
    )
    .option('--from <peer>', 'who sends them: client, or the name of a backend')
    .option('--client <address>', 'the IP address of the client')
    .addOption(formatOption())
    .action(async (paths, options) => {
      const { explain } = await import('./explain.ts');
      finish(await explain(paths, options, output));
    });

  program
    .command('schema')
    .description('print the JSON Schema of configs')
    .addArgument(configArgument('[config...]'))
    .action(async (paths) => {
      const { schema } = await import('./schema.ts');
      finish(await schema(paths, output));
    });

  program
    .command('plugins')
    .description('list the plugins that a config can use')
    .addArgument(configArgument('[config...]'))
    .addOption(formatOption())
    .action(async (paths, options) => {
      const { plugins } = await import('./plugins.ts');
      finish(await plugins(paths, options, output));
    });

  program
    .command('conform')
    .description('prove a plugin: run the conformance kit on it, and measure it')
    .argument('<plugin>', 'a file or a package whose default export is a plugin, or the name of one that comes along')
    .addOption(formatOption())
    .addOption(new Option('--options <json>', 'the options where a sample has none').argParser(json))
    .addOption(new Option('--except <case>', 'leave out a case (repeatable)').argParser(collected))
    .action(async (plugin, options) => {
      const { conform } = await import('./conform.ts');
      finish(await conform(plugin, options, output));
    });

  program
    .command('create')
    .description('begin something of your own')
    .command('plugin')
    .description('begin a package with a plugin that works, its tests, and a config that uses it')
    .argument('<name>', 'as configs will name it: lower-case words joined by "-"')
    .addOption(new Option('--kind <kind>', 'what it does').choices(pluginKinds).default('protocol'))
    .option('--directory <path>', 'where to (default: pointsman-plugin-NAME)')
    .action(async (name, options) => {
      const { createPlugin } = await import('./create.ts');
      finish(createPlugin(name, options, output));
    });

  program
    .command('demo')
    .description('show it at work: embedded backends, a balancer and clients on loopback ports')
    .addOption(new Option('--messages <count>', 'end after that many messages').argParser(positive))
    .addOption(new Option('--seconds <count>', 'end after that long').argParser(positive))
    .action(async (options) => {
      const { demo } = await import('./demo.ts');
      finish(await demo(options));
    });

  /** Verbs on the admin API of a balancer that runs. */
  const adminVerb = (verb: Command) =>
    verb
      .option('--url <url>', 'where its admin API is: http(s)://host:port or unix:/path', 'http://127.0.0.1:9901')
      .option('--token <token>', 'what it wants to be shown (default: that of POINTSMAN_TOKEN)')
      .option('--ca <file>', 'who may have signed its certificate (PEM; default: whom Node.js trusts)')
      .option('--certificate <file>', 'the certificate that it is shown (PEM)')
      .option('--key <file>', 'the key of that')
      .option('--json', 'print JSON');

  adminVerb(program.command('top').description('show a balancer that runs at a glance, live'))
    .option('--once', 'show it once')
    .action(async (options) => {
      const { top } = await import('./top.ts');
      finish(await top(options, output));
    });

  adminVerb(program.command('backends').description('list the backends of a balancer that runs')).action(
    async (options) => {
      const { backends } = await import('./backends.ts');
      finish(await backends(options, output));
    },
  );

  for (const [state, description] of [
    ['drain', 'let a backend finish what it has, and get nothing new'],
    ['ready', 'let a backend have everything again'],
    ['maint', 'take a backend out'],
  ] as const) {
    const verb = adminVerb(program.command(state).description(description));
    if (state === 'drain') {
      verb
        .option('--wait', 'end when it has drained: no message for the drainedSeconds of its pool, no answer due')
        .addOption(
          new Option('--timeout <seconds>', 'wait no longer than that').argParser(positive).implies({ wait: true }),
        );
    }
    verb.argument('<backend>', 'its name, or pool/name').action(async (name, options) => {
      const { operate } = await import('./operate.ts');
      finish(await operate(name, state, options, output));
    });
  }

  adminVerb(program.command('reload').description('let a balancer that runs read its config again')).action(
    async (options) => {
      const { askReload } = await import('./reload.ts');
      finish(await askReload(options, output));
    },
  );

  adminVerb(program.command('tail').description('show where messages go, and why, as it happens'))
    .option('--backend <name>', 'only to or from this backend')
    .option('--reason <reason>', 'only with this reason: strategy, identifier, no-backend, …')
    .option('--client <address>', 'only of clients whose IP address begins so')
    .option('--listener <name>', 'only of this listener')
    .addOption(new Option('--limit <count>', 'end after that many lines').argParser(positive))
    .action(async (options) => {
      const { tail } = await import('./tail.ts');
      finish(await tail(options, output));
    });

  program
    .command('completion')
    .description('print a script with which a shell completes verbs, options and their values')
    .addArgument(new Argument('<shell>', 'the shell that is to evaluate it').choices(shells))
    .action(async (shell) => {
      const { completion } = await import('./completion.ts');
      finish(completion(program, shell, output));
    });

  program
    .command('version')
    .description('print the version')
    .action(() => {
      output.stdout.write(`${packageVersion()}\n`);
    });
  return program;
}

/** For options that count something. */
function positive(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a positive integer.');
}

/** As the config may have it. */
function stopSeconds(text: string): number {
  if (/^\d{1,4}$/.test(text) && Number(text) <= 3600) return Number(text);
  throw new InvalidArgumentError('It must be an integer from 0 to 3600.');
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError('It must be JSON.');
  }
}

/** `5060`, `192.0.2.1:5060` or `[2001:db8::1]:5060`; can be given several times. */
function endpoints(text: string, before: readonly Endpoint[] = []): readonly Endpoint[] {
  const [, address, port] = /^(?:(.+):)?(\d{1,5})$/.exec(text) ?? [];
  const bare = address?.replace(/^\[(.*:.*)\]$/, '$1');
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new InvalidArgumentError('It must be a port, from 1 to 65535, maybe with the address before it.');
  }
  if (bare !== undefined && isIP(bare) === 0) throw new InvalidArgumentError(`"${address}" is no IP address.`);
  // As captures have it: one text for each address.
  const same = bare?.includes(':') ? new URL(`http://[${bare}]`).hostname.slice(1, -1) : bare;
  return [...before, { address: same, port: Number(port) }];
}

interface Report {
  readonly format: FindingsFormat;
  readonly file: string;
}

/** `sarif=FILE`; can be given several times. */
function reports(text: string, before: readonly Report[] = []): readonly Report[] {
  const [, name, file] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  const format = findingsFormats.find((known) => known === name);
  if (format === undefined || file === undefined) {
    throw new InvalidArgumentError(`It must be FORMAT=FILE; formats are ${findingsFormats.join(', ')}.`);
  }
  return [...before, { format, file }];
}

/** For options that can be given several times. */
function collected(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

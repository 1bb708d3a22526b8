// The options of wirtd: what there is, read from the command line and the environment, and explained by --help. Pure: what the
// values mean on this machine is config.ts. The command line beats the environment; an empty variable counts as unset.
import { parseArgs } from 'node:util';
import { nearest, WirtError } from '@wirt/api';

/** Held equal to the package's by a test. */
export const version = '0.1.0';

interface OptionSpec {
  /** How the value is named in --help; a flag without it. */
  readonly value?: string;
  readonly env?: string;
  readonly help: string;
  readonly default?: string;
}

export const optionTable = {
  'state-dir': {
    value: 'DIR',
    env: 'WIRT_STATE_DIR',
    help: 'Records, images and logs. One wirtd for each directory; it keeps what must survive a reboot.',
    default: '/var/lib/wirt; for an ordinary user $XDG_STATE_HOME/wirt or ~/.local/state/wirt',
  },
  'run-dir': {
    value: 'DIR',
    env: 'WIRT_RUN_DIR',
    help: 'Sockets and pid files of running guests. Must survive a restart of wirtd, and go with a reboot.',
    default: '/run/wirt; for an ordinary user $XDG_RUNTIME_DIR/wirt or /tmp/wirt-UID',
  },
  socket: {
    value: 'PATH',
    env: 'WIRT_SOCKET',
    help: 'Unix socket of the API. Who may open it may do everything.',
    default: 'wirtd.sock in the run directory',
  },
  'socket-group': {
    value: 'GROUP',
    env: 'WIRT_SOCKET_GROUP',
    help: 'Name or number of the group that may open the socket (its mode is 0660).',
    default: 'the group of wirtd',
  },
  'log-level': {
    value: 'LEVEL',
    env: 'WIRT_LOG_LEVEL',
    help: 'debug, info, warn or error. The log is JSON lines on standard error.',
    default: 'info',
  },
  qemu: {
    value: 'PROGRAM',
    env: 'WIRT_QEMU',
    help: 'The QEMU to run guests with: a path, or a name that is looked for in PATH.',
    default: 'qemu-system-x86_64, or that of the host’s processor',
  },
  'uid-first': {
    value: 'UID',
    env: 'WIRT_UID_FIRST',
    help: 'First of the uids (and gids) that guests run as, one for each. Nothing else may use them. Root only.',
    default: '2130706432 (0x7F000000)',
  },
  'uid-count': {
    value: 'N',
    env: 'WIRT_UID_COUNT',
    help: 'How many uids there are for guests, and so how many guests can run. Root only.',
    default: '65536',
  },
  'uid-claims': {
    value: 'DIR',
    env: 'WIRT_UID_CLAIMS',
    help: 'Where all wirtd of this machine note which uid is whose. Must be one for all of them. Root only.',
    default: '/run/wirt-uids',
  },
  'cgroup-parent': {
    value: 'NAME',
    env: 'WIRT_CGROUP_PARENT',
    help: 'Control group in which the groups of guests are made, where systemd does not run the machine.',
    default: 'wirt',
  },
  'network-driver': {
    value: 'DRIVER',
    env: 'WIRT_NETWORK_DRIVER',
    help: 'bridge: bridges, taps and nftables of the host, as root; user: without root, a network for each guest alone; auto: bridge where it can be.',
    default: 'auto',
  },
  'host-tuning': {
    value: 'CHOICE',
    env: 'WIRT_HOST_TUNING',
    help: 'auto: as root, make huge pages for guests that ask for them, and have the kernel merge the memory of dense ones; off: leave the host alone.',
    default: 'auto',
  },
  catalogues: {
    value: 'NAME=URL,…',
    env: 'WIRT_CATALOGUES',
    help: 'Where `wirt image pull` looks: simplestreams servers, the first for names without one. https only, but on this machine.',
    default: 'incus and ubuntu, at their public servers',
  },
  help: { help: 'Show this text.' },
  version: { help: 'Show the version.' },
} as const satisfies Record<string, OptionSpec>;

export type OptionName = keyof typeof optionTable;

/** One option as it was given, and where: for messages that name it. */
export interface Given {
  readonly value: string;
  /** `--state-dir` or `WIRT_STATE_DIR`. */
  readonly from: string;
}

export type GivenOptions = Partial<Record<OptionName, Given>>;

export type Environment = Readonly<Record<string, string | undefined>>;

export function configError(message: string, hint: string, cause?: unknown): WirtError {
  return new WirtError('daemon.config_invalid', message, { hint, ...(cause === undefined ? {} : { cause }) });
}

const specs: Readonly<Record<string, OptionSpec>> = optionTable;
// Object.keys loses the key type; the table is a literal.
const names = Object.keys(optionTable) as OptionName[];
const seeHelp = 'See `wirtd --help`.';

/** Throws `daemon.config_invalid` for what is no option, or lacks its value. */
export function readOptions(argv: readonly string[], env: Environment): GivenOptions {
  const given: GivenOptions = {};
  for (const name of names) {
    const variable = specs[name]?.env;
    const value = variable === undefined ? undefined : env[variable];
    if (variable !== undefined && value !== undefined && value !== '')
      given[name] = { value, from: variable };
  }
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      names.map((name) => [name, { type: specs[name]?.value === undefined ? 'boolean' : 'string' } as const]),
    ),
    strict: false,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === 'option') given[knownName(token.name, token.rawName)] = takeValue(token);
    else if (token.kind === 'positional') {
      throw configError(`wirtd takes no arguments besides options, and was given ${token.value}.`, seeHelp);
    }
  }
  return given;
}

function knownName(name: string, rawName: string): OptionName {
  const known = names.find((each) => each === name);
  if (known !== undefined && rawName.startsWith('--')) return known;
  const meant = nearest(name, names);
  const question = meant === undefined ? '.' : `: did you mean --${meant}?`;
  throw configError(`There is no option ${rawName}${question}`, seeHelp);
}

function takeValue(token: {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
}): Given {
  const { rawName: from, value } = token;
  const wanted = specs[token.name]?.value;
  if (wanted === undefined) {
    if (value !== undefined) throw configError(`${from} takes no value, and was given ${value}.`, seeHelp);
    return { value: '', from };
  }
  // `--state-dir --run-dir x`: the value was forgotten, and the next option taken for it.
  if (value === undefined || value === '' || value.startsWith('--')) {
    throw configError(`${from} needs a value: ${from} ${wanted}.`, seeHelp);
  }
  return { value, from };
}

const helpColumns = 78;

export function helpText(): string {
  const entries = names.map((name) => {
    const spec = specs[name];
    const head = `  --${name}${spec?.value === undefined ? '' : ` ${spec.value}`}`;
    const more = [
      ...wrap(spec?.help ?? ''),
      ...(spec?.default === undefined ? [] : wrap(`Default: ${spec.default}.`)),
      ...(spec?.env === undefined ? [] : [`Environment: ${spec.env}`]),
    ];
    return [head, ...more.map((line) => `        ${line}`)].join('\n');
  });
  return `wirtd: the daemon of Wirt, which runs virtual machines on this host and serves the API on a Unix socket.

Usage: wirtd [OPTION VALUE]...

${entries.join('\n\n')}

Guests outlive wirtd: stopping, killing or upgrading it harms none of them, and the next one takes them over.
SIGTERM and SIGINT end it when answers under way are out; a second signal ends it at once.

Exit status: 0 ended as asked, 1 failed (the last lines say why), 2 an option cannot be used.

Examples:
  wirtd
  wirtd --state-dir /srv/wirt --socket-group kvm
  wirtd --state-dir /tmp/x/state --run-dir /tmp/x/run    beside another one
`;
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < helpColumns - 8) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}

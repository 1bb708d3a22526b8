// Runs nft: scripts go in by standard input and never as arguments. What nft refuses is `network.failed` with its own words as the cause.
import { WirtError } from '@wirt/api';
import { runToSuccess, SubprocessError } from '../../platform/subprocess.ts';

const timeoutMs = 20_000;
const maxStdoutBytes = 64 * 1024 * 1024;
const maxCauseLines = 4;

export interface Nft {
  /** One transaction: all of the script, or nothing. `doing` says it in words, for the error. */
  script(script: string, doing: string, signal: AbortSignal): Promise<void>;
  /** What nft prints. */
  run(args: readonly string[], doing: string, signal: AbortSignal): Promise<string>;
  /**
   * How nft lists the table of that name, in each of the families, where the script alone was run: in a network namespace of its own, that
   * nobody else can reach and that is gone afterwards.
   */
  rehearse(
    script: string,
    families: readonly string[],
    table: string,
    signal: AbortSignal,
  ): Promise<readonly string[]>;
}

/** nft is $0, the table $1, the families the rest. */
const rehearsal =
  '"$0" -f - || exit; table=$1; shift; for family; do "$0" -s list table "$family" "$table" || exit; done';

export function createNft(command: readonly [string, ...string[]] = ['nft']): Nft {
  const start = async (
    [program = '', ...args]: readonly string[],
    doing: string,
    signal: AbortSignal,
    stdin?: string,
  ): Promise<string> => {
    try {
      const options = { timeoutMs, maxStdoutBytes, signal, ...(stdin === undefined ? {} : { stdin }) };
      return (await runToSuccess(program, args, options)).stdout;
    } catch (error) {
      if (signal.aborted) throw error;
      throw new WirtError('network.failed', `nft could not ${doing}.`, {
        cause: causeOf(error),
        hint: 'See `nft list ruleset`.',
      });
    }
  };
  return {
    run: async (args, doing, signal) => await start([...command, ...args], doing, signal),
    script: async (script, doing, signal) => {
      await start([...command, '-f', '-'], doing, signal, script);
    },
    rehearse: async (script, families, table, signal) => {
      const [nft = 'nft', ...before] = command.toReversed();
      const alone = ['unshare', '--net', '--', 'sh', '-c', rehearsal, nft, table, ...families];
      const said = await start([...before.toReversed(), ...alone], `rehearse table ${table}`, signal, script);
      return said.split(/^(?=table )/m);
    },
  };
}

/** nft's message has the sentence first, and below it the statement with marks, which may be long. */
function causeOf(error: unknown): unknown {
  if (!(error instanceof SubprocessError) || error.result === undefined) return error;
  const lines = error.result.stderr.split('\n').filter((line) => /\b[Ee]rror\b/.test(line));
  return lines.length === 0 ? error : new Error(lines.slice(0, maxCauseLines).join(' '));
}

/** Whether nft says that there is no such table. */
export function isMissing(error: unknown): boolean {
  const cause = error instanceof WirtError ? error.cause : undefined;
  return cause instanceof Error && /No such file or directory/.test(cause.message);
}

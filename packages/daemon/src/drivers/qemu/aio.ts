// How QEMU does asynchronous I/O here: io_uring where this binary has it and the running kernel lets an ordinary user have
// it, else the kernel's older native interface, else threads. Tried once, with QEMU itself in its own confinement.
import type { Logger } from '@wirt/core';
import { setpriv } from '../../platform/confined.ts';
import { runProgram } from '../../platform/subprocess.ts';
import { sandbox } from './arguments.ts';
import type { Aio, AioChoice } from './disk-nodes.ts';

/** A QEMU without a machine is up and gone in 50 ms. */
const timeoutMs = 10_000;
/** Any file that everybody may read. */
const readable = '/bin/sh';
/** The kernel's overflow user, which owns nothing. */
const nobody = { uid: 65_534, gid: 65_534, groups: [] };

export interface AioProbe {
  /** Tries on the first call. Never fails: threads work everywhere. */
  choose(): Promise<AioChoice>;
}

export function createAioProbe(options: { readonly qemuBinary: string; readonly logger: Logger }): AioProbe {
  let chosen: Promise<AioChoice> | undefined;
  return {
    choose() {
      chosen ??= choose(options);
      return chosen;
    },
  };
}

async function choose({ qemuBinary, logger }: Parameters<typeof createAioProbe>[0]): Promise<AioChoice> {
  const uring = await attempt(qemuBinary, 'io_uring');
  if (uring === undefined) return { direct: 'io_uring', cached: 'io_uring' };
  // Without direct I/O the native interface blocks, and QEMU does not take it.
  const native = await attempt(qemuBinary, 'native');
  const choice = { direct: native === undefined ? 'native' : 'threads', cached: 'threads' } as const;
  logger.warn('qemu.io_uring_unavailable', { instead: choice.direct, cause: uring });
  return choice;
}

/** Undefined when it works, else why not. QEMU opens a file, says so, and ends. */
async function attempt(qemuBinary: string, aio: Aio): Promise<string | undefined> {
  const node = {
    driver: 'file',
    'node-name': 'tried',
    filename: readable,
    aio,
    cache: { direct: aio === 'native' },
    'read-only': true,
  };
  const commands = ['qmp_capabilities', 'quit'].map((execute) => JSON.stringify({ execute }));
  const [program = '', ...args] = [
    ...setpriv({ ...nobody, own: process.geteuid?.() === 0 }),
    ...['--', qemuBinary, '-S', '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'none'],
    ...['-sandbox', sandbox, '-blockdev', JSON.stringify(node), '-qmp', 'stdio'],
  ];
  try {
    const { exitCode, stderr } = await runProgram(program, args, { timeoutMs, stdin: commands.join('\n') });
    // Newer ones fall back by themselves, and say so.
    return exitCode === 0 && stderr === ''
      ? undefined
      : stderr.trim().slice(-300) || `exit status ${exitCode}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

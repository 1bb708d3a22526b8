// How QEMU ended: the shim's exit file, put together with the log's last line. The file is there even when no daemon
// was running; without it the end is `lost`.
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { GuestExit, ProcessExit } from '@wirt/core';
import { readLastLine } from './logs.ts';
import type { GuestPaths } from './paths.ts';

const lost: ProcessExit = { kind: 'lost' };

/** A status as the shell gives it: 128 and a signal's number, or the exit code. */
export function exitOfStatus(status: number): ProcessExit {
  const signal = Object.entries(constants.signals).find(([, number]) => number === status - 128)?.[0];
  return status > 128 && signal !== undefined
    ? { kind: 'signalled', signal }
    : { kind: 'exited', code: status };
}

/** Undefined as long as the line is not complete. */
export function parseExitFile(text: string): ProcessExit | undefined {
  const match = /^(\d{1,3})\n$/.exec(text);
  return match ? exitOfStatus(Number(match[1])) : undefined;
}

async function readExit(paths: GuestPaths): Promise<ProcessExit | undefined> {
  return parseExitFile(await readFile(paths.exit, 'latin1').catch(() => ''));
}

/** For a process that is gone: the shim writes its file within milliseconds, unless it is gone, too. */
export async function waitForExit(paths: GuestPaths, timeoutMs: number): Promise<ProcessExit> {
  const deadline = performance.now() + timeoutMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    const exit = await readExit(paths);
    if (exit !== undefined || performance.now() >= deadline) return exit ?? lost;
    await delay(pauseMs);
  }
}

export async function guestExit(
  paths: GuestPaths,
  process: ProcessExit,
  shutdownReason: string | undefined,
): Promise<GuestExit> {
  const lastLine = await readLastLine(paths.qemuLog);
  return { process, lastLine, ...(shutdownReason === undefined ? {} : { shutdownReason }) };
}

export async function readPostMortem(paths: GuestPaths): Promise<GuestExit> {
  return guestExit(paths, (await readExit(paths)) ?? lost, undefined);
}

/**
 * Tells systemd how far the daemon is (sd_notify(3)), by systemd-notify(1), since Node has no datagram sockets of the
 * Unix domain. Without $NOTIFY_SOCKET nobody listens and nothing is done. Failing is logged and harms nothing. The unit
 * needs NotifyAccess=all: the message comes from a child, except where root may send it as the daemon's.
 */
import { runToSuccess } from './subprocess.ts';

const DEADLINE_MS = 5_000;

export interface Notifier {
  /** Start-up is done; `status` is one line for `systemctl status`. */
  ready(status: string): Promise<void>;
  stopping(): Promise<void>;
}

export function createNotifier({
  env,
  logger,
}: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logger: { warn(event: string, fields: Readonly<Record<string, unknown>>): void };
}): Notifier {
  const { NOTIFY_SOCKET: socket, PATH: path = '/usr/bin:/bin' } = env;
  const notify = async (...args: readonly string[]): Promise<void> => {
    if (!socket) return;
    try {
      await runToSuccess('systemd-notify', [`--pid=${process.pid}`, ...args], {
        env: { NOTIFY_SOCKET: socket, PATH: path },
        timeoutMs: DEADLINE_MS,
      });
    } catch (error) {
      logger.warn('daemon.notify_failed', { args, error });
    }
  };
  return {
    ready: (status) => notify('--ready', `--status=${status}`),
    stopping: () => notify('STOPPING=1'),
  };
}

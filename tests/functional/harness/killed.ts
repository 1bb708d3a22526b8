// Lets wirtd die at one step of what it is asked for, and the next one take it up.
import type { Operation } from '@wirt/api';
import type { DaemonOptions, TestDaemon } from './daemon.ts';

/** The operations that were begun, or taken up, since the daemon that died was started; all have ended. */
export async function killedAt(
  daemon: TestDaemon,
  step: string,
  act: () => Promise<unknown>,
  options: DaemonOptions = {},
): Promise<Operation[]> {
  const list = async () => {
    const { items } = await daemon.client.call('GET /v1/operations', { query: { limit: 1000 } });
    return items;
  };
  const before = new Set((await list()).map(({ id }) => id));
  await daemon.kill();
  await daemon.start({ ...options, env: { WIRT_FAULT: `crash:${step}` } });
  // It may die between making the request durable and answering it.
  const answer = await act().catch((error: unknown) => error);
  const alive = await daemon.ended().catch((error: unknown) => error);
  if (alive !== undefined) await daemon.kill();
  await daemon.start(options);
  if (alive !== undefined) throw new Error(`wirtd has not come to ${step}`, { cause: answer });
  const begun = (await list()).filter(({ id }) => !before.has(id));
  return Promise.all(
    begun.map(({ id }) =>
      daemon.client.call('GET /v1/operations/{operation}', {
        params: { operation: id },
        query: { waitSeconds: 60 },
      }),
    ),
  );
}

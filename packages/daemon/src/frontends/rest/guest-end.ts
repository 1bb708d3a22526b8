/** When a viewer of a guest has seen the last of it: the run ended, another began, or the instance is gone. */
import type { Event } from '@wirt/api';
import type { Actions, Request } from '@wirt/core';

/** Whether this change ends the run that a viewer has attached to. While it stops there is still something to see. */
function endsRun(event: Event): boolean {
  if (event.change === 'removed') return true;
  return event.state === 'stopped' || event.state === 'crashed' || event.state === 'starting';
}

/**
 * Resolves with one sentence when the run that was current at `revision` has ended. Resolves with undefined when the
 * request's signal aborts first. Rejects when the events cannot be followed.
 */
export async function guestEnd(
  actions: Actions,
  request: Request,
  instance: { readonly id: string; readonly name: string; readonly revision: number },
): Promise<string | undefined> {
  const query = { since: instance.revision, kind: 'instance', id: instance.id } as const;
  try {
    for await (const event of actions.event.stream(request, query)) {
      if (!endsRun(event)) continue;
      return event.detail ?? `The instance ${instance.name} is ${event.state ?? 'removed'}.`;
    }
  } catch (error) {
    if (!request.signal.aborted) throw error;
  }
  return undefined;
}

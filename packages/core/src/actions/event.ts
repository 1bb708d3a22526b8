/** Events: the store's changes of resources, as people and programs follow them. */
import {
  type DevicePool,
  type Event,
  eventSchema,
  type Image,
  type Instance,
  type Network,
  type Operation,
  type Policy,
  type Pool,
  type SecurityGroup,
  type Snapshot,
  type Volume,
} from '@wirt/api';
import type { Change, Store } from '../ports/store.ts';
import type { EventActions } from './actions.ts';

export function createEventActions(store: Store): EventActions {
  return {
    async *stream(request, query) {
      const { since, kind, id } = query;
      const prefix = kind === undefined ? '' : `${kind}/`;
      for await (const change of store.watch(prefix, {
        signal: request.signal,
        ...(since === undefined ? {} : { since }),
      })) {
        const event = toEvent(change);
        if (event !== undefined && (id === undefined || event.id === id)) yield event;
      }
    },
  };
}

type Told = Pick<Event, 'name' | 'project' | 'state' | 'detail'>;

/** Undefined for keys that are no resource: the name index, idempotency keys. */
function toEvent({ key, value, previous, revision, atMs }: Change): Event | undefined {
  const [kind, id] = key.split('/', 2);
  const told = value ?? previous;
  if (id === undefined || told === undefined || !isKind(kind)) return undefined;
  const change = value === undefined ? 'removed' : previous === undefined ? 'created' : 'changed';
  // Each kind's key is written only by its own records, in their own shape.
  const record = told as unknown;
  const at = new Date(atMs).toISOString();
  return { revision, at, change, kind, id, ...tell(kind, record, change) };
}

function isKind(kind: string | undefined): kind is Event['kind'] {
  return eventSchema.shape.kind.safeParse(kind).success;
}

/** Limits that are not in force, by name. */
function driftSentence({ limits }: Instance['status']): string | undefined {
  const keys = limits?.drifted?.map(({ key }) => key);
  return keys === undefined ? undefined : `Not as asked for: ${keys.join(', ')}.`;
}

function tell(kind: Event['kind'], record: unknown, change: Event['change']): Told {
  switch (kind) {
    case 'instance': {
      const { name, project, status } = record as Instance;
      if (change === 'removed') return { name, project };
      const ended = status.state === 'crashed' || status.state === 'stopped';
      const message = ended ? status.exit?.message : driftSentence(status);
      return { name, project, state: status.state, ...(message === undefined ? {} : { detail: message }) };
    }
    case 'policy':
    case 'device-pool':
    case 'pool':
    case 'security-group': {
      const { name, project } = record as Policy | Pool | SecurityGroup | DevicePool;
      return { name, project };
    }
    case 'network': {
      const { name, project, status } = record as Network;
      if (change === 'removed') return { name, project };
      const detail = status.message ?? status.repair?.what;
      return { name, project, state: status.state, ...(detail === undefined ? {} : { detail }) };
    }
    case 'image':
    case 'volume':
    case 'snapshot': {
      const { name, project, status } = record as Image | Volume | Snapshot;
      return change === 'removed' ? { name, project } : { name, project, state: status.state };
    }
    case 'operation': {
      const { target, project, state, stage, error, kind: what } = record as Operation;
      return { name: target.name, project, state, detail: `${what}: ${error?.detail ?? stage}` };
    }
  }
}

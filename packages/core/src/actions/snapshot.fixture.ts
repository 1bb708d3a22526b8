// For tests of snapshots: an instance `web`, and what is done with its snapshots, waited for.
import type { SnapshotCreate } from '@wirt/api';
import { waitDone } from '../fakes/fake-core.ts';
import { createScene, type Scene } from '../fakes/scene.ts';

const force = { mode: 'force', graceSeconds: 0 } as const;

export function take({ fake }: Scene, name: string, freeze: SnapshotCreate['freeze'] = 'auto') {
  return fake.core.actions.snapshot.create(fake.request, 'web', { name, labels: {}, freeze }, waitDone);
}

export function restore({ fake }: Scene, name: string) {
  return fake.core.actions.snapshot.restore(fake.request, 'web', name, waitDone);
}

export function remove({ fake }: Scene, name: string) {
  return fake.core.actions.snapshot.remove(fake.request, 'web', name, waitDone);
}

export function shown({ fake }: Scene, name: string) {
  return fake.core.actions.snapshot.get('web', name);
}

export function stop({ fake }: Scene) {
  return fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
}

export async function processOf({ fake }: Scene) {
  const { id } = await fake.core.actions.instance.get('web');
  const process = fake.host.processes.get(id);
  if (process === undefined) throw new Error('web does not run');
  return process;
}

/** `web` with two disks, on one of which `p` is written. */
export async function set(live: boolean, agent = false): Promise<Scene> {
  const scene = await createScene();
  await scene.volume('a');
  await scene.volume('b');
  await scene.guest('web', ['a', 'b'], live);
  if (agent) (await processOf(scene)).agent = true;
  await scene.write('a', 'p', 'first');
  return scene;
}

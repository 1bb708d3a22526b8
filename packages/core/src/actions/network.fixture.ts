/** Requests about networks as the doors make them, with what is left out filled in. */
import {
  type Network,
  networkCreateSchema,
  nicCreateSchema,
  nicUpdateSchema,
  type Operation,
  type SecurityGroup,
  securityGroupCreateSchema,
  securityRuleCreateSchema,
} from '@wirt/api';
import { createFakeCore, type FakeCore, waitDone } from '../fakes/fake-core.ts';

export interface NetworkScene {
  readonly fake: FakeCore;
  network(name: string, spec?: object): Promise<Network>;
  group(name: string, rules?: readonly object[]): Promise<SecurityGroup>;
  rule(group: string, rule: object): Promise<SecurityGroup>;
  /** An instance with cards, each told by what differs. */
  guest(name: string, nics?: readonly object[], start?: boolean): Promise<Operation>;
  attach(name: string, nic?: object): Promise<Operation>;
  update(name: string, nic: string, change: object): Promise<Operation>;
  detach(name: string, nic: string): Promise<Operation>;
  start(name: string): Promise<Operation>;
  stop(name: string): Promise<Operation>;
  remove(name: string): Promise<Operation>;
  nics(name: string): Promise<readonly { readonly name: string; readonly ipv4?: string | undefined }[]>;
  /** `web/nic0` of every card that the host has. */
  ports(): string[];
  /** What on the host and in the records does not belong together. */
  faults(): Promise<string[]>;
}

const project = 'default';

export async function createNetworkScene(given?: FakeCore): Promise<NetworkScene> {
  const fake = given ?? (await createFakeCore());
  const names = new Map<string, string>();
  const { request } = fake;
  const actions = () => fake.core.actions;
  const scene: NetworkScene = {
    fake,
    network: (name, spec = {}) =>
      actions().network.create(request, networkCreateSchema.parse({ name, spec: { kind: 'nat', ...spec } })),
    group: (name, rules) =>
      actions().securityGroup.create(
        request,
        securityGroupCreateSchema.parse({ name, ...(rules === undefined ? {} : { rules }) }),
      ),
    rule: (group, rule) =>
      actions().securityGroup.addRule(request, group, securityRuleCreateSchema.parse(rule)),
    guest: async (name, nics = [{}], start = true) => {
      const operation = await fake.create({
        name,
        start,
        spec: { nics: nics.map((nic) => nicCreateSchema.parse(nic)), memoryMib: 64, overcommit: true },
      });
      names.set(operation.target.id, name);
      return operation;
    },
    attach: (name, nic = {}) => actions().nic.attach(request, name, nicCreateSchema.parse(nic), waitDone),
    update: (name, nic, change) =>
      actions().nic.update(request, name, nic, nicUpdateSchema.parse(change), waitDone),
    detach: (name, nic) => actions().nic.detach(request, name, nic, waitDone),
    start: (name) => actions().instance.start(request, name, { paused: false }, waitDone),
    stop: (name) => actions().instance.stop(request, name, { mode: 'force', graceSeconds: 0 }, waitDone),
    remove: (name) => actions().instance.remove(request, name, { force: true }, waitDone),
    nics: async (name) => (await actions().instance.get(name)).spec.nics,
    ports: () =>
      fake.host.network.plan.ports.map(({ instance, nic }) => `${names.get(instance) ?? instance}/${nic}`),
    faults: () => faultsOf(fake),
  };
  return scene;
}

async function faultsOf({ core, host }: FakeCore): Promise<string[]> {
  const faults: string[] = [];
  const { items: instances } = await core.actions.instance.list({ project, limit: 1000 });
  const seen = new Map<string, string>();
  const planned = new Set(host.network.plan.ports.map(({ instance, nic }) => `${instance}/${nic}`));
  for (const { id, name, spec } of instances) {
    const process = host.processes.get(id);
    for (const nic of spec.nics) {
      for (const address of [nic.ipv4, nic.ipv6, nic.mac]) {
        const key = `${nic.network} ${address}`;
        if (address !== undefined && seen.has(key))
          faults.push(`${key} is of ${name} and of ${seen.get(key)}`);
        seen.set(key, name);
      }
      const isPlanned = planned.delete(`${id}/${nic.name}`);
      if (isPlanned !== (process !== undefined))
        faults.push(`${nic.name} of ${name} is ${isPlanned ? '' : 'not '}on the host`);
      if (process !== undefined && !process.nics.has(nic.name))
        faults.push(`${name} has no ${nic.name} plugged in`);
    }
    for (const nic of process?.nics.keys() ?? [])
      if (!spec.nics.some((one) => one.name === nic)) faults.push(`${name} has ${nic} without a record`);
  }
  for (const port of planned) faults.push(`port ${port} is nobody’s`);
  const { items: networks } = await core.actions.network.list({ project, limit: 1000 });
  const there = host.network.plan.networks.map(({ id }) => id).sort();
  // One that was made on first use comes with the first guest that is started.
  const made = networks.filter(({ id, name }) => name !== 'default' || there.includes(id));
  const recorded = made.map(({ id }) => id).sort();
  if (there.join() !== recorded.join())
    faults.push(`networks ${there} are there, and ${recorded} in the records`);
  return faults;
}

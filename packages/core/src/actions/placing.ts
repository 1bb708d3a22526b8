/**
 * Places guests on the host's nodes, processors and huge pages: what is held is told from the records of those that run and from those being started, so
 * that guests started side by side see each other. A guest that nothing need be planned for costs nothing here.
 */
import { type HostSettings, type Instance, type InstancePlacement, printCpuList, WirtError } from '@wirt/api';
import type { GuestPins, PlannedPlacement } from '../domain/guest.ts';
import { memoryMibOf } from '../domain/guest.ts';
import { requestRefusal } from '../domain/placement/check-request.ts';
import { reconfine } from '../domain/placement/confine.ts';
import { holdingOf } from '../domain/placement/holding.ts';
import { pagesToReserve } from '../domain/placement/memory.ts';
import type { Holding, PlacementGround, PlacementRequest, Refusal } from '../domain/placement/placement.ts';
import { planPlacement } from '../domain/placement/plan.ts';
import { sharedCpus, surveyOf } from '../domain/placement/survey.ts';
import type { HostTopology } from '../domain/placement/topology.ts';
import { pinsOf, placementOfRecord, plannedOf, recordOf } from '../domain/tuning/placed.ts';
import {
  demandsPages,
  needsPlacing,
  pinsOfUser,
  requestOf,
  userPinsOf,
  withoutPages,
} from '../domain/tuning/request.ts';
import type { HugePageReserve } from '../ports/host-memory.ts';
import type { HostTopologyReader } from '../ports/host-topology.ts';
import type { Records } from './records.ts';

const readMs = 10_000;

type DeviceNodes = NonNullable<PlacementRequest['near']>;

/** Where a guest goes. */
export interface Placed {
  readonly record: InstancePlacement;
  readonly planned: PlannedPlacement;
}

interface Parts {
  readonly topology: HostTopologyReader;
  readonly hugePages?: HugePageReserve;
  readonly settings: { readonly value: HostSettings };
  readonly instances: Pick<Records<Instance>, 'after'>;
  /** By node of the host, how many of the devices that the instance asks for are there. */
  readonly deviceNodes?: (instance: Instance) => Promise<DeviceNodes>;
}

export class Placing {
  readonly #parts: Parts;
  /** Of starts under way, whose records show nothing yet. */
  readonly #starting = new Map<string, Holding>();
  #nodes = 1;
  #cpus = 1;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Learns what the host is. Call once, before the first guest. */
  async load(): Promise<void> {
    await this.host();
  }

  /** Processors that are online, as they were seen last. */
  get onlineCpus(): number {
    return this.#cpus;
  }

  async host(): Promise<HostTopology> {
    const host = await this.#parts.topology.read(AbortSignal.timeout(readMs));
    this.#nodes = host.nodes.length;
    this.#cpus = host.cpus.length;
    return host;
  }

  needs(instance: Instance): boolean {
    return needsPlacing(instance, {
      nodes: this.#nodes,
      isPartlyDedicated: this.dedicated(instance.id).length > 0,
    });
  }

  /** Whether some start has been given its place and has not ended. */
  get isPlacing(): boolean {
    return this.#starting.size > 0;
  }

  /**
   * Finds a place for a guest and holds it until `ended`. Undefined where nothing need be planned. Throws `host.insufficient_huge_pages`,
   * `host.insufficient_memory`, `host.no_such_cpu`, `host.cpus_taken`, `instance.invalid_topology`.
   */
  async place(instance: Instance): Promise<Placed | undefined> {
    if (!this.needs(instance)) return undefined;
    const near = await this.#near(instance);
    const host = await this.host();
    // No await from here on: who is placed next sees this one.
    const { placed, holding } = this.#plan(instance, host, near);
    this.#starting.set(instance.id, holding);
    return placed;
  }

  /**
   * Finds another place for a guest whose start is under way, of the host's own pages. Throws as `place`, and changes nothing then.
   */
  async placeWithoutPages(instance: Instance): Promise<Placed> {
    const near = await this.#near(instance);
    const host = await this.host();
    // No await from here on, as above.
    const { placed, holding } = this.#plan(instance, host, near, withoutPages);
    this.#starting.set(instance.id, holding);
    return placed;
  }

  /** As `place`, and holds nothing: what a guest would get. */
  async preview(instance: Instance): Promise<Placed | undefined> {
    if (!this.needs(instance)) return undefined;
    const near = await this.#near(instance);
    return this.#plan(instance, await this.host(), near).placed;
  }

  async #near(instance: Instance): Promise<DeviceNodes> {
    return (await this.#parts.deviceNodes?.(instance)) ?? {};
  }

  /**
   * Refuses what could not be placed on this host though no other guest ran: processors that are not there, a topology that does not add up.
   * Throws `host.no_such_cpu`, `instance.invalid_topology`.
   */
  async require(instance: Instance): Promise<void> {
    const host = await this.host();
    const request = this.#request(instance, host);
    const refusal = requestRefusal(request, surveyOf({ host, holdings: [] }));
    if (refusal !== undefined) throw refused(refusal);
  }

  /** Its record has what it holds now, or it holds nothing. */
  ended(id: string): void {
    this.#starting.delete(id);
  }

  #request(instance: Instance, host: HostTopology): PlacementRequest {
    const { hugePages, settings } = this.#parts;
    return requestOf(instance, host, {
      mayReserve: hugePages !== undefined,
      mayOvercommit: settings.value.memoryOvercommit > 1,
    });
  }

  #plan(
    instance: Instance,
    host: HostTopology,
    near: DeviceNodes,
    wish = (request: PlacementRequest): PlacementRequest => request,
  ): { readonly placed: Placed; readonly holding: Holding } {
    const ground = { host, holdings: this.holdings(instance.id) };
    const request = wish({ ...this.#request(instance, host), near });
    const result = planPlacement(request, ground);
    if (result.kind === 'refused') {
      const isShort = result.refusal.code === 'host.insufficient_huge_pages';
      if (isShort && !demandsPages(instance)) return this.#plan(instance, host, near, withoutPages);
      throw refused(result.refusal);
    }
    const { placement } = result;
    const { pageSizeKib } = request;
    const reserved =
      pageSizeKib === undefined
        ? []
        : pagesToReserve(placement, pageSizeKib, ground).map(({ node, sizeKib, missing }) => ({
            node,
            sizeKib,
            count: missing,
          }));
    return {
      placed: {
        record: recordOf(placement, { pageSizeKib, reserved, userPins: userPinsOf(instance) }),
        planned: plannedOf(placement, pageSizeKib),
      },
      holding: holdingOf(request, placement),
    };
  }

  /** Of all guests that run or are being started, but one. */
  holdings(except?: string): Holding[] {
    const found: Holding[] = [];
    for (const instance of this.#parts.instances.after()) {
      if (instance.id === except) continue;
      const starting = this.#starting.get(instance.id);
      if (starting !== undefined) found.push(starting);
      else if (instance.status.process !== undefined) found.push(heldBy(instance));
    }
    return found;
  }

  /**
   * Who has processors alone, and which, in words; of all guests but one. Asked at every start and every 5 s: what the records say is not read
   * into lists for it.
   */
  dedicated(except?: string): string[] {
    const found: string[] = [];
    for (const instance of this.#parts.instances.after()) {
      if (instance.id === except) continue;
      const cpus = this.dedicatedTo(instance);
      if (cpus !== '') found.push(`${instance.name}:${cpus}`);
    }
    return found;
  }

  /** The processors that a guest which runs or is being started has alone, whole cores; empty where it has none. */
  dedicatedTo({ id, status }: Instance): string {
    const starting = this.#starting.get(id);
    if (starting !== undefined) return printCpuList(starting.dedicated);
    return (status.process === undefined ? undefined : status.placement?.dedicated) ?? '';
  }

  /** Where the threads of a guest that runs may be now, and its placement with that. */
  confined(
    instance: Instance,
    host: HostTopology,
  ): { readonly pins: GuestPins; readonly record: InstancePlacement | undefined } {
    const ground: PlacementGround = { host, holdings: this.holdings(instance.id) };
    const { placement: before } = instance.status;
    const shared = sharedCpus(ground);
    if (before === undefined) return { pins: { group: shared, vcpus: {} }, record: undefined };
    const { pageSizeKib, reserved = [], userPins } = before;
    const placement = reconfine(requestHeld(instance, before), placementOfRecord(before), ground);
    return {
      pins: pinsOf(placement, shared),
      record: recordOf(placement, { pageSizeKib, reserved, userPins }),
    };
  }
}

function refused({ code, message, hint, details }: Refusal): WirtError {
  return new WirtError(code, `Instance ${message}`, { hint, details: { ...details } });
}

function heldBy(instance: Instance): Holding {
  const { name, spec, status } = instance;
  const { placement: record } = status;
  const vcpus = status.run?.maxCpus ?? spec.cpus;
  if (record === undefined) return { name, dedicated: [], vcpus, nodes: [], memoryMib: {} };
  return holdingOf(requestHeld(instance, record), placementOfRecord(record));
}

/** As it was placed: what is asked for by now is of its next start. */
function requestHeld({ name, spec, status }: Instance, record: InstancePlacement): PlacementRequest {
  const { pageSizeKib, guestNodes, userPins } = record;
  return {
    name,
    cpus: spec.cpus,
    maxCpus: status.run?.maxCpus ?? spec.cpus,
    memoryMib: memoryMibOf(guestNodes),
    ...(pageSizeKib === undefined ? {} : { pageSizeKib }),
    placement: record.nodes.length > 0 ? 'auto' : 'none',
    dedicated: record.dedicated !== undefined,
    pins: pinsOfUser(userPins ?? {}),
    overcommit: spec.overcommit,
  };
}

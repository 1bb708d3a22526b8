/** What each profile sets where the instance says nothing itself, and why. docs/explanation/tuning.md has the same in prose. */
import type { Instance, Tuning, TuningProfile } from '@wirt/api';

export interface Profile {
  readonly placement: NonNullable<Tuning['placement']>;
  readonly dedicated: boolean;
  /** Where the host has such pages, or may make them; else none. */
  readonly hugePages: NonNullable<Tuning['hugePages']>;
  /** Equal pages of guests are merged (KSM), for which its memory is private and not shared. */
  readonly mergeable: boolean;
  readonly freePageReporting: boolean;
  /** Of a full host; undefined: as any other. */
  readonly weightPerVcpu?: number;
  readonly why: Readonly<
    Record<'placement' | 'dedicated' | 'hugePages' | 'mergeable' | 'freePageReporting' | 'weight', string>
  >;
}

export const profiles = {
  balanced: {
    placement: 'auto',
    dedicated: false,
    hugePages: 'none',
    mergeable: false,
    freePageReporting: false,
    why: {
      placement: 'Memory of another node is slower to reach; the guest is kept on the fewest that hold it.',
      dedicated: 'Processors are shared: what one guest does not use, another has.',
      hugePages:
        'The host’s own pages, put together to huge ones as they are used; what is not used stays the host’s.',
      mergeable:
        'Merging costs processor time, and lets a guest find out by timing what is in another’s memory.',
      freePageReporting: 'What the guest has had once it has at hand again at once.',
      weight: 'All guests have the same share of a full host.',
    },
  },
  latency: {
    placement: 'auto',
    dedicated: true,
    hugePages: '2M',
    mergeable: false,
    freePageReporting: false,
    why: {
      placement: 'Memory of another node is slower to reach; the guest is kept on the fewest that hold it.',
      dedicated: 'Nobody else’s work comes between: each vCPU has a processor of its own.',
      hugePages: 'All of its memory is there from the start, and address translation takes a step less.',
      mergeable:
        'A merged page is copied again when it is written, which takes time when it is least wanted.',
      freePageReporting: 'Pages that were given back are to be fetched again, which takes time.',
      weight: 'Its processors are its own.',
    },
  },
  density: {
    placement: 'none',
    dedicated: false,
    hugePages: 'none',
    mergeable: true,
    freePageReporting: true,
    weightPerVcpu: 100,
    why: {
      placement: 'The kernel fills the host evenly: no node is short while another has room.',
      dedicated: 'Processors are shared: what one guest does not use, another has.',
      hugePages: 'Small pages can be merged, and given back one by one.',
      mergeable: 'Equal pages of guests that are alike are kept once.',
      freePageReporting: 'Pages that the guest has freed go back to the host.',
      weight: 'Of a full host, a guest has a share by its vCPUs: a small one does not hold up a large one.',
    },
  },
} as const satisfies Record<TuningProfile, Profile>;

export const defaultProfile: TuningProfile = 'balanced';

export function profileOf(tuning: Tuning | undefined): Profile {
  return profiles[tuning?.profile ?? defaultProfile];
}

/**
 * What a guest that runs was started with, which is in force until it ends. Of one that does not run, and of one that was started before this was
 * recorded, what is asked for.
 */
export function tuningInForce({
  spec,
  status,
}: {
  readonly spec: Pick<Instance['spec'], 'tuning'>;
  readonly status?: Pick<Instance['status'], 'run'> | undefined;
}): Tuning | undefined {
  return status?.run?.tuning ?? spec.tuning;
}

export const pageSizesKib = { '2M': 2048, '1G': 1_048_576 } as const;

/** `2M`, `1G`. */
export function pageSizeText(sizeKib: number): string {
  return sizeKib >= 1_048_576 ? `${sizeKib / 1_048_576}G` : `${sizeKib / 1024}M`;
}

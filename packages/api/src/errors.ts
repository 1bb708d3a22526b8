/**
 * The error catalogue. Every error that leaves Wirt, on whichever door, has one of these codes; a code once published
 * keeps its meaning. docs/reference/errors.md is checked against this table in both directions.
 */

/** `status` is the HTTP status on the REST door, `title` the sentence that names the kind of failure. */
export interface ErrorKind {
  readonly status: number;
  readonly title: string;
}

export const errorCatalogue = {
  'request.invalid': { status: 400, title: 'The request has a value that is not allowed.' },
  'request.unknown_field': { status: 400, title: 'The request has a field that does not exist.' },
  'request.too_large': { status: 413, title: 'The request body is larger than this route takes.' },
  'request.not_found': { status: 404, title: 'There is no such route.' },
  'request.revision_mismatch': {
    status: 412,
    title: 'The record has changed since the revision named in If-Match.',
  },
  'request.idempotency_conflict': {
    status: 409,
    title: 'The Idempotency-Key was used before for a different request.',
  },

  'instance.not_found': { status: 404, title: 'There is no such instance.' },
  'instance.name_taken': { status: 409, title: 'Another instance has this name.' },
  'instance.state_conflict': {
    status: 409,
    title: 'The instance is in a state that does not allow this action.',
  },
  'instance.start_failed': { status: 500, title: 'QEMU did not start the guest.' },
  'instance.stop_timeout': { status: 504, title: 'The guest did not power off in the time given.' },
  'instance.unresponsive': { status: 504, title: 'QEMU does not answer on its control socket.' },
  'instance.died': { status: 500, title: 'The guest ended while it was waited for.' },
  'instance.invalid_topology': {
    status: 400,
    title: 'The processors asked for do not go with the number of vCPUs.',
  },
  'instance.too_many_vcpus': {
    status: 409,
    title: 'The machine type, the accelerator or QEMU does not allow so many vCPUs.',
  },

  'image.not_found': { status: 404, title: 'There is no such image.' },
  'image.name_taken': { status: 409, title: 'Another image has this name.' },
  'image.in_use': { status: 409, title: 'The image is used by instances.' },
  'image.unknown_recipe': { status: 400, title: 'There is no such image recipe.' },
  'image.build_failed': { status: 500, title: 'The image could not be built.' },

  'image.wrong_kind': { status: 409, title: 'The image is of a kind that this cannot be done with.' },

  'pool.not_found': { status: 404, title: 'There is no such pool.' },
  'pool.name_taken': { status: 409, title: 'Another pool has this name.' },
  'pool.in_use': { status: 409, title: 'The pool still has volumes.' },
  'pool.full': { status: 507, title: 'The pool has no room for this above its reserve.' },
  'pool.overcommitted': { status: 409, title: 'More of the pool would be promised than may be.' },
  'pool.unusable': { status: 500, title: 'The storage of the pool cannot be used.' },
  'pool.owned': { status: 409, title: 'The storage belongs to the pool of another wirtd.' },

  'network.not_found': { status: 404, title: 'There is no such network.' },
  'network.name_taken': { status: 409, title: 'Another network has this name.' },
  'network.in_use': { status: 409, title: 'Instances have cards on the network.' },
  'network.subnet_conflict': { status: 409, title: 'The subnet is not free, or cannot be one.' },
  'network.addresses_exhausted': { status: 409, title: 'All addresses of the network are taken.' },
  'network.address_taken': { status: 409, title: 'The address is taken, or none of the network.' },
  'network.port_taken': { status: 409, title: 'The port of the host is taken.' },
  'network.no_such_nic': { status: 404, title: 'The instance has no such network card.' },
  'network.detach_refused': { status: 504, title: 'The guest did not let go of the network card in time.' },
  'network.unsupported': { status: 409, title: 'This host or this kind of network cannot do that.' },
  'network.failed': { status: 500, title: 'The host’s network could not be changed.' },

  'group.not_found': { status: 404, title: 'There is no such security group.' },
  'group.name_taken': { status: 409, title: 'Another security group has this name.' },
  'group.in_use': { status: 409, title: 'The security group is in use.' },
  'group.rule_not_found': { status: 404, title: 'The security group has no such rule.' },

  'policy.not_found': { status: 404, title: 'There is no such policy.' },
  'policy.name_taken': { status: 409, title: 'Another policy has this name.' },
  'policy.in_use': { status: 409, title: 'Instances have the policy.' },

  'limit.invalid': {
    status: 400,
    title: 'The limit is one that cannot be kept, or that contradicts another.',
  },
  'limit.below_floor': { status: 409, title: 'The limit is less than the guest and its QEMU need.' },
  'limit.unsupported': { status: 409, title: 'This host cannot keep a limit of this kind.' },
  'limit.failed': { status: 500, title: 'The limit could not be put in force.' },

  'volume.not_found': { status: 404, title: 'There is no such volume.' },
  'volume.name_taken': { status: 409, title: 'Another volume has this name.' },
  'volume.in_use': { status: 409, title: 'The volume is in use.' },
  'volume.not_attached': { status: 409, title: 'The volume is not attached to the instance.' },
  'volume.state_conflict': {
    status: 409,
    title: 'The volume is in a state that does not allow this action.',
  },
  'volume.cannot_shrink': { status: 400, title: 'A volume only grows.' },
  'volume.detach_refused': { status: 504, title: 'The guest did not let go of the disk in time.' },
  'volume.locked': { status: 409, title: 'Another process has the volume open.' },
  'volume.failed': { status: 500, title: 'The storage of the volume could not be changed.' },

  'snapshot.not_found': { status: 404, title: 'There is no such snapshot.' },
  'snapshot.name_taken': { status: 409, title: 'Another snapshot of the instance has this name.' },
  'snapshot.failed': { status: 500, title: 'The snapshot could not be made or changed.' },

  'disk.not_found': { status: 404, title: 'There is no such file on the host.' },
  'disk.refused': { status: 422, title: 'The disk file has something that Wirt does not open.' },
  'disk.format_mismatch': { status: 422, title: 'The disk file is of another format than was said.' },
  'disk.convert_failed': { status: 500, title: 'The disk file could not be converted.' },
  'disk.too_large': { status: 413, title: 'The disk file is, or unpacks to, more than is allowed.' },

  'import.malformed': { status: 422, title: 'The description of the machine cannot be read.' },
  'import.unsupported': { status: 422, title: 'The machine cannot be carried over.' },
  'import.digest_mismatch': { status: 422, title: 'A file does not match the digest in its manifest.' },
  'export.target_exists': { status: 409, title: 'The file to export into is there already.' },
  'export.failed': { status: 500, title: 'The export could not be written.' },

  'operation.not_found': { status: 404, title: 'There is no such operation.' },
  'operation.cancelled': { status: 409, title: 'The operation was cancelled.' },
  'operation.not_cancellable': { status: 409, title: 'The operation cannot be cancelled any more.' },
  'operation.interrupted': {
    status: 500,
    title: 'The daemon ended while the operation ran, and it was undone.',
  },
  'operation.wait_timeout': { status: 504, title: 'The target state was not reached in the time given.' },

  'guest.agent_unavailable': { status: 409, title: 'No guest agent answers in the guest.' },
  'guest.agent_timeout': { status: 504, title: 'The guest agent did not answer in time.' },
  'guest.command_failed': { status: 422, title: 'The guest agent refused the command.' },
  'guest.output_too_large': { status: 413, title: 'The guest sent more than this route takes.' },

  'catalogue.unreachable': { status: 502, title: 'The image catalogue could not be read.' },
  'catalogue.malformed': { status: 502, title: 'The image catalogue has something that Wirt does not take.' },
  'catalogue.not_found': { status: 404, title: 'There is no such image in the catalogue.' },
  'catalogue.ambiguous': { status: 409, title: 'Several images of the catalogue have this name.' },
  'download.failed': { status: 502, title: 'The file could not be downloaded.' },
  'download.checksum_mismatch': { status: 422, title: 'The downloaded file is not the announced one.' },
  'download.too_large': { status: 413, title: 'The file to download is larger than is allowed.' },
  'download.refused': { status: 400, title: 'Wirt does not download from this address.' },

  'host.insufficient_memory': { status: 409, title: 'The host has too little memory for the guest.' },
  'host.insufficient_huge_pages': { status: 409, title: 'The host has too few huge pages for the guest.' },
  'host.insufficient_cpus': { status: 409, title: 'The host has too few processors for the guest.' },
  'host.no_such_cpu': { status: 409, title: 'There is no such processor on the host, or it is offline.' },
  'host.cpus_taken': { status: 409, title: 'The processors are another guest’s alone.' },
  'host.tool_missing': { status: 500, title: 'A program that is needed is not installed on the host.' },
  'host.qemu_missing': { status: 500, title: 'The QEMU binary was not found.' },
  'host.qemu_broken': { status: 500, title: 'The QEMU binary does not run.' },
  'host.qemu_too_old': { status: 500, title: 'The QEMU binary lacks a feature that Wirt needs.' },
  'host.firmware_missing': { status: 500, title: 'No UEFI firmware for guests was found.' },
  'host.kvm_unusable': { status: 409, title: 'KVM was asked for and cannot be used here.' },
  'host.cpu_model_unusable': {
    status: 409,
    title: 'Guests cannot have this CPU model, or a feature of it, on this host.',
  },
  'host.vsock_missing': { status: 409, title: 'The host has no vsock for guests.' },
  'host.vsock_cid_taken': { status: 409, title: 'Another program has the guest’s address on the vsock.' },
  'host.permission_denied': { status: 500, title: 'The daemon may not do this on the host.' },
  'host.storage_full': { status: 507, title: 'A file system of the host is full.' },
  'host.storage_read_only': { status: 500, title: 'A file system of the host is read-only.' },
  'host.uids_exhausted': { status: 503, title: 'No free uid is left in the range for guests.' },
  'host.cgroup_failed': { status: 500, title: 'The control group of the guest could not be set up.' },

  'device.not_found': { status: 404, title: 'There is no such device on the host.' },
  'device.in_use': { status: 409, title: 'The device is in use.' },
  'device.group_shared': {
    status: 409,
    title: 'The device cannot be separated from others that the host uses.',
  },
  'device.unsupported': { status: 409, title: 'This host or this device cannot do that.' },
  'device.pool_exhausted': { status: 409, title: 'No virtual function of the pool is free.' },
  'device.bind_failed': { status: 500, title: 'The device could not be handed over.' },

  'event.compacted': { status: 410, title: 'The events since this revision are no longer kept.' },
  'store.failed': { status: 500, title: 'The store could not read or write.' },
  'store.conflict': { status: 409, title: 'The record was changed by somebody else at the same time.' },

  'daemon.config_invalid': { status: 500, title: 'An option of wirtd has a value that cannot be used.' },
  'daemon.already_running': { status: 409, title: 'Another wirtd uses this state directory.' },
  'daemon.unreachable': { status: 503, title: 'wirtd does not answer on its socket.' },
  'daemon.stopping': { status: 503, title: 'wirtd is stopping.' },
  internal: { status: 500, title: 'A defect in Wirt.' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorCatalogue;

export interface WirtErrorOptions {
  /** What made it fail; its message is shown after ours. */
  readonly cause?: unknown;
  /** The next step for the reader, with the command. */
  readonly hint?: string;
  /** Facts for programs: figures, names, limits. No secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The one error that crosses Wirt's interfaces. `message` names the thing and the operation, not the cause. */
export class WirtError extends Error {
  override readonly name = 'WirtError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: WirtErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }
}

/** JavaScript lets anything be thrown; an object that is no error has no sentence. */
function sentenceOf(cause: unknown): string {
  if (cause instanceof Error) return cause.message;
  return typeof cause === 'object' && cause !== null ? 'an object that is no error' : String(cause);
}

/** The sentences of the causes below `error`, outermost first, joined for one line. Undefined without a cause. */
export function causeText(error: unknown): string | undefined {
  const sentences: string[] = [];
  let current = error instanceof Error ? error.cause : undefined;
  while (current !== undefined && sentences.length < 5) {
    sentences.push(sentenceOf(current));
    current = current instanceof Error ? current.cause : undefined;
  }
  return sentences.length > 0 ? sentences.join(': ') : undefined;
}

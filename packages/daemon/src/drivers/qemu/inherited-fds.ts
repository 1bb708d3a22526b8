/**
 * The descriptors that QEMU inherits: three listening sockets, the kernel's device for a vsock where the guest has one, and from `memory` on
 * the files that its memory is made in where the host has such.
 */
export const inheritedFds = { qmp: 3, console: 4, agent: 5, vsock: 6, memory: 7 } as const;

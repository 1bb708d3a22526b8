/**
 * The descriptors that QEMU inherits: three listening sockets, the kernel's device for a vsock where the guest has one, and the directory
 * that its memory is made in where the host has one.
 */
export const inheritedFds = { qmp: 3, console: 4, agent: 5, vsock: 6, memory: 7 } as const;

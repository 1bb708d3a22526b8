/** The descriptors that QEMU inherits: three listening sockets, and the kernel's device for a vsock where the guest has one. */
export const inheritedFds = { qmp: 3, console: 4, agent: 5, vsock: 6 } as const;

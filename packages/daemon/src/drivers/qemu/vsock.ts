// The kernel's device for a guest's vsock. A guest under its own uid cannot open it: wirtd does, and QEMU inherits it.
// Source: Linux, drivers/vhost/vsock.c; QEMU hw/virtio/vhost-vsock.c.
import { open } from 'node:fs/promises';
import { WirtError } from '@wirt/api';

const device = '/dev/vhost-vsock';

export interface VsockDevice extends AsyncDisposable {
  readonly fd: number;
}

/** Throws `host.vsock_missing`, and `host.permission_denied` where it is not for this user. */
export async function openVsock(id: string, path: string = device): Promise<VsockDevice> {
  try {
    return await open(path, 'r+');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM')
      throw new WirtError('host.permission_denied', `${path} opens for root only.`, {
        cause,
        hint: `As root: \`chgrp kvm ${path}; chmod 0660 ${path}\`, with the user of wirtd in the group kvm.`,
      });
    throw new WirtError(
      'host.vsock_missing',
      `Instance ${id} is to have a vsock, and ${path} does not open.`,
      {
        cause,
        hint: 'Load the module: `modprobe vhost_vsock`.',
      },
    );
  }
}

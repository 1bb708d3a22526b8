// Files of the image that are there for a quick boot only: with none of them it boots just as well, later.
import type { ImageFile } from './files.ts';

/**
 * cloud-init 22.4 is started four times in a boot, and spends most of each in loading itself. Here the first start stays
 * behind with all loaded, and the later ones have it fork. Later releases of cloud-init do the like by themselves. When
 * anything is not as expected, the stage is run as Debian runs it.
 */
const stageRunner = `#!/usr/bin/python3 -I
# Runs a stage of cloud-init: init --local loads cloud-init and leaves a server behind, in which the others are forked.
import marshal
import os
import socket
import sys

FOLDER = '/run/wirt-cloud-init'
SOCKET = FOLDER + '/socket'
FIRST = ['init', '--local']
LAST = ['modules', '--mode=final']
IDLE_SECONDS = 1800


def plainly(arguments):
    os.execv('/usr/bin/cloud-init', ['/usr/bin/cloud-init', *arguments])


def ask(arguments):
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.connect(SOCKET)
            request = marshal.dumps((arguments, dict(os.environ), os.getpid()))
            socket.send_fds(server, [request], [1, 2])
            answer = server.recv(16)
    except OSError:
        answer = b''
    # No answer: the server is not there, or was gone before the stage began.
    if not answer:
        plainly(arguments)
    sys.exit(int(answer))


def run(arguments):
    from cloudinit.cmd.main import main

    sys.argv = ['/usr/bin/cloud-init', *arguments]
    sys.exit(main())


def run_for(arguments, environment, asker, outputs):
    try:
        # What the stage starts belongs to the unit that asked.
        with open('/proc/%d/cgroup' % asker) as file:
            group = file.readline().strip().split(':', 2)[2]
        with open('/sys/fs/cgroup' + group + '/cgroup.procs', 'w') as file:
            file.write(str(os.getpid()))
    except (OSError, IndexError):
        pass
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    run(arguments)


def serve(listener):
    listener.settimeout(IDLE_SECONDS)
    arguments = None
    while arguments != LAST:
        client, _ = listener.accept()
        with client:
            request, outputs, _, _ = socket.recv_fds(client, 65536, 2)
            if not request:
                continue
            arguments, environment, asker = marshal.loads(request)
            child = os.fork()
            if child == 0:
                client.close()
                listener.close()
                run_for(arguments, environment, asker, outputs)
            for output in outputs:
                os.close(output)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            client.send(str(code if code >= 0 else 128 - code).encode())
    os.unlink(SOCKET)


def start():
    try:
        import cloudinit.cmd.main

        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(SOCKET)
        listener.listen()
    except (ImportError, OSError):
        plainly(FIRST)
    if os.fork() == 0:
        try:
            serve(listener)
        finally:
            os._exit(0)
    listener.close()
    run(FIRST)


if sys.argv[1:] == FIRST and not os.path.exists(SOCKET):
    start()
else:
    ask(sys.argv[1:])
`;

const stages = {
  'cloud-init-local': 'init --local',
  'cloud-init': 'init',
  'cloud-config': 'modules --mode=config',
  'cloud-final': 'modules --mode=final',
} as const;

const runnerPath = 'usr/libexec/wirt/cloud-init-stage';

/**
 * QEMU's emulator translates code anew wherever else it is loaded, so that random addresses make an emulated boot half as
 * long again. They are random again when it is over; under KVM they always are.
 */
const emulatedBoot = `#!/bin/sh
[ "$1" != prereqs ] || exit 0
case $(cat /proc/cpuinfo) in
  *'QEMU TCG CPU'*) echo 0 >/proc/sys/kernel/randomize_va_space ;;
esac
`;

export const emulatedBootUnit = 'wirt-emulated-boot.service';

const afterEmulatedBoot = `[Unit]
Description=Random addresses again after an emulated boot
ConditionVirtualization=qemu
After=cloud-final.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo 2 >/proc/sys/kernel/randomize_va_space'

[Install]
WantedBy=graphical.target
`;

export const bootFiles: readonly ImageFile[] = [
  { path: runnerPath, data: stageRunner, mode: 0o755 },
  ...Object.entries(stages).map(
    ([unit, args]): ImageFile => ({
      path: `etc/systemd/system/${unit}.service.d/wirt.conf`,
      data: `[Service]\nExecStart=\nExecStart=/${runnerPath} ${args}\nSyslogIdentifier=cloud-init\n`,
    }),
  ),
  { path: 'etc/initramfs-tools/scripts/init-top/wirt-emulated-boot', data: emulatedBoot, mode: 0o755 },
  { path: `etc/systemd/system/${emulatedBootUnit}`, data: afterEmulatedBoot },
];

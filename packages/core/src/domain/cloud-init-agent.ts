/**
 * A script for vendor-data that installs QEMU's guest agent where an image comes without it: without the agent Wirt does not see that a guest
 * is ready. Not by `packages`, which a user's own list would replace, and which fetches package lists, or fails without a way out, where the
 * agent is there already. cloud-init runs it after the user's packages and before the user's scripts (cc_scripts_vendor).
 *
 * It ends well in any case: a guest without the agent is still one that cloud-init has set up. No list is waited for longer than two minutes,
 * for a network that leads nowhere; nothing cuts off the installation itself. `--no-block`: the unit waits for a device that may be none.
 */
export const installAgent = `#!/bin/sh
# From Wirt: without QEMU's guest agent it does not see that this guest is ready.
has() { command -v "$1" >/dev/null 2>&1; }
if has qemu-ga; then
  :
elif has apt-get; then
  export DEBIAN_FRONTEND=noninteractive
  timeout 120 apt-get -q update &&
    apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends qemu-guest-agent
elif has dnf; then
  timeout 120 dnf -q -y makecache && dnf -q -y install qemu-guest-agent
elif has yum; then
  timeout 120 yum -q -y makecache && yum -q -y install qemu-guest-agent
elif has zypper; then
  timeout 120 zypper -n refresh && zypper -n install qemu-guest-agent
elif has apk; then
  timeout 120 apk update && apk add qemu-guest-agent
fi
if has systemctl; then
  systemctl enable qemu-guest-agent
  systemctl --no-block start qemu-guest-agent
elif has rc-service; then
  rc-update add qemu-guest-agent default
  rc-service qemu-guest-agent start
fi
exit 0
`;

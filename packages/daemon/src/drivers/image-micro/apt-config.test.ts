import { describe, expect, it } from 'vitest';
import { downloadPercent, parsePackageRecords, renderAptConfig } from './apt-config.ts';

const hostDump = `APT "";
APT::Update::Post-Invoke-Success:: "touch /host-was-changed";
DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";
APT::Default-Release "bookworm";
Dir "/";
Dir::State "var/lib/apt";
Dir::Cache::archives "/var/cache/apt/archives";
Dir::Etc "etc/apt";
Dir::Etc::parts "apt.conf.d";
Dir::Etc::sourceparts "sources.list.d";
Dir::Etc::trustedparts "trusted.gpg.d";
Acquire::AllowInsecureRepositories "1";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "true";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::ForceIPv4 "1";
`;

describe('renderAptConfig', () => {
  it('takes sources, keys and proxies from the host, and no hooks, indexes or relaxed checks', () => {
    expect(renderAptConfig('/var/build', 'arm64', hostDump)).toBe(`APT::Default-Release "bookworm";
Dir::Etc "etc/apt";
Dir::Etc::sourceparts "sources.list.d";
Dir::Etc::trustedparts "trusted.gpg.d";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::ForceIPv4 "1";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/var/build/parts";
Dir::State "/var/build";
Dir::State::lists "/var/build/lists";
Dir::State::status "/var/build/status";
Dir::Cache "/var/build/cache";
Dir::Log "/var/build/log";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
`);
  });
});

describe('downloadPercent', () => {
  it.each([
    ['dlstatus:5:29.2665:Retrieving file 5 of 7', 29.2665],
    ['dlstatus:9:100.0000:Retrieving file 9 of 9', 100],
    ['dlstatus:1:1e9:odd', undefined],
    ['Get:5 http://mirror.example/debian bookworm/main amd64 Packages', undefined],
  ])('of %j is %s', (line, percent) => {
    expect(downloadPercent(line)).toBe(percent);
  });
});

describe('parsePackageRecords', () => {
  it('gives what is needed to fetch and check a package', () => {
    const text = `Package: qemu-guest-agent
Version: 1:7.2+dfsg-7
Architecture: amd64
Pre-Depends: init-system-helpers (>= 1.54~)
Depends: libc6 (>= 2.34), libudev1
Description: Guest-side agent
 Size: 1 is not a field here
Size: 346272
SHA256: 1b

Package: no-file
Version: 1
Architecture: all
`;
    expect(parsePackageRecords(text)).toEqual([
      {
        name: 'qemu-guest-agent',
        version: '1:7.2+dfsg-7',
        depends: 'init-system-helpers (>= 1.54~), libc6 (>= 2.34), libudev1',
        sizeBytes: 346272,
        sha256: '1b',
        fileName: 'qemu-guest-agent_1%3a7.2+dfsg-7_amd64.deb',
      },
    ]);
  });
});

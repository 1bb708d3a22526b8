import { hypervisorContract } from '@wirt/core/contract/hypervisor';
import { hypervisorDisksContract } from '@wirt/core/contract/hypervisor-disks';
import { createQemuContractHarness } from './contract-harness.fixture.ts';

hypervisorContract('QEMU', createQemuContractHarness);
hypervisorDisksContract('QEMU', createQemuContractHarness);

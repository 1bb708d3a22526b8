/** Why this kernel keeps no rates: found out by setting some, in a network namespace that nobody else sees and that is gone afterwards. */
import type { Logger } from '@wirt/core';
import { runProgram, SubprocessError } from '../../platform/subprocess.ts';
import type { Refusal } from './refusals.ts';

const timeoutMs = 10_000;

/** Each line is tried in turn, and the first that fails is told. */
const trial = `
set -e
ip link add name wfrom type ifb
ip link add name wto type ifb
ip link set dev wto up
tc qdisc replace dev wto root tbf rate 1000000bps burst 65536b limit 131072b
tc qdisc replace dev wfrom ingress
tc filter replace dev wfrom ingress protocol all prio 1 matchall action mirred egress redirect dev wto 2>/dev/null ||
  tc filter replace dev wfrom ingress protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev wto
nft 'add table bridge t; add limit bridge t l { rate over 10/second burst 5 packets }'
`;

export interface RateTrial {
  /** Tried once, however often it is begun. */
  begin(): undefined;
  /** Known after a moment; until then nothing speaks against rates. */
  refusal(): Refusal | undefined;
  ended(): Promise<void>;
}

export function createRateTrial(logger: Logger): RateTrial {
  let trial: Promise<void> | undefined;
  let refusal: Refusal | undefined;
  const tryOnce = async (): Promise<void> => {
    try {
      refusal = await whyNoRates();
    } catch (error) {
      logger.warn('network.rates_not_tried', { error });
    }
  };
  return {
    begin() {
      trial ??= tryOnce();
      return undefined;
    },
    refusal: () => refusal,
    ended: async () => await trial,
  };
}

async function whyNoRates(): Promise<Refusal | undefined> {
  try {
    const { exitCode, stderr } = await runProgram('unshare', ['--net', '--', 'sh', '-c', trial], {
      timeoutMs,
    });
    if (exitCode === 0) return undefined;
    // A shell's own word for what is not there.
    if (/\btc: .*not found/.test(stderr))
      return { why: 'tc, by which rates are set, is not installed.', hint: 'apt-get install iproute2' };
    const [said = 'it does not say why'] = stderr.split('\n').filter((line) => /^(?!We have).*\S/.test(line));
    return {
      why: `The kernel keeps no rates of network cards: ${said}`,
      hint: 'modprobe -a ifb sch_tbf sch_ingress cls_matchall act_mirred nft_limit',
    };
  } catch (error) {
    // Nothing was tried: whoever wants a rate is told what comes of it.
    if (error instanceof SubprocessError) return undefined;
    throw error;
  }
}
